"""Stopping in good order: the work hears the first signal, a second one ends it at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

INTERRUPTED = 130
"""The exit status of a command that was told to stop."""


@contextmanager
def told_to_stop(*signals: signal.Signals) -> Iterator[Callable[[], bool]]:
    """Yield what says whether one of ``signals`` came while the block runs."""
    told = Event()

    def hear(number: int, frame: object) -> None:
        del number, frame
        told.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, hear) for number in signals}
    try:
        yield told.is_set
    finally:
        restore()
