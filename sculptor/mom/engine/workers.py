"""A few threads that help the caller with a list of tasks, and then sleep.

The tasks are products and array functions that let go of the interpreter lock, each writing to a
place of its own, so how many threads share them changes no bit of a result. Nobody spins: on a
busy machine a helper that gets no processor costs little, since the caller takes the tasks itself.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

Task = Callable[[], object]


class Workers:
    """The caller and ``threads - 1`` helpers, started when first needed."""

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; the engine needs at least 1.")
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks, in any order; an error of one is raised after the others have ended."""
        waiting = deque(tasks)

        def drain() -> None:
            while waiting:
                try:
                    task = waiting.popleft()
                except IndexError:  # another thread was faster
                    return
                task()

        helpers = min(self._threads, len(tasks)) - 1
        if helpers < 1:
            drain()
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads - 1, "sculptor-mom-worker")
        helping = [self._pool.submit(drain) for _ in range(helpers)]
        try:
            drain()
        finally:
            begun = [helper for helper in helping if not helper.cancel()]
            wait(begun)
        for helper in begun:
            helper.result()


def default_threads() -> int:
    """Return how many threads to use: one for each processor this process may use, at most 4."""
    if hasattr(os, "sched_getaffinity"):
        return min(4, len(os.sched_getaffinity(0)))
    return min(4, os.cpu_count() or 1)
