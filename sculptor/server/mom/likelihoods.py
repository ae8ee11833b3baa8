"""Log-probabilities of the visible text, in the wire's form.

Each text token has one row. A row is told with the piece of text that completes it, so rows and
text come together even where text was held back; the rows of text that a stop sequence took away
are never told.
"""

from collections import deque

from sculptor.chat import JsonObject
from sculptor.mom.engine.sampling import Choice
from sculptor.mom.language.protocol import SPELLINGS, Protocol
from sculptor.mom.language.tokenizer import Tokenizer


class Likelihoods:
    """The rows of one answer."""

    def __init__(self, *, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._waiting: deque[tuple[int, JsonObject]] = deque()
        self._begun_bytes = 0
        self._shown_bytes = 0
        self.told: list[JsonObject] = []
        """All rows told so far."""

    def add(self, choice: Choice) -> None:
        """Take the row of a text token."""
        self._waiting.append((self._begun_bytes, self._row(choice)))
        self._begun_bytes += len(self._tokenizer.token_bytes(choice.token) or b"")

    def show(self, text: str, *, last: bool = False) -> list[JsonObject]:
        """Return the rows that this piece of visible text completes; ``last``: begins."""
        self._shown_bytes += len(text.encode("utf-8", "surrogatepass"))
        rows: list[JsonObject] = []
        while self._waiting and self._is_due(last=last):
            rows.append(self._waiting.popleft()[1])
        self.told += rows
        return rows

    def _is_due(self, *, last: bool) -> bool:
        if last:
            return self._waiting[0][0] < self._shown_bytes
        end = self._waiting[1][0] if len(self._waiting) > 1 else self._begun_bytes
        return end <= self._shown_bytes

    def _row(self, choice: Choice) -> JsonObject:
        top = [self._entry(token, logprob) for token, logprob in choice.top]
        return {**self._entry(choice.token, choice.logprob), "top_logprobs": top}

    def _entry(self, token: int, logprob: float) -> JsonObject:
        data = self._tokenizer.token_bytes(token)
        return {
            "token": _name(token) if data is None else data.decode("utf-8", "replace"),
            "logprob": logprob,
            "bytes": None if data is None else list(data),
        }


def _name(token: int) -> str:
    """Return how a token that is no text is shown."""
    known = {int(each): each.name.lower() for each in Protocol}
    spelling = SPELLINGS.get(token)
    return f"<{spelling.decode() if spelling else known.get(token, token)}>"
