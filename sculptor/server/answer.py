"""What an upstream answers, read with an eye on the clock.

Time runs only while we wait for the upstream: a client that reads slowly is not the upstream's
fault. Comments in an event stream are no content, so they do not keep a hung stream alive. One
timer watches a whole answer; an answer that is already there when it is read costs none.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from sculptor.errors import UpstreamBroken, UpstreamTimeout
from sculptor.server.circuit import Circuit
from sculptor.server.headers import RawHeaders, relay_headers
from sculptor.server.sse import EventDecoder

_LAST_FRAME = b"[DONE]"
_END_GRACE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTimeouts:
    """How long each phase of a request may take, in seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 300.0
    idle_s: float = 120.0
    total_s: float = 3600.0


class UpstreamResponse:
    """An answer whose head has come; read it whole, as bytes or as frames, then ``close`` it."""

    __slots__ = (
        "_circuit",
        "_content",
        "_deadline",
        "_decoder",
        "_is_begun",
        "_is_done",
        "_limit",
        "_loop",
        "_raw",
        "_timeouts",
        "_timer",
        "_waiting_since",
        "status",
    )

    def __init__(
        self,
        raw: aiohttp.ClientResponse,
        *,
        timeouts: UpstreamTimeouts,
        started: float,
        circuit: Circuit,
        limit_bytes: int,
    ) -> None:
        self.status = raw.status
        self._raw = raw
        self._content = raw.content
        self._circuit = circuit
        self._limit = limit_bytes
        self._timeouts = timeouts
        self._deadline = started + timeouts.total_s
        self._is_begun = False
        self._is_done = False
        self._waiting_since: float | None = started
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._decoder: EventDecoder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def headers(self) -> Mapping[str, str]:
        """The upstream's headers, all of them, by name in any case."""
        return self._raw.headers

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is a stream of events."""
        return self.headers.get("content-type", "").lstrip().lower().startswith("text/event-stream")

    def relayed(self, *, with_body: bool = False) -> RawHeaders:
        """Return the headers that the client may see."""
        return relay_headers(self._raw.raw_headers, with_body=with_body)

    async def read(self, *, limit_bytes: int | None = None) -> bytes:
        """Return the whole body.

        Raises ``UpstreamBroken`` where it breaks off or is over the limit, ``UpstreamTimeout``
        where it takes too long.
        """
        limit = self._limit if limit_bytes is None else limit_bytes
        pieces: list[bytes] = []
        size = 0
        while piece := await self.next_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                self.close()
                raise UpstreamBroken(f"The upstream's answer is over {limit} bytes long.")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def next_bytes(self) -> bytes:
        """Return what has come of the body, waiting for at least a byte; empty at its end."""
        data = await self._receive()
        self._note_content()
        return data

    async def next_frames(self) -> list[bytes]:
        """Return the payloads of the events that have come, at least one; empty at the end.

        Raises as ``read`` does.
        """
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = EventDecoder()
        while data := await self._receive():
            frames = decoder.feed(data)
            if frames:
                self._note_content()
                self._is_done = frames[-1] == _LAST_FRAME
                return frames
            if decoder.is_inside_frame:
                self._note_content()
        self._note_content()
        return decoder.close()

    def close(self) -> None:
        """Give the connection back, or drop it where the answer was not read to its end.

        After ``[DONE]`` only the end itself is missing: it gets a moment, and nobody waits for it.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_done and not self._content.is_eof():
            drop = self._loop.call_later(_END_GRACE_S, self._raw.close)
            self._content.on_eof(drop.cancel)
        else:
            self._raw.close()

    def _note_content(self) -> None:
        self._is_begun = True
        self._waiting_since = None

    async def _receive(self) -> bytes:
        content = self._content
        try:
            if not content.is_eof():
                self._watch()
            return await content.readany()
        except aiohttp.ClientError as error:
            self._circuit.failure()
            raise UpstreamBroken("The upstream broke off in the middle of its answer.") from error
        except UpstreamTimeout:
            self._circuit.failure()
            raise

    def _watch(self) -> None:
        if self._waiting_since is None:
            self._waiting_since = self._loop.time()
        if self._timer is None:
            self._stop_socket_timer()
            self._tick()

    def _stop_socket_timer(self) -> None:
        # aiohttp's own timer would take a comment for content; ours takes over.
        connection = self._raw.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = None
            connection.protocol.start_timeout()

    def _tick(self) -> None:
        now = self._loop.time()
        phase = "idle" if self._is_begun else "first byte"
        limit = self._timeouts.idle_s if self._is_begun else self._timeouts.first_byte_s
        due = (now if self._waiting_since is None else self._waiting_since) + limit
        if now >= self._deadline:
            self._expire("whole request", self._timeouts.total_s)
        elif now >= due:
            self._expire(phase, limit)
        else:
            self._timer = self._loop.call_at(min(due, self._deadline), self._tick)

    def _expire(self, phase: str, limit_s: float) -> None:
        self._content.set_exception(UpstreamTimeout(phase, limit_s))
