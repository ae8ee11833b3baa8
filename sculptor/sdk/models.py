"""An ``openai`` client as the model that the loop calls.

Requests go out through the client's own ``create``, with its key, retries and time limits; only
what the loop changes of a request differs from what the program asked for. Errors of the client
leave as they are, so that a program catches what it caught before.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any

import openai
import orjson

from sculptor.chat import ChunkReader, Completed, JsonObject, read_completion
from sculptor.chat.loose import read_loosely
from sculptor.errors import UpstreamBroken
from sculptor.loop import Event, ModelRequest, deltas_of

EDITED = ("messages", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options")
"""The arguments that the loop may change."""

TRANSPORT = ("extra_headers", "extra_query", "extra_body", "timeout")
"""Arguments of ``create`` that are no part of the request's body."""

SUMMARY_TIMEOUT_S = 30.0
_REFUSALS = (openai.BadRequestError, openai.UnprocessableEntityError)


class SummaryRequest(ModelRequest):
    """A request for summaries: complete in itself, and short of time."""


class ClientModel:
    """A blocking client, for one request of the program; ``arguments`` are those of ``create``."""

    def __init__(self, create: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self._create, self._arguments = create, arguments
        self.response: Any = None

    def stream(self, request: ModelRequest) -> Iterator[Event]:
        """Answer a request, piece by piece."""
        answer = self._sent(request)
        if not request.stream:
            yield from _whole(answer)
            return
        self.response = self.response or answer.response
        reader = ChunkReader()
        with closing(answer) as chunks:
            for chunk in chunks:
                yield from reader.feed(_plain(chunk))
        yield reader.complete()

    def _sent(self, request: ModelRequest) -> Any:
        arguments = _arguments(request, self._arguments)
        if isinstance(request, SummaryRequest):
            try:
                return self._create(**arguments)
            except openai.OpenAIError as error:
                raise UpstreamBroken(f"no summary was written: {error}") from error
        try:
            return self._create(**arguments)
        except _REFUSALS as error:
            if not _is_about_options(error, arguments, self._arguments):
                raise
            return self._create(**_without_options(arguments))


class AsyncClientModel:
    """The same for a client that awaits."""

    def __init__(self, create: Callable[..., Awaitable[Any]], arguments: Mapping[str, Any]) -> None:
        self._create, self._arguments = create, arguments
        self.response: Any = None

    async def stream(self, request: ModelRequest) -> AsyncIterator[Event]:
        """Answer a request, piece by piece."""
        answer = await self._sent(request)
        if not request.stream:
            for event in _whole(answer):
                yield event
            return
        self.response = self.response or answer.response
        reader = ChunkReader()
        async with aclosing(_Closable(answer)) as chunks:
            async for chunk in chunks.stream:
                for delta in reader.feed(_plain(chunk)):
                    yield delta
        yield reader.complete()

    async def _sent(self, request: ModelRequest) -> Any:
        arguments = _arguments(request, self._arguments)
        if isinstance(request, SummaryRequest):
            try:
                return await self._create(**arguments)
            except openai.OpenAIError as error:
                raise UpstreamBroken(f"no summary was written: {error}") from error
        try:
            return await self._create(**arguments)
        except _REFUSALS as error:
            if not _is_about_options(error, arguments, self._arguments):
                raise
            return await self._create(**_without_options(arguments))


class _Closable:
    """An ``AsyncStream``, which calls its ``aclose`` ``close``."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    async def aclose(self) -> None:
        await self.stream.close()


def _arguments(request: ModelRequest, given: Mapping[str, Any]) -> dict[str, Any]:
    value = orjson.loads(request.body)
    if isinstance(request, SummaryRequest):
        kept = {key: given[key] for key in ("extra_headers", "extra_query") if key in given}
        return {**value, **kept, "timeout": SUMMARY_TIMEOUT_S}
    arguments = {key: item for key, item in given.items() if key not in EDITED}
    return arguments | {key: value[key] for key in EDITED if key in value}


def _is_about_options(
    error: openai.APIStatusError, sent: Mapping[str, Any], given: Mapping[str, Any]
) -> bool:
    """Whether an upstream refuses ``stream_options`` that only we asked for."""
    added = "stream_options" in sent and not isinstance(given.get("stream_options"), Mapping)
    return added and "stream_options" in str(error)


def _without_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in arguments.items() if key != "stream_options"}


def _whole(answer: Any) -> Iterator[Event]:
    completed: Completed = read_completion(_plain(answer))
    yield from deltas_of(completed)
    yield completed


def _plain(answer: Any) -> JsonObject:
    if not isinstance(answer, openai.BaseModel):
        kind = type(answer).__name__
        raise UpstreamBroken(f"The upstream sent what the client reads as {kind}, no completion.")
    value: JsonObject = answer.model_dump(exclude_unset=True, warnings=False)
    try:
        orjson.dumps(value)
    except TypeError:  # half a character, which the client's own parser lets through
        return read_loosely(json.dumps(value).encode()) or value
    return value
