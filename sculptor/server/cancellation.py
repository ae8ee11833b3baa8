"""A client that leaves takes its work with it.

The framework tells of a lost client only to those who listen, and for answers that are not streamed
nobody does. So the work runs in its own task and a watch listens beside it; what ends the work from
outside (a client gone or stuck, a server that closes) arrives in it as a cancellation and leaves it
as the reason. The watch begins to listen only after a moment: an answer that is ready before costs
one timer and no task.
"""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

_LISTEN_AFTER_S = 0.25


class ClientLeft(Exception):
    """Raised in the work of a request whose client is gone (logged as 499, answered to nobody)."""

    def __init__(self, why: str = "The client left.") -> None:
        super().__init__(why)


class ClientWatch:
    """``async with ClientWatch(receive) as watch:`` ends its block when the client leaves.

    The request's body must have been read. The block is cancelled where it waits; the exception
    that leaves it is ``ClientLeft``, or what ``abort`` was called with.
    """

    __slots__ = ("_cancelling", "_listener", "_reason", "_receive", "_task", "_timer")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[object] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reason: Exception | None = None
        self._cancelling = 0

    def abort(self, reason: Exception) -> None:
        """Cancel the block; ``reason`` is what it raises. The first reason counts."""
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._task.cancel()

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._timer = self._task.get_loop().call_later(_LISTEN_AFTER_S, self._start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        assert task is not None
        assert self._timer is not None
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        if self._reason is not None and task.uncancel() <= self._cancelling:
            raise self._reason from error

    def _start(self) -> None:
        assert self._task is not None
        self._listener = self._task.get_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.abort(ClientLeft())
