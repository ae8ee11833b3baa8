"""Names for requests, answers, lanes and sessions: unlike any other.

Those of requests, answers and lanes are no secret and come from a generator seeded once by the
system. A session's name and seed must not be guessed, so they are bytes of the system's own
generator, fetched for many sessions at once: a call of it costs more than the rest of a request's
identity.
"""

import os
import random
from threading import Lock

_FETCHED_BYTES = 4_096

_draw = random.Random()


def new_name() -> str:
    """Return 32 hexadecimal digits."""
    return f"{_draw.getrandbits(128):032x}"


class SecretBytes:
    """Bytes of the system's generator, each handed out once, in any thread and after a fork."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._fetched, self._at, self._owner = b"", 0, 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes, at most 4,096."""
        with self._lock:
            if self._at + count > len(self._fetched) or self._owner != os.getpid():
                self._fetched, self._at, self._owner = os.urandom(_FETCHED_BYTES), 0, os.getpid()
            self._at += count
            return self._fetched[self._at - count : self._at]
