"""Where conversations are kept: one protocol, a store in memory and one in a SQLite file.

The stores themselves are loaded at first use.
"""

from importlib import import_module
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
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
