"""A thread that runs a `Batch`, and the conversations as iterators of tokens.

`Scheduler.submit` may be called from any thread; everything the model does happens in one. A
`Generation` that is cancelled, or whose iterator is left, frees its place at the next round.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from queue import SimpleQueue
from typing import Generic

from sculptor.mom.engine.batch import Batch, Finish, Job, Request
from sculptor.mom.engine.face import S
from sculptor.mom.engine.sampling import Choice

Listener = Callable[[Choice | Finish], None]
"""Called in the scheduler's thread; must not block."""


class GenerationError(RuntimeError):
    """A conversation could not be written to its end; the text says why."""


class Generation(Generic[S]):
    """One conversation being written: iterate over its tokens, then read `finish`."""

    def __init__(self, job: Job[S], wake: Callable[[], None], listener: Listener | None) -> None:
        self._job, self._wake = job, wake
        self._events: SimpleQueue[Choice | Finish] = SimpleQueue()
        self._listener = listener or self._events.put
        self._finish: Finish | None = None

    @property
    def reused(self) -> int:
        """How many tokens of the prompt needed no reading; known from the first token on."""
        return self._job.reused

    @property
    def finish(self) -> Finish | None:
        """Why it ended; None while it goes on."""
        return self._finish

    def cancel(self) -> None:
        """End it at the next round; cancelling what has ended does nothing."""
        self._job.cancelled = True
        self._wake()

    def __iter__(self) -> Iterator[Choice]:
        """Yield the tokens as they come; an error in writing them is a `GenerationError`."""
        try:
            while isinstance(event := self._events.get(), Choice):
                yield event
            raise_error(event)
        finally:
            self.cancel()

    def deliver(self, event: Choice | Finish) -> None:
        """Hand an event on; called by the scheduler alone."""
        if isinstance(event, Finish):
            self._finish = event
        try:
            self._listener(event)
        except Exception:  # its event loop is closed, say: nobody reads this any more
            self._job.cancelled = True


class Scheduler(Generic[S]):
    """Owns the thread; use as a context manager, or `close` it."""

    def __init__(self, batch: Batch[S]) -> None:
        self._batch = batch
        self._jobs: dict[Job[S], Generation[S]] = {}
        self._inbox: deque[Job[S]] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sculptor-mom", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Scheduler[S]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, request: Request, *, listener: Listener | None = None) -> Generation[S]:
        """Queue a request; its events go to ``listener`` if there is one, else to its iterator."""
        job = self._batch.new_job(request)
        generation = Generation(job, self._wake, listener)
        with self._change:
            if self._closed:
                raise RuntimeError("The scheduler is closed; make another.")
            self._jobs[job] = generation
            self._inbox.append(job)
            self._change.notify()
        return generation

    async def stream(self, request: Request) -> AsyncIterator[Choice]:
        """Yield a request's tokens in an event loop; leaving the iterator cancels the request."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Choice | Finish] = asyncio.Queue()

        def listen(event: Choice | Finish) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        generation = self.submit(request, listener=listen)
        try:
            while isinstance(event := await events.get(), Choice):
                yield event
            raise_error(event)
        finally:
            generation.cancel()

    def close(self) -> None:
        """End every conversation and the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _wake(self) -> None:
        with self._change:
            self._change.notify()

    def _run(self) -> None:
        while True:
            with self._change:
                while not (self._closed or self._inbox or self._batch.busy):
                    self._change.wait()
                if self._closed:
                    break
                while self._inbox:
                    self._batch.add(self._inbox.popleft())
            self._run_round()
        self._end_all(Finish(reason="cancelled"))

    def _run_round(self) -> None:
        try:
            events = self._batch.advance()
        except Exception as error:  # whoever waits must hear of it; the next request may succeed
            self._end_all(Finish(reason="error", error=error))
            return
        for job, event in events:
            generation = self._jobs[job]
            if isinstance(event, Finish):
                with self._change:
                    del self._jobs[job]
            generation.deliver(event)

    def _end_all(self, finish: Finish) -> None:
        with self._change:
            self._batch.clear()
            self._inbox.clear()
            generations = list(self._jobs.values())
            self._jobs.clear()
        for generation in generations:
            generation.deliver(finish)


def raise_error(finish: Finish) -> None:
    """Raise a `GenerationError` if a conversation ended with an error."""
    if finish.reason == "error":
        raise GenerationError(f"Writing stopped: {finish.error}") from finish.error
