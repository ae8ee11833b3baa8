"""``wrap``: an ``openai`` client whose model can work on its own context.

The wrapped client is a client of the same class with the same settings and connections; only
``chat.completions.create`` differs, and ``.stream()``, which stands on it. The loop runs in this
process and the program sees only the final answer. What the loop cannot give (raw responses,
``.parse()``) comes from the original untouched.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import openai
from anyio.to_thread import run_sync
from openai import AsyncOpenAI, OpenAI
from openai.resources.chat import AsyncChat, Chat
from openai.resources.chat.completions import AsyncCompletions, Completions

from sculptor.chat import Delta
from sculptor.context import Step
from sculptor.errors import SettingsError, UpstreamBroken
from sculptor.loop import Budget, Surroundings, Turn, drive, drive_blocking
from sculptor.loop.refusal import may_refuse_tools
from sculptor.sdk.exchange import ADMISSION_TOKENS, Exchange, Mode, Options, Plain, Sculpting
from sculptor.sdk.models import AsyncClientModel, ClientModel
from sculptor.sdk.streams import (
    AsyncItems,
    AsyncSculptedStream,
    ChunkMaker,
    Items,
    SculptedStream,
    whole_answer,
    with_status,
)
from sculptor.summaries import Summarizer
from sculptor.terms import Embedder
from sculptor.tools import ToolsetName

ClientT = TypeVar("ClientT", OpenAI, AsyncOpenAI)

_SHRINKS = 2
_TOO_LONG = "context_length_exceeded"
_NO_ANSWER = "The model's turn ended without an answer."


def wrap(
    client: ClientT,
    *,
    sculptor: Mode = "auto",
    toolset: ToolsetName = "full",
    inline: bool | None = None,
    admission_tokens: int = ADMISSION_TOKENS,
    window_tokens: int | None = None,
    budget: Budget | None = None,
    ledger: bool = True,
    summarizer: Summarizer | None = None,
    embedder: Embedder | None = None,
) -> ClientT:
    """Return a client like this one whose chat completions run through the loop.

    ``sculptor`` says when the model is offered the tools: from ``admission_tokens`` on (``auto``),
    always (``on``), never (``off``); one call may say otherwise with ``sculptor=...`` or the header
    ``x-sculptor``. Conversations are known by their messages, so that folds stay in force from call
    to call. With ``window_tokens`` a longer view is folded to fit before it is sent. Summaries are
    written by the answering model unless a ``summarizer`` is given.

    Raises:
        SettingsError: the client is not an ``OpenAI`` or ``AsyncOpenAI``, or the mode is unknown.
    """
    options = Options(
        mode=sculptor,
        toolset=toolset,
        inline=toolset == "paper" if inline is None else inline,
        admission_tokens=admission_tokens,
        window_tokens=window_tokens,
        budget=budget or Budget(),
        ledger=ledger,
        summarizer=summarizer,
        embedder=embedder,
    )
    return _wrapped(client, Sculpting(options))


def _wrapped(client: ClientT, sculpting: Sculpting) -> ClientT:
    made = copy.copy(client)
    chat: SculptedChat | AsyncSculptedChat
    if isinstance(made, OpenAI):
        chat = SculptedChat(made, sculpting)
    elif isinstance(made, AsyncOpenAI):
        chat = AsyncSculptedChat(made, sculpting)
    else:
        kind = type(client).__name__
        raise SettingsError(f"wrap takes an OpenAI or AsyncOpenAI client, not {kind}.")

    def with_options(**options: Any) -> ClientT:
        return _wrapped(client.with_options(**options), sculpting)

    # The class finds all three on the instance first; views of raw responses are made anew from
    # the chat that stands there.
    for cached in ("with_raw_response", "with_streaming_response"):
        made.__dict__.pop(cached, None)
    made.__dict__.update(chat=chat, with_options=with_options, copy=with_options)
    return made


class SculptedChat(Chat):
    """``client.chat`` of a wrapped client."""

    def __init__(self, client: OpenAI, sculpting: Sculpting) -> None:
        super().__init__(client)
        self._sculpting = sculpting

    @cached_property
    def completions(  # pyright: ignore[reportIncompatibleMethodOverride]  # both are properties
        self,
    ) -> "SculptedCompletions":
        """Chat completions through the loop."""
        return SculptedCompletions(self._client, self._sculpting)


class SculptedCompletions(Completions):
    """``client.chat.completions`` of a wrapped client."""

    def __init__(self, client: OpenAI, sculpting: Sculpting) -> None:
        super().__init__(client)
        self._sculpting = sculpting

    def create(self, **arguments: Any) -> Any:
        """Answer as the original's ``create`` does, with the loop between."""
        original: Callable[..., Any] = super().create
        opened = self._sculpting.open(arguments)
        if isinstance(opened, Plain):
            return with_status(original(**opened.arguments), opened.status)
        model = ClientModel(original, opened.arguments)
        opened, items, first = _begun(opened, model)
        if isinstance(first, Turn) and not opened.request.stream:
            return whole_answer(self._sculpting, opened, first)
        maker = ChunkMaker(self._sculpting, opened)
        return SculptedStream(items, first, maker, model.response)


