"""A process that ends with another, however that ends."""

import os
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread


def live_with(pipe: Connection) -> None:
    """End this process once the other end of ``pipe``, which nothing is sent from, is gone.

    Whoever holds that end may be killed and never say so; the system closes it all the same.
    """

    def wait() -> None:
        with suppress(EOFError, OSError):
            pipe.recv_bytes()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
