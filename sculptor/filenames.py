"""One file under several names: which is its own, and what tells it from every other file."""

import hashlib
from pathlib import Path


def own_path(path: Path) -> Path:
    """Return a file's own name where ``path`` is a link to it: what lies beside it goes by that."""
    return path.resolve() if path.is_symlink() else path


def file_mark(path: Path | None) -> str | None:
    """Return what tells a file from any other of this machine, None where there is none.

    It says nothing of where the file lies, so a server may tell it to anybody.
    """
    if path is None or not path.exists():
        return None
    status = path.stat()
    return hashlib.sha256(f"{status.st_dev}:{status.st_ino}".encode()).hexdigest()[:16]
