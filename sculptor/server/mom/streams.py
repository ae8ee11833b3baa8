"""The engine's thread and the event loop: tokens handed over as they come, nobody blocked.

The thread is started by the first request. Tokens that came while the loop did other work are read
together. Whoever leaves a stream, by closing it or by being cancelled, frees its place at once.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from threading import Lock
from typing import Generic, Protocol

from sculptor.mom.engine.batch import STEPS_PER_PIECE, Batch, Finish, Request
from sculptor.mom.engine.face import Runtime, S
from sculptor.mom.engine.sampling import Choice
from sculptor.mom.engine.scheduler import Generation, Listener, Scheduler
from sculptor.mom.engine.turns import TurnStore
from sculptor.server.envelope import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Tokens that came together; ``reason`` is why the conversation ended, once it has.

    ``reused`` tokens of the prompt needed no reading.
    """

    choices: tuple[Choice, ...]
    reused: int
    reason: str | None


class TokenWriter(Protocol):
    """What writes conversations, whatever runs the model."""

    def write(self, request: Request) -> AsyncGenerator[Written, None]:
        """Yield what is written until it ends; leaving the generator frees the place."""
        ...

    def close(self) -> None:
        """End every conversation; later requests are refused."""
        ...


class Writer(Generic[S]):
    """Several conversations written at a time over one runtime."""

    def __init__(
        self,
        runtime: Runtime[S],
        *,
        memory_bytes: int,
        width: int,
        steps_per_piece: int = STEPS_PER_PIECE,
    ) -> None:
        self._batch = Batch(
            runtime,
            turns=TurnStore(limit_bytes=memory_bytes),
            width=width,
            steps_per_piece=steps_per_piece,
        )
        self._scheduler: Scheduler[S] | None = None
        self._lock = Lock()
        self._closed = False

    async def write(self, request: Request) -> AsyncGenerator[Written, None]:
        """Yield what is written until it ends; leaving the generator frees the place.

        Raises:
            ApiError: the engine failed, or the server stops.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Choice | Finish] = asyncio.Queue()

        def listen(event: Choice | Finish) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        generation = self._submit(request, listen)
        try:
            reason = None
            while reason is None:
                came = [await events.get()]
                while not events.empty():
                    came.append(events.get_nowait())
                choices = tuple(event for event in came if isinstance(event, Choice))
                if isinstance(came[-1], Finish):
                    reason = _reason(came[-1])
                yield Written(choices=choices, reused=generation.reused, reason=reason)
        finally:
            generation.cancel()

    def close(self) -> None:
        """End every conversation and the thread; later requests are refused."""
        with self._lock:
            self._closed = True
            scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.close()

    def _submit(self, request: Request, listen: Listener) -> Generation[S]:
        with self._lock:
            if self._closed:
                raise _stopping()
            if self._scheduler is None:
                self._scheduler = Scheduler(self._batch)
            return self._scheduler.submit(request, listener=listen)


def _reason(finish: Finish) -> str:
    if finish.reason == "error":
        failed = f"The model failed: {finish.error}."
        raise ApiError(500, failed, code="internal_error") from finish.error
    if finish.reason == "cancelled":
        raise _stopping()
    return finish.reason


def _stopping() -> ApiError:
    return ApiError(503, "The server stops.", code="draining", retry_after_s=1)
