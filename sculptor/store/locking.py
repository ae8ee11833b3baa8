"""One server process per store file.

The lock is the operating system's, on a file beside the store, so that it is gone with its process
however that ends. The lock file itself stays: removing it would let two processes hold "the" lock.
"""

import fcntl
import hashlib
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


def own_path(path: Path) -> Path:
    """Return a file's own name where ``path`` is a link to it: what lies beside it goes by that."""
    return path.resolve() if path.is_symlink() else path


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


def file_mark(path: Path | None) -> str | None:
    """Return what tells a store's file from any other of this machine, None where there is none.

    It says nothing of where the file lies, so a server may tell it to anybody.
    """
    if path is None or not path.exists():
        return None
    status = path.stat()
    return hashlib.sha256(f"{status.st_dev}:{status.st_ino}".encode()).hexdigest()[:16]
