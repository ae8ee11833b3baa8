"""The client's side of a streamed answer: a head in time, life signs, and nobody waits for ever.

The head goes out with the first frame, or after five seconds at the latest; once it is out, an
error can only be a frame. While nothing is ready a comment is sent now and then, so that nobody in
between takes the silence for death. A client that takes nothing for a minute is given up. One timer
does all of this; a stream that flows costs no other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from starlette.types import Send

from sculptor.server.cancellation import ClientLeft
from sculptor.server.headers import RawHeaders

KEEP_ALIVE = b": keep-alive\n\n"
STREAM_HEADERS: RawHeaders = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The times of a stream in seconds; ``keep_alive_s`` 0 sends no life signs."""

    head_after_s: float = 5.0
    keep_alive_s: float = 10.0
    stuck_after_s: float = 60.0


class EventStream:
    """``async with EventStream(send, ...) as stream:`` writes frames to one client.

    ``abort`` is called with ``ClientLeft`` where the client is stuck (``ClientWatch.abort``).
    Leaving the block stops the timer; ``end`` closes the answer.
    """

    __slots__ = (
        "_abort",
        "_aside",
        "_headers",
        "_keep_alive",
        "_last",
        "_loop",
        "_send",
        "_settings",
        "_timer",
        "_writing_since",
        "is_begun",
    )

    def __init__(
        self,
        send: Send,
        *,
        headers: RawHeaders,
        abort: Callable[[Exception], None],
        settings: StreamSettings | None = None,
        keep_alive: bytes = KEEP_ALIVE,
    ) -> None:
        self._send = send
        self._headers = headers
        self._abort = abort
        self._settings = settings or StreamSettings()
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._writing_since: float | None = None
        self._aside: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.is_begun = False

    async def __aenter__(self) -> Self:
        self._last = self._loop.time()
        self._timer = self._loop.call_at(self._last + self._settings.head_after_s, self._tick)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_timer()
        if self._aside is not None:
            self._aside.cancel()

    async def write(self, frames: bytes) -> None:
        """Send frames, the head before the first; waits until the client has room for them."""
        if self._aside is not None:
            await self._aside
        if frames or not self.is_begun:
            await self._write(frames, more=True)

    async def end(self, frames: bytes = b"") -> None:
        """Send the last frames and close the answer."""
        if self._aside is not None:
            await self._aside
        await self._write(frames, more=False)
        self._stop_timer()  # what the work does from here on takes as long as it likes

    async def _write(self, frames: bytes, *, more: bool) -> None:
        self._writing_since = self._loop.time()
        if not self.is_begun:
            self.is_begun = True
            await self._send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": STREAM_HEADERS + self._headers,
                }
            )
        if frames or not more:
            await self._send({"type": "http.response.body", "body": frames, "more_body": more})
        self._last = self._loop.time()
        self._writing_since = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._loop.time()
        times = self._settings
        if self._writing_since is not None:
            due = self._writing_since + times.stuck_after_s
            if now >= due:
                self._abort(ClientLeft(f"The client took nothing for {times.stuck_after_s:g} s."))
                return
            due = min(due, now + (times.keep_alive_s or times.stuck_after_s))
        elif not self.is_begun:
            due = self._send_aside(self._keep_alive if times.keep_alive_s else b"")
        elif not times.keep_alive_s:
            due = now + times.stuck_after_s
        elif now < self._last + times.keep_alive_s:
            due = self._last + times.keep_alive_s
        else:
            due = self._send_aside(self._keep_alive)
        self._timer = self._loop.call_at(due, self._tick)

    def _send_aside(self, frames: bytes) -> float:
        """Send beside the work, which waits for it before it sends; return when to look again."""
        self._aside = self._loop.create_task(self._write(frames, more=True))
        self._aside.add_done_callback(self._forget_aside)
        return self._loop.time() + (self._settings.keep_alive_s or self._settings.stuck_after_s)

    def _forget_aside(self, task: asyncio.Task[None]) -> None:
        self._aside = None
        if not task.cancelled() and task.exception() is not None:
            self._abort(ClientLeft("The client's connection broke."))
