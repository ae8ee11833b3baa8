"""From the tokens a model writes to what the client is sent, piece by piece and whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sculptor.chat import (
    Completed,
    Delta,
    ExtraDelta,
    JsonObject,
    TextDelta,
    ToolCallDelta,
    Usage,
    mint_call_id,
)
from sculptor.mom.engine.sampling import Choice
from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.reply import (
    ArgumentsPiece,
    CallClosed,
    CallOpened,
    Event,
    ReplyReader,
    TextPiece,
)
from sculptor.mom.language.tokenizer import Tokenizer
from sculptor.server.mom.endings import Endings
from sculptor.server.mom.likelihoods import Likelihoods


@dataclass(slots=True, kw_only=True)
class _Call:
    id: str
    name: str
    arguments: list[str]

    def to_wire(self) -> JsonObject:
        function = {"name": self.name, "arguments": "".join(self.arguments)}
        return {"id": self.id, "type": "function", "function": function}


class AnswerWriter:
    """One answer in the making: feed it tokens until it is ended or full, then ``finish`` it.

    It is full with ``limit`` tokens, those of calls of the tools named in ``hidden`` left out: the
    client set the limit for what it is to see.
    """

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        stops: Sequence[str],
        logprobs: bool,
        limit: int,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self._limit, self._hidden = limit, hidden
        self._reader = ReplyReader(tokenizer=tokenizer)
        self._tokenizer = tokenizer
        self._endings = Endings(stops)
        self._rows = Likelihoods(tokenizer=tokenizer) if logprobs else None
        self._texts: list[str] = []
        self._calls: list[_Call] = []
        self._in_call = False
        self._is_seen = True
        self._tokens = self._seen_tokens = self._early_tokens = 0

    @property
    def is_full(self) -> bool:
        """Whether as many tokens as the client allows were written outside of hidden calls."""
        return self._seen_tokens >= self._limit

    @property
    def is_ended(self) -> bool:
        """Whether a stop sequence came, after which nothing is to be written."""
        return self._endings.found

    def feed(self, choice: Choice) -> Iterator[Delta]:
        """Yield what one more token adds."""
        self._tokens += 1
        if choice.token == Protocol.CALL:
            self._in_call, self._is_seen, self._early_tokens = True, not self._hidden, 0
        if choice.token != Protocol.END:
            self._seen_tokens += self._is_seen
            self._early_tokens += not self._is_seen
        is_text = not self._in_call and self._tokenizer.token_bytes(choice.token) is not None
        if self._rows is not None and is_text:
            self._rows.add(choice)
        yield from self._read(self._reader.feed(choice.token))

    def finish(self) -> Iterator[Delta]:
        """Yield what is still owed when no more tokens come; half a character is not."""
        if not self.is_ended:
            self._reader.finish()
            yield from self._show(self._endings.flush())
        if self._rows is not None and (rows := self._rows.show("", last=True)):
            yield ExtraDelta(fields={}, choice=_beside(rows))

    def completed(
        self,
        reason: Literal["stop", "length"],
        *,
        prompt_tokens: int,
        cached_tokens: int,
        model: str,
        fingerprint: str,
    ) -> Completed:
        """Return the whole answer."""
        text = "".join(self._texts)
        calls = [call.to_wire() for call in self._calls]
        message: JsonObject = {"role": "assistant", "content": text or (None if calls else "")}
        if calls:
            message["tool_calls"] = calls
        return Completed(
            message=message,
            finish_reason="tool_calls" if calls and reason == "stop" else reason,
            usage=Usage(
                prompt_tokens=prompt_tokens,
                completion_tokens=self._tokens,
                cached_tokens=cached_tokens,
            ),
            model=model,
            choice={} if self._rows is None else _beside(self._rows.told),
            fields={"system_fingerprint": fingerprint},
        )

    def _read(self, events: Sequence[Event]) -> Iterator[Delta]:
        for event in events:
            match event:
                case TextPiece(text=text):
                    yield from self._show(self._endings.feed(text))
                case CallOpened(index=index, name=name):
                    yield from self._show(self._endings.flush())
                    self._calls.append(_Call(id=mint_call_id(), name=name, arguments=[]))
                    if not self._is_seen and name not in self._hidden:
                        self._is_seen = True  # known from its name on, and so are its first tokens
                        self._seen_tokens += self._early_tokens
                    yield ToolCallDelta(index=index, id=self._calls[-1].id, name=name)
                case ArgumentsPiece(index=index, text=text):
                    self._calls[index].arguments.append(text)
                    yield ToolCallDelta(index=index, arguments=text)
                case CallClosed():
                    self._in_call, self._is_seen = False, True

    def _show(self, text: str) -> Iterator[Delta]:
        if not text:
            return
        self._texts.append(text)
        rows = None if self._rows is None else self._rows.show(text)
        yield TextDelta(text=text, choice=_beside(rows) if rows else None)


def _beside(rows: Sequence[JsonObject]) -> JsonObject:
    """Return rows as they stand beside a choice's text."""
    return {"logprobs": {"content": list(rows), "refusal": None}}