class AsyncSculptedChat(AsyncChat):
    """``client.chat`` of a wrapped client that awaits."""

    def __init__(self, client: AsyncOpenAI, sculpting: Sculpting) -> None:
        super().__init__(client)
        self._sculpting = sculpting

    @cached_property
    def completions(  # pyright: ignore[reportIncompatibleMethodOverride]  # both are properties
        self,
    ) -> "AsyncSculptedCompletions":
        """Chat completions through the loop."""
        return AsyncSculptedCompletions(self._client, self._sculpting)


class AsyncSculptedCompletions(AsyncCompletions):
    """``client.chat.completions`` of a wrapped client that awaits."""

    def __init__(self, client: AsyncOpenAI, sculpting: Sculpting) -> None:
        super().__init__(client)
        self._sculpting = sculpting

    async def create(self, **arguments: Any) -> Any:
        """Answer as the original's ``create`` does, with the loop between."""
        original: Callable[..., Any] = super().create
        opened = await run_sync(self._sculpting.open, arguments)
        if isinstance(opened, Plain):
            return with_status(await original(**opened.arguments), opened.status)
        model = AsyncClientModel(original, opened.arguments)
        opened, items, first = await _async_begun(opened, model)
        if isinstance(first, Turn) and not opened.request.stream:
            return whole_answer(self._sculpting, opened, first)
        maker = ChunkMaker(self._sculpting, opened)
        return AsyncSculptedStream(items, first, maker, model.response)


def _begun(exchange: Exchange, model: ClientModel) -> tuple[Exchange, Items, Delta | Turn]:
    """Run a turn to what the program sees first, so that errors before it are raised here.

    A view that the upstream calls too long is folded and sent again; what it refuses otherwise is
    sent again without our tools.
    """
    shrinks = 0
    while True:
        items = drive_blocking(
            exchange.turn(),
            model,
            exchange.surroundings,
            summary_request=exchange.summary_request,
        )
        try:
            return exchange, items, _first(exchange, items)
        except openai.APIStatusError as error:
            shrinks += _is_too_long(error)
            exchange = _mended(exchange, error, shrinks)


async def _async_begun(
    exchange: Exchange, model: AsyncClientModel
) -> tuple[Exchange, AsyncItems, Delta | Turn]:
    shrinks = 0
    while True:
        items = drive(
            exchange.turn(),
            model,
            _in_thread(exchange.surroundings),
            keep=_keep_nothing,
            summary_request=exchange.summary_request,
        )
        try:
            return exchange, items, await _async_first(exchange, items)
        except openai.APIStatusError as error:
            shrinks += _is_too_long(error)
            exchange = _mended(exchange, error, shrinks)


def _mended(exchange: Exchange, error: openai.APIStatusError, shrinks: int) -> Exchange:
    """Return what to send instead of what was refused, or raise the refusal."""
    if _is_too_long(error):
        if shrinks <= _SHRINKS and exchange.shrink(str(error)):
            return exchange
    elif exchange.has_tools and may_refuse_tools(error.status_code, error.response.content):
        return exchange.without_tools(error.response.content)
    raise error


def _in_thread(surroundings: Surroundings) -> Surroundings:
    """Return the surroundings with an embedder that does not hold up the event loop."""
    embedder = surroundings.embedder
    if embedder is None:
        return surroundings

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return await run_sync(embedder.embed, texts)

    return surroundings._replace(embed=embed)


def _first(exchange: Exchange, items: Items) -> Delta | Turn:
    """Return the first piece of a stream, or the whole of an answer that is not streamed."""
    for item in items:
        if exchange.request.stream or isinstance(item, Turn):
            return item
    raise UpstreamBroken(_NO_ANSWER)


async def _async_first(exchange: Exchange, items: AsyncItems) -> Delta | Turn:
    async for item in items:
        if exchange.request.stream or isinstance(item, Turn):
            return item
    raise UpstreamBroken(_NO_ANSWER)


def _is_too_long(error: openai.APIStatusError) -> bool:
    if not isinstance(error, openai.BadRequestError):
        return False
    body = error.body
    inside = body.get("error", body) if isinstance(body, Mapping) else {}
    code = inside.get("code") if isinstance(inside, Mapping) else None
    return _TOO_LONG in (code, error.code) or "maximum context length" in str(error)


async def _keep_nothing(step: Step | None, usage: Any) -> None:
    """Everything is in memory already."""
    del step, usage
