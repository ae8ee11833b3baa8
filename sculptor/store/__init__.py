"""Where conversations are kept: one protocol, a store in memory and one in a SQLite file.

``open_store`` picks one. The stores themselves are loaded at first use.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sculptor.store.checkpoints import Checkpoints, dump_state, load_state
from sculptor.store.protocol import RankedHit, Store, Totals
from sculptor.store.records import LOCAL, ROOT, node_id

if TYPE_CHECKING:
    from sculptor.store.memory import MemoryStore
    from sculptor.store.sqlite import SqliteStore

_HOMES = {"MemoryStore": "sculptor.store.memory", "SqliteStore": "sculptor.store.sqlite"}

__all__ = [
    "LOCAL",
    "ROOT",
    "Checkpoints",
    "MemoryStore",
    "RankedHit",
    "SqliteStore",
    "Store",
    "Totals",
    "dump_state",
    "load_state",
    "node_id",
    "open_store",
]


def open_store(path: Path | None) -> Store:
    """Return the store in the file at ``path``, or one in memory for None.

    Raises:
        StoreError: the file cannot be opened; the text says what to do.
    """
    if path is None:
        from sculptor.store.memory import MemoryStore

        return MemoryStore()
    from sculptor.store.sqlite import SqliteStore

    return SqliteStore(path)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
