"""An operation costs the same after 10 others as after 10,000: work is counted, not timed."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from sculptor.context import Context
from sculptor.messages import make_message
from sculptor.operations import (
    Cut,
    Fold,
    Operation,
    Piece,
    Range,
    Restore,
    Undo,
    operation_id,
)
from sculptor.store import SqliteStore
from sculptor.store.checkpoints import Checkpoints
from sculptor.store.codec import dump_operation
from sculptor.store.records import NodeId, SessionId, StoredOperation, TenantId
from sculptor.tokens import TokenCounter

TENANT, SESSION, NODE = TenantId("local"), SessionId("a" * 32), NodeId(b"n" * 16)
WINDOW = 200
"""Operations counted together, so that each window holds its share of checkpoints."""


class History:
    """A context whose one fragment is folded and restored in turn, and what that left behind."""

    def __init__(self) -> None:
        self.context = Context(seed=b"cost", counter=TokenCounter())
        text = "\n".join(f"line {number} of the record" for number in range(40))
        self.context.extend([make_message("user", text), make_message("user", "And now?")])
        where = Range(self.context.places[0], 0, 0, len(text))
        piece = Piece(0, len(text), self.context.original_tokens(0))
        self.context.perform(Cut(where, (piece,)), author="model")
        self.fragment = next(self.context.fragments()).id
        self.checkpoints = Checkpoints()
        self.records: list[StoredOperation] = []

    def go_on(self, operations: int) -> None:
        """Do so many operations more."""
        for _ in range(operations):
            wanted = Fold if self.context.depth % 2 else Restore
            self.context.perform(wanted((self.fragment,)), author="model")
            made = [item for item in self.context.unsaved if isinstance(item, Operation)]
            self.context.unsaved = []
            self.records += self.checkpoints.records(
                made, self.context.state, tenant=TENANT, session=SESSION, node=NODE
            )


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions are called, Python's and built-in, while ``work`` is done."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.fixture(scope="module")
def late() -> History:
    history = History()
    history.go_on(10_000)
    return history


def test_an_operation_does_the_same_work_after_ten_thousand(late: History) -> None:
    early = History()
    early.go_on(10)
    first = calls_of(lambda: early.go_on(WINDOW))
    assert calls_of(lambda: late.go_on(WINDOW)) <= first * 1.05


def test_an_operation_writes_the_same_after_ten_thousand(late: History) -> None:
    early = History()
    early.go_on(10)
    start = len(late.records)
    early.go_on(WINDOW)
    late.go_on(WINDOW)
    assert written(late.records[start:]) <= written(early.records[10 : 10 + WINDOW]) * 1.1


def written(records: list[StoredOperation]) -> int:
    return sum(len(dump_operation(r.operation)) + len(r.checkpoint or b"") for r in records)


def test_undo_does_the_same_work_after_ten_thousand(late: History) -> None:
    early = History()
    early.go_on(10)
    assert calls_of(lambda: undo_last(late)) <= calls_of(lambda: undo_last(early)) * 1.05


def undo_last(history: History) -> None:
    context = history.context
    context.perform(Undo(operation_id(context.depth)), author="model")


def test_loading_a_state_reads_no_more_after_a_long_history(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite3")
    try:
        history = History()
        history.go_on(100)
        store.write(history.records).result()
        version = history.context.version
        early = calls_of(lambda: store.state(TENANT, SESSION, version))
        saved = len(history.records)
        # As many changes since the last checkpoint as before, but a history 100 times as long.
        history.go_on(64 * 156)
        store.write(history.records[saved:]).result()
        version = history.context.version
        assert calls_of(lambda: store.state(TENANT, SESSION, version)) <= early * 1.05
        assert store.state(TENANT, SESSION, version).entries == history.context.state.entries
    finally:
        store.close()
