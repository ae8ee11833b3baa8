"""Opening a store's file: whose it may be, how SQLite treats it, and what to say where it fails."""

import os
import sqlite3
from pathlib import Path
from typing import Literal

from sculptor.errors import StoreCorrupt, StoreError
from sculptor.store.migrations import PAGE_BYTES, migrate, refuse_foreign

Durability = Literal["process", "power"]
"""What a write whose future is done survives: the process's death, or a power cut too."""

_SYNCHRONOUS: dict[Durability, str] = {"process": "NORMAL", "power": "FULL"}
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY_S = 5.0
_LOG_PAGES = 4_096
"""So many pages the log grows by before they are moved to the file, which waits for the disk."""


def make_file(path: Path) -> None:
    """Make the folder and the file where they are not, for nobody but their owner."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))


def close_to_others(path: Path) -> None:
    """Take the rights of group and others from a file that is ours."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        path.chmod(mode & 0o700)


def connect_writer(path: Path, durability: Durability) -> sqlite3.Connection:
    """Return the connection that writes, with all tables there."""
    connection = _connected(path)
    try:
        refuse_foreign(connection)
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute("PRAGMA secure_delete = ON")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write."""
    connection = _connected(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def open_error(path: Path, error: Exception) -> StoreError:
    """Return why a file cannot be opened, in words that say what to do."""
    if isinstance(error, StoreError):
        return StoreError(f"{path} cannot be opened. {error}")
    if is_damage(error):
        return StoreCorrupt(
            f"{path} is no SQLite file, or is damaged ({error}); choose another with --store, "
            "or put back a copy"
        )
    return StoreError(f"{path} cannot be opened ({error}). {advice(error)}")


def write_error(error: Exception) -> StoreError:
    """Return a failure to write, in words that say what to do."""
    made = StoreError(f"The store cannot be written ({error}). {advice(error)}")
    made.__cause__ = error
    return made


def read_error(error: sqlite3.Error) -> StoreError:
    """Return a failure to read, in words."""
    if is_damage(error):
        return StoreCorrupt(str(error))
    return StoreError(f"The store cannot be read ({error}).")


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file's bytes are not what it wrote."""
    return getattr(error, "sqlite_errorcode", None) in _DAMAGED


def advice(error: Exception) -> str:
    """Return what to do about a failure of SQLite or of the file system."""
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return "Free space on its disk, or move it with --store."
    if "readonly" in text or "ermission" in text or "unable to open" in text:
        return "Give this user the right to write the file and its folder."
    if "locked" in text:
        return "Another program holds a transaction on it; let that end."
    return "Nothing of this write was kept."
