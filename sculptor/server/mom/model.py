"""The shipped model behind the loop's ``Model`` protocol: requests in, deltas and an answer out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from sculptor.chat import ExtraDelta
from sculptor.loop import Event, ModelRequest
from sculptor.mom.language.tokenizer import Tokenizer
from sculptor.server.headers import RawHeaders
from sculptor.server.mom.answering import AnswerWriter
from sculptor.server.mom.asking import Ask, AskReader
from sculptor.server.mom.streams import TokenWriter

_LONG_BODY_BYTES = 8_192
"""A longer body is cut into tokens in a worker thread, so that others are not held up."""


class MomModel:
    """Answers any number of requests at a time."""

    def __init__(
        self,
        writer: TokenWriter,
        *,
        tokenizer: Tokenizer,
        name: str,
        fingerprint: str,
        window_tokens: int,
    ) -> None:
        self._writer, self._tokenizer = writer, tokenizer
        self._name, self._fingerprint = name, fingerprint
        self._told = {"system_fingerprint": fingerprint}
        self._reader = AskReader(tokenizer, window_tokens=window_tokens)

    async def stream(
        self, body: bytes, *, owner: str = "", hidden: frozenset[str] = frozenset()
    ) -> AsyncIterator[Event]:
        """Answer a chat completion request; calls of ``hidden`` tools the client does not see.

        Raises:
            ApiError: the request cannot be honoured, the engine failed, or the server stops.
        """
        ask = await self._read(body, owner, hidden)
        answer = AnswerWriter(
            tokenizer=self._tokenizer,
            stops=ask.stops,
            logprobs=ask.logprobs,
            limit=ask.limit,
            hidden=hidden,
        )
        reason, reused, is_begun = None, 0, False
        async with aclosing(self._writer.write(ask.request)) as pieces:
            async for piece in pieces:
                reused = piece.reused
                for choice in piece.choices:
                    for delta in answer.feed(choice):
                        if not is_begun:  # with the first piece; alone it would begin the answer
                            yield ExtraDelta(fields={}, answer=self._told)
                            is_begun = True
                        yield delta
                    if answer.is_ended or answer.is_full:
                        break
                else:
                    reason = piece.reason
                    continue
                break
        for delta in answer.finish():
            yield delta
        yield answer.completed(
            "stop" if reason == "stop" or answer.is_ended else "length",
            prompt_tokens=len(ask.request.tokens),
            cached_tokens=reused,
            model=self._name,
            fingerprint=self._fingerprint,
        )

    async def _read(self, body: bytes, owner: str, hidden: frozenset[str]) -> Ask:
        read = partial(self._reader.read, body, owner=owner, hidden=bool(hidden))
        return read() if len(body) < _LONG_BODY_BYTES else await asyncio.to_thread(read)


class BoundMomModel:
    """The model for one client request; ``owner`` names whose earlier turns it may go on from."""

    def __init__(self, model: MomModel, *, owner: str) -> None:
        self.headers: RawHeaders = []
        self._model, self._owner = model, owner

    def stream(self, request: ModelRequest) -> AsyncIterator[Event]:
        """Answer a request, piece by piece."""
        hidden = request.added_tools
        return self._model.stream(request.body, owner=self._owner, hidden=hidden)
