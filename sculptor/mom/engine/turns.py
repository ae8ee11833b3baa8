"""Moments of conversations, kept by what was read, so that a turn reads only its own tokens.

A moment is a state and the logits after it. It is found by the tokens that led to it: prefixes
are hashed in one chain, so looking for the longest kept prefix reads the tokens once. Owners
(tenants) never find each other's moments. The least recently used go when the bound is reached.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from sculptor.mom.engine.face import Logits, S


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment(Generic[S]):
    """A conversation as it stood: its state and the logits of its next token."""

    state: S
    logits: Logits

    @property
    def nbytes(self) -> int:
        """Bytes it holds."""
        return self.state.nbytes + self.logits.nbytes

    def copy(self) -> "Moment[S]":
        """Return a moment that shares nothing with this one."""
        return Moment(state=self.state.copy(), logits=self.logits.copy())


class TurnStore(Generic[S]):
    """Keeps moments up to ``limit_bytes``; for one thread."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._moments: OrderedDict[tuple[int, bytes], Moment[S]] = OrderedDict()
        self._lengths: Counter[int] = Counter()
        self._filled = 0

    def __len__(self) -> int:
        return len(self._moments)

    @property
    def nbytes(self) -> int:
        """Bytes of all moments."""
        return self._filled

    def put(self, tokens: Sequence[int], moment: Moment[S], *, owner: str = "") -> None:
        """Keep a copy of the moment after ``tokens``; one larger than the bound is not kept."""
        ((length, digest),) = _chain(tokens, [len(tokens)], owner=owner)
        if moment.nbytes > self._limit:
            return
        self._drop((length, digest))
        while self._filled + moment.nbytes > self._limit:
            self._drop(next(iter(self._moments)))
        self._moments[length, digest] = moment.copy()
        self._lengths[length] += 1
        self._filled += moment.nbytes

    def longest(self, tokens: Sequence[int], *, owner: str = "") -> tuple[int, Moment[S] | None]:
        """Return how many of ``tokens`` the best moment has read, and a copy of it."""
        found = None
        for key in _chain(tokens, sorted(self._lengths), owner=owner):
            found = key if key in self._moments else found
        if found is None:
            return 0, None
        self._moments.move_to_end(found)
        return found[0], self._moments[found].copy()

    def _drop(self, key: tuple[int, bytes]) -> None:
        moment = self._moments.pop(key, None)
        if moment is not None:
            self._filled -= moment.nbytes
            self._lengths[key[0]] -= 1
            self._lengths += Counter()


def _chain(
    tokens: Sequence[int], lengths: Sequence[int], *, owner: str
) -> Iterator[tuple[int, bytes]]:
    """Yield each of the rising ``lengths`` that fits, with the hash of that many tokens."""
    data = memoryview(np.asarray(tokens, dtype="<i4").tobytes())
    digest = hashlib.blake2b(owner.encode() + b"\0", digest_size=16)
    done = 0
    for length in lengths:
        if length > len(tokens):
            return
        digest.update(data[4 * done : 4 * length])
        done = length
        yield length, digest.digest()
