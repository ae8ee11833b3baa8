"""One server process per store file.

The lock is the operating system's, on a file beside the store, so that it is gone with its process
however that ends. The lock file itself stays: removing it would let two processes hold "the" lock.
"""

import fcntl
import os
from pathlib import Path

from sculptor.errors import StoreError, StoreLocked


class FileLock:
    """A lock held from construction to ``release``.

    Raises:
        StoreLocked: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._is_new = not self._path.exists()
        self._descriptor: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise StoreLocked(str(path)) from error

    def withdraw(self) -> None:
        """Remove a lock file made for what turned out to be no store: nobody can serve that."""
        self.release()
        if self._is_new:
            self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let another process have the file; again is no error."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def refuse_second_name(path: Path) -> None:
    """Refuse a file with two names: each would have a lock and a log of its own.

    Raises:
        StoreError: it has.
    """
    if path.stat().st_nlink > 1:
        raise StoreError(
            f"{path} has another name too (a hard link), by which it could be opened beside this "
            "server; remove one of the names, or copy the file."
        )
