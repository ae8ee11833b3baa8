"""What the model writes, token by token, as events: text, calls with their arguments, the end.

Text and arguments never hold half a character. A reader takes any token sequence: a token that has
no place where it stands (constraints off, a damaged model) closes what is open or is passed over.
"""

import codecs
from dataclasses import dataclass

from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPiece:
    """More of the visible text; never empty."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpened:
    """A call of the named tool begins."""

    index: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsPiece:
    """More of the JSON of a call's arguments; never empty."""

    index: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallClosed:
    """The arguments of a call are whole."""

    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """The model ended its turn."""


Event = TextPiece | CallOpened | ArgumentsPiece | CallClosed | TurnEnded

_ENDS = frozenset(Protocol) - {Protocol.CALL, Protocol.ARGUMENTS, Protocol.CALL_END}


class ReplyReader:
    """Reads one turn; make a new one for each."""

    def __init__(self, *, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._calls = 0
        self._place = "text"
        self._name = ""

    def feed(self, token: int) -> list[Event]:
        """Return what one more token says; after the end of the turn nothing."""
        if self._place == "done":
            return []
        if token in _ENDS:
            return self.finish(ended=True)
        match token:
            case Protocol.CALL:
                events = self._close()
                self._place, self._name = "name", ""
                return events
            case Protocol.ARGUMENTS if self._place == "name":
                return self._open()
            case Protocol.ARGUMENTS:
                return []
            case Protocol.CALL_END:
                return self._close()
            case _:
                return self._more(self._tokenizer.spelling(token))

    def finish(self, *, ended: bool = False) -> list[Event]:
        """Return what is left when no more tokens come, such as at a limit of tokens."""
        if self._place == "done":
            return []
        events = self._close()
        self._place = "done"
        return [*events, TurnEnded()] if ended else events

    def _more(self, data: bytes, *, final: bool = False) -> list[Event]:
        text = self._decoder.decode(data, final)
        if not text:
            return []
        if self._place == "name":
            self._name += text
            return []
        if self._place == "arguments":
            return [ArgumentsPiece(index=self._calls, text=text)]
        return [TextPiece(text=text)]

    def _open(self) -> list[Event]:
        self._more(b"", final=True)
        self._place = "arguments"
        return [CallOpened(index=self._calls, name=self._name)]

    def _close(self) -> list[Event]:
        """End the text or the call that is open; a call without arguments still counts."""
        events = self._more(b"", final=True)
        if self._place == "text":
            return events
        if self._place == "name":
            events += self._open()
        events.append(CallClosed(index=self._calls))
        self._calls += 1
        self._place = "text"
        return events
