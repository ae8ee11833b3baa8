"""Answers of the loop in the ``openai`` client's own types, streamed and whole."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson
from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from sculptor.chat import ChunkWriter, Delta, format_completion
from sculptor.loop import Turn, told_usage
from sculptor.sdk.exchange import Exchange, Sculpting, told_extension

Items = Generator[Delta | Turn, None, None]
AsyncItems = AsyncGenerator[Delta | Turn, None]


class SculptedStream(Stream[ChatCompletionChunk]):
    """The chunks of one answer, begun already; ``response`` is the upstream's first."""

    def __init__(
        self, items: Items, first: Delta | Turn, maker: "ChunkMaker", response: Any
    ) -> None:
        self._items, self.response = items, response
        self._chunks = self._made(first, maker)

    def __next__(self) -> ChatCompletionChunk:
        return next(self._chunks)

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        return self._chunks

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the answer, and the call of the upstream that runs for it."""
        self._chunks.close()
        self._items.close()

    def _made(
        self, first: Delta | Turn, maker: "ChunkMaker"
    ) -> Generator[ChatCompletionChunk, None, None]:
        try:
            yield from maker.chunks(first)
            for item in self._items:
                yield from maker.chunks(item)
        finally:
            self._items.close()


class AsyncSculptedStream(AsyncStream[ChatCompletionChunk]):
    """The same for a client that awaits."""

    def __init__(
        self, items: AsyncItems, first: Delta | Turn, maker: "ChunkMaker", response: Any
    ) -> None:
        self._items, self.response = items, response
        self._chunks = self._made(first, maker)

    async def __anext__(self) -> ChatCompletionChunk:
        return await anext(self._chunks)

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        async for chunk in self._chunks:
            yield chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the answer, and the call of the upstream that runs for it."""
        await self._chunks.aclose()
        await self._items.aclose()

    async def _made(
        self, first: Delta | Turn, maker: "ChunkMaker"
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        try:
            for chunk in maker.chunks(first):
                yield chunk
            async for item in self._items:
                for chunk in maker.chunks(item):
                    yield chunk
        finally:
            await self._items.aclose()


class ChunkMaker:
    """Makes a turn's pieces into chunks, all with one id, time and model."""

    def __init__(self, sculpting: Sculpting, exchange: Exchange) -> None:
        self._sculpting, self._exchange = sculpting, exchange
        self._writer = ChunkWriter(
            id=_answer_id(),
            created=int(time.time()),
            model=exchange.request.model,
            include_usage=exchange.request.include_usage,
        )

    def chunks(self, item: Delta | Turn) -> Iterator[ChatCompletionChunk]:
        """Yield the chunks of one piece; the ``Turn`` ends the answer, which is kept."""
        frames = self._end(item) if isinstance(item, Turn) else self._writer.delta(item)
        for frame in frames.split(b"\n\n"):
            if frame:
                value = orjson.loads(frame.removeprefix(b"data: "))
                yield ChatCompletionChunk.model_construct(**value)

    def _end(self, turn: Turn) -> bytes:
        self._sculpting.close(self._exchange, turn)
        fields = told_extension(self._exchange, turn)
        last = self._writer.finish(turn.answer.finish_reason, fields=fields)
        usage = told_usage(turn)
        return last + (self._writer.usage(usage) if usage else b"")


def whole_answer(sculpting: Sculpting, exchange: Exchange, turn: Turn) -> ChatCompletion:
    """Keep a turn's answer and return it as the client's completion object."""
    sculpting.close(exchange, turn)
    body = format_completion(
        turn.answer,
        id=turn.answer.id or _answer_id(),
        created=turn.answer.created or int(time.time()),
        model=turn.answer.model or exchange.request.model,
        usage=told_usage(turn),
        fields=told_extension(exchange, turn),
    )
    return ChatCompletion.model_construct(**orjson.loads(body))


def with_status(answer: Any, status: str) -> Any:
    """Return an answer that passed by the loop, told why in ``x_context`` where it can be."""
    if status and isinstance(answer, ChatCompletion) and answer.model_extra is not None:
        answer.model_extra["x_context"] = {"status": status}
    return answer


def _answer_id() -> str:
    return f"chatcmpl-{uuid4().hex}"
