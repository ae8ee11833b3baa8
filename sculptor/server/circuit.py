"""A circuit breaker: an upstream that keeps failing is left alone for a while.

It opens after ten failures in a row, or when half of at least twenty attempts of the last minute
failed. While open nothing is sent; after half a minute one probe is let through, and its outcome
closes the circuit or opens it again. The minute is kept in one-second buckets, so memory is flat.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sculptor.server.failures import CircuitOpen

_WINDOW_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitSettings:
    """When a circuit opens, and for how long."""

    consecutive_failures: int = 10
    failure_share: float = 0.5
    min_attempts: int = 20
    open_s: float = 30.0


class Circuit:
    """The state of one upstream: closed, open, or half-open with one probe on its way."""

    __slots__ = ("_attempts", "_clock", "_failed", "_in_row", "_is_probing", "_open_until", "_set")

    def __init__(
        self,
        settings: CircuitSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._set = settings or CircuitSettings()
        self._clock = clock
        self._in_row = 0
        self._open_until: float | None = None
        self._is_probing = False
        self._attempts = _Window()
        self._failed = _Window()

    @property
    def is_open(self) -> bool:
        """Whether requests are being refused (a half-open circuit counts as open)."""
        return self._open_until is not None

    def enter(self) -> None:
        """Let an attempt through; each is followed by ``success``, ``failure`` or ``abandon``.

        Raises ``CircuitOpen`` with the seconds to wait where the upstream is left alone.
        """
        if self._open_until is None:
            return
        left = self._open_until - self._clock()
        if left > 0 or self._is_probing:
            raise CircuitOpen(max(left, 1.0))
        self._is_probing = True

    def success(self) -> None:
        """Note an attempt that the upstream answered."""
        self._in_row = 0
        if self._open_until is not None:
            if not self._is_probing:
                return  # an attempt from before the circuit opened
            self._close()
        self._attempts.add(int(self._clock()))

    def failure(self) -> None:
        """Note an attempt that failed; may open the circuit."""
        second = int(self._clock())
        self._in_row += 1
        self._attempts.add(second)
        self._failed.add(second)
        if self._is_probing or (self._open_until is None and self._must_open(second)):
            self._open_until = self._clock() + self._set.open_s
            self._is_probing = False

    def abandon(self) -> None:
        """Note an attempt without an outcome: the client left. A probe's place is free again."""
        self._is_probing = False

    def _must_open(self, second: int) -> bool:
        if self._in_row >= self._set.consecutive_failures:
            return True
        attempts = self._attempts.total(second)
        if attempts < self._set.min_attempts:
            return False
        return self._failed.total(second) >= self._set.failure_share * attempts

    def _close(self) -> None:
        self._open_until = None
        self._is_probing = False
        self._attempts = _Window()
        self._failed = _Window()


class _Window:
    """Counts of the last minute, a bucket a second."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._counts = [0] * _WINDOW_S
        self._seconds = [-1] * _WINDOW_S

    def add(self, second: int) -> None:
        place = second % _WINDOW_S
        if self._seconds[place] != second:
            self._seconds[place] = second
            self._counts[place] = 0
        self._counts[place] += 1

    def total(self, second: int) -> int:
        oldest = second - _WINDOW_S
        pairs = zip(self._seconds, self._counts, strict=True)
        return sum(count for at, count in pairs if oldest < at <= second)
