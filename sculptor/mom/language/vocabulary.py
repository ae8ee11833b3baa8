"""A vocabulary as the grammar reads it: each token a short sequence of symbols, and a tree of them.

A symbol below 256 is a byte; a protocol token is one symbol, 256 and its id. For the inside of a
string, where nearly every token may come, the answer for all tokens at once is kept as arrays.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sculptor.mom.language.scan import QUOTE, REFUSED, Dialect, table
from sculptor.mom.language.tokenizer import Tokenizer

PROTOCOL_SYMBOL = 256
"""What is added to the id of a protocol token to make its symbol."""

Mask = NDArray[np.bool_]


@dataclass(slots=True, kw_only=True)
class Branch:
    """The tokens that begin with one sequence of symbols."""

    token: int | None = None
    """The token that is this very sequence."""
    branches: dict[int, "Branch"] = field(default_factory=dict)

    def add(self, token: int, symbols: tuple[int, ...]) -> None:
        """Add a token that is these symbols after the branch's own."""
        branch = self
        for symbol in symbols:
            branch = branch.branches.setdefault(symbol, Branch())
        branch.token = token


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """Which tokens stay inside a string, from one state of its scan."""

    stays: Mask
    """Tokens after which the string is still open and well formed."""
    begun: NDArray[np.int32]
    """How many characters each of those tokens begins."""
    leaves: Branch
    """Tokens that close the string on their way; what follows in them is not looked at."""


class Vocabulary:
    """The symbols of every token of a tokenizer; made once for each."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.size = tokenizer.vocab_size
        self.symbols = [_symbols(tokenizer, token) for token in range(self.size)]
        self._text = [
            token for token, symbols in enumerate(self.symbols) if symbols[0] < PROTOCOL_SYMBOL
        ]
        self.root = Branch()
        self._inside: dict[tuple[Dialect, int], Inside] = {}
        for token, symbols in enumerate(self.symbols):
            self.root.add(token, symbols)

    def inside(self, dialect: Dialect, state: int) -> Inside:
        """Return what each token does inside a string of this dialect, from one state."""
        known = self._inside.get((dialect, state))
        if known is None:
            known = self._inside[dialect, state] = self._scan(dialect, state)
        return known

    def _scan(self, dialect: Dialect, start: int) -> Inside:
        stays = np.zeros(self.size, dtype=np.bool_)
        begun = np.zeros(self.size, dtype=np.int32)
        leaves = Branch()
        rows, quoted = table(dialect), dialect != "text"
        for token in self._text:
            state = start
            for symbol in self.symbols[token]:
                if quoted and state == 0 and symbol == QUOTE:
                    leaves.add(token, self.symbols[token])
                    break
                begun[token] += state == 0
                state = rows[state][symbol]
                if state == REFUSED:
                    break
            else:
                stays[token] = True
        return Inside(stays=stays, begun=begun, leaves=leaves)


@lru_cache(maxsize=4)
def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """Return the vocabulary of a tokenizer, made at the first call."""
    return Vocabulary(tokenizer)


def _symbols(tokenizer: Tokenizer, token: int) -> tuple[int, ...]:
    data = tokenizer.token_bytes(token)
    return (PROTOCOL_SYMBOL + token,) if data is None else tuple(data)
