from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.errors import StoreCorrupt
from sculptor.operations import VersionId
from sculptor.state import State
from sculptor.store import LOCAL, Checkpoints, MemoryStore, SqliteStore, Store
from sculptor.store.checkpoints import LEAST, dump_state, load_state
from sculptor.store.records import StoredOperation

from .builders import Talk, random_line


def written(
    talk: Talk, seed: int, count: int, *, most_entries: int = 40, together: int = 1
) -> tuple[list[StoredOperation], list[State]]:
    """Return records as a writer makes them, ``together`` operations at a time."""
    line = list(islice(random_line(seed, most_entries=most_entries), count))
    checkpoints, records = Checkpoints(), list[StoredOperation]()
    for at in range(0, count, together):
        some = line[at : at + together]
        records += checkpoints.records(
            [made for made, _ in some],
            some[-1][1],
            tenant=LOCAL,
            session=talk.id,
            node=talk.head,
        )
    return records, [state for _, state in line]


@given(seed=st.integers(0, 2**32), count=st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_a_state_read_is_the_state_written(seed: int, count: int) -> None:
    states = [State(), *(state for _, state in islice(random_line(seed), count))]
    body = dump_state(states[-1])
    assert load_state(body) == states[-1]
    assert dump_state(load_state(body)) == body


@given(seed=st.integers(0, 2**32), together=st.integers(1, 9))
@settings(max_examples=6, deadline=None)
def test_loading_any_version_equals_replaying_it(
    seed: int, together: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    talk = Talk()
    opening = talk.opening("Hi")
    records, states = written(talk, seed, 150, most_entries=12, together=together)
    assert sum(record.checkpoint is not None for record in records) >= 2
    stores: list[Store] = [MemoryStore(), SqliteStore(tmp_path_factory.mktemp("any") / "store.db")]
    for store in stores:
        store.write([*opening, *records]).result()
        for record, state in zip(records, states, strict=True):
            assert store.state(LOCAL, talk.id, record.operation.version) == state
        assert store.verify() == []
        store.close()


def cost(store: SqliteStore, read: Callable[[], object]) -> int:
    """Return how many steps SQLite's machine takes for a read, in hundreds."""
    ticks = 0

    def tick() -> int:
        nonlocal ticks
        ticks += 1
        return 0

    with store._readers.lend() as connection:
        connection.set_progress_handler(tick, 100)
    read()
    with store._readers.lend() as connection:
        connection.set_progress_handler(None, 0)
    return ticks


def test_loading_costs_the_same_however_long_the_history(tmp_path: Path) -> None:
    talk = Talk()
    store = SqliteStore(tmp_path / "store.db")
    records, _ = written(talk, 3, 6_000, most_entries=30)
    store.write([*talk.opening("Hi"), *records]).result()
    versions = [record.operation.version for record in records]
    since = [store.since_checkpoint(LOCAL, talk.id, version) for version in versions[::7]]
    assert max(since) <= LEAST

    def loading(version: VersionId) -> int:
        return cost(store, lambda: store.state(LOCAL, talk.id, version))

    early, late = (max(map(loading, some)) for some in (versions[100:300:3], versions[-200::3]))
    assert late <= early * 1.2 + 2
    tip = versions[-1]
    near, far = (
        cost(store, lambda depth=depth: store.operation_at(LOCAL, talk.id, tip, depth))
        for depth in (5_999, 1)
    )
    assert far <= near + 1
    store.close()


def test_checkpoints_cost_the_same_per_operation_as_a_state_grows() -> None:
    talk = Talk()
    records, states = written(talk, 4, 2_000, most_entries=10**9)
    entries = len(states[-1].entries)
    assert entries > 1_000
    checkpoints = [
        len(state.entries)
        for record, state in zip(records, states, strict=True)
        if record.checkpoint is not None
    ]
    changes = sum(len(record.operation.changes) for record in records)
    assert sum(checkpoints) <= changes
    gaps = [number for number, record in enumerate(records) if record.checkpoint is not None]
    assert len(records) - gaps[-1] <= entries
    assert len(checkpoints) >= 5


def test_a_line_taken_up_again_still_gets_its_checkpoints() -> None:
    talk = Talk()
    line = list(islice(random_line(5, most_entries=10), 400))
    since, longest = 0, 0
    for made, state in line:
        fresh = Checkpoints(since)
        (record,) = fresh.records([made], state, tenant=LOCAL, session=talk.id, node=talk.head)
        since = 0 if record.checkpoint is not None else since + 1
        longest = max(longest, since)
    assert 0 < longest <= LEAST


def test_no_operations_make_no_records() -> None:
    talk = Talk()
    made = Checkpoints().records([], State(), tenant=LOCAL, session=talk.id, node=talk.head)
    assert made == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"f1": {}}', b'{"f1": {"place": [1, 2]}}'])
def test_bytes_that_are_no_state_are_refused(body: bytes) -> None:
    with pytest.raises(StoreCorrupt, match="checkpoint"):
        load_state(body)
