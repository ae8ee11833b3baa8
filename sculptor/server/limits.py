"""How many requests run at once, and how the server comes to rest.

A bounded number runs, a bounded number waits for a place in the order of arrival and for a bounded
time, and everyone else is told to come back. One key cannot take all the places. When the server is
to stop nobody new is let in, those who wait are sent away, and those who run get time to finish;
what still runs then is ended by force.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sculptor.server.envelope import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """How many requests may run and wait, and for how long."""

    running: int = 256
    queued: int = 512
    wait_s: float = 30.0
    running_per_key: int = 256
    drain_s: float = 120.0


class Admission:
    """The places of one worker: ``async with admission.enter(key) as place:`` takes one."""

    def __init__(self, settings: AdmissionSettings | None = None) -> None:
        self.settings = settings or AdmissionSettings()
        self.is_draining = False
        self._taken = 0
        self._places: set[Place] = set()
        self._queue: deque[asyncio.Future[None]] = deque()
        self._per_key: dict[str, int] = {}
        self._idle: asyncio.Event | None = None
        self._is_evicted = False

    @property
    def running(self) -> int:
        """How many requests have a place."""
        return self._taken

    @property
    def queued(self) -> int:
        """How many requests wait for a place."""
        return len(self._queue)

    def enter(self, key: str) -> "Place":
        """Return a place to be entered on behalf of a key.

        Entering raises ``ApiError``: 429 where there is no room, 503 while the server drains.
        """
        return Place(self, key)

    def drain(self) -> None:
        """Let nobody in any more and send those away who wait."""
        self.is_draining = True
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(make_draining_error())

    async def wait_idle(self) -> bool:
        """Wait until nothing runs, at most ``drain_s``; tell whether that was reached.

        Nothing is waited for once ``evict`` was called.
        """
        if not self._taken or self._is_evicted:
            return not self._taken
        self._idle = asyncio.Event()
        try:
            async with asyncio.timeout(self.settings.drain_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return not self._taken

    def evict(self) -> None:
        """End what still runs: each place's ``on_evict`` is called with the error to end in."""
        self._is_evicted = True
        if self._idle is not None:
            self._idle.set()
        for place in list(self._places):
            if place.on_evict is not None:
                place.on_evict(make_draining_error())

    async def take(self, place: "Place") -> None:
        """Take a place, waiting for one if need be; ``Place`` calls this."""
        if self.is_draining:
            raise make_draining_error()
        held = self._per_key.get(place.key, 0)
        if held >= self.settings.running_per_key:
            message = f"This key has {held} requests at work already. Try again soon."
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after_s=1)
        self._per_key[place.key] = held + 1
        if self._taken < self.settings.running:
            self._taken += 1
        else:
            try:
                await self._wait()
            except BaseException:
                self._forget(place.key)
                raise
        self._places.add(place)

    def leave(self, place: "Place") -> None:
        """Give a place back; ``Place`` calls this."""
        self._places.discard(place)
        self._forget(place.key)
        self._hand_over()

    async def _wait(self) -> None:
        if len(self._queue) >= self.settings.queued:
            raise self._full("The queue is full.")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            async with asyncio.timeout(self.settings.wait_s):
                await waiter
        except BaseException as error:
            if waiter in self._queue:
                self._queue.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                self._hand_over()  # the place came too late
            if isinstance(error, TimeoutError):
                raise self._full(f"No place came free in {self.settings.wait_s:g} s.") from None
            raise

    def _hand_over(self) -> None:
        """Give a place that came free to who waits longest, or count it as free."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)
            return
        self._taken -= 1
        if self._idle is not None and not self._taken:
            self._idle.set()

    def _next_waiter(self) -> asyncio.Future[None] | None:
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():  # one that was cancelled may not have woken yet
                return waiter
        return None

    def _forget(self, key: str) -> None:
        left = self._per_key[key] - 1
        if left:
            self._per_key[key] = left
        else:
            del self._per_key[key]

    def _full(self, why: str) -> ApiError:
        message = f"The server is busy with {self._taken} requests. {why} Try again soon."
        return ApiError(429, message, code="queue_full", retry_after_s=2)


class Place:
    """One request's right to run, from entering the block to leaving it."""

    __slots__ = ("_admission", "key", "on_evict")

    def __init__(self, admission: Admission, key: str) -> None:
        self._admission = admission
        self.key = key
        self.on_evict: Callable[[Exception], None] | None = None

    async def __aenter__(self) -> Self:
        await self._admission.take(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admission.leave(self)


def make_draining_error() -> ApiError:
    """Return the error of a server that is about to stop."""
    message = "The server is stopping. Try again in a moment."
    return ApiError(503, message, code="draining", retry_after_s=5)
