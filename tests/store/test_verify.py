"""Whatever was changed behind the store's back is found and told."""

import re
import sqlite3
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from sculptor.messages import make_message
from sculptor.store import LOCAL, SqliteStore, Store
from sculptor.store.records import LaneId, StoredStep, TokenCount

from .builders import Talk, random_line, stored
from .test_checkpoints import written


def fill(store: Store, talk: Talk) -> None:
    system = make_message("system", "be brief")
    loud = make_message("user", "Hi ")
    records, _ = written(talk, 1, 80, most_entries=10)
    assert any(record.checkpoint is not None for record in records)
    opening = [talk.opened(), stored(system), stored(loud), *talk.turns("Hi", "Hello")]
    placed = {"instructions": ((0, system.hash),), "respelled": ((0, loud.hash),)}
    said = talk.say("more", version=records[-1].operation.version, **placed)
    step = StoredStep(
        tenant=LOCAL,
        session=talk.id,
        node=talk.head,
        sequence=1,
        kind="inserted",
        messages=(b'{"role":"tool"}',),
    )
    lane = talk.lane(version=records[-1].operation.version, depth=80)
    count = TokenCount(tenant=LOCAL, hash=talk.messages[0].hash, encoding="e", tokens=3)
    hung = [talk.made(record.operation, record.checkpoint) for record in records]
    store.write([*opening, *said, *hung, step, lane, count]).result()


def test_a_sound_store_has_nothing_to_say(store: Store) -> None:
    fill(store, Talk())
    fill(store, Talk("second"))
    assert store.verify() == []


HARM = {
    "UPDATE message SET wire = CAST(replace(wire, 'Hello', 'Jello') AS BLOB)": "another hash",
    "UPDATE message SET wire = 'text'": "another hash",
    "UPDATE message SET wire = x'7b'": "cannot be read",
    "DELETE FROM message WHERE CAST(wire AS TEXT) LIKE '%Hello%'": "needs message .* missing",
    "DELETE FROM message WHERE CAST(wire AS TEXT) LIKE '%brief%'": "needs message .* missing",
    "UPDATE node SET id = 'text' WHERE position = 1": "cannot be read",
    "UPDATE node SET chain = x'00' WHERE position = 1": "another chain value",
    "UPDATE node SET parent = x'00' WHERE position = 1": "not named by its parent and message",
    "DELETE FROM node WHERE position = 1": "hangs on node .* missing",
    "UPDATE node SET version = 'gone'": "stands on version gone, which is missing",
    "DELETE FROM message WHERE CAST(wire AS TEXT) LIKE '%Hi %'": "needs message .* missing",
    "UPDATE node SET instructions = x'00'": "instructions cannot be read",
    "UPDATE node SET respelled = x'00'": "respelled messages .* cannot be read",
    "UPDATE lane SET version = 'gone'": "lane main is at version gone",
    "UPDATE lane SET node = x'00'": "lane main is at node 00",
    "UPDATE lane SET dropped = x'7b'": "lane main of session talk cannot be read",
    "UPDATE version SET parent = 'gone' WHERE depth = 9": "stands on version gone",
    "UPDATE version SET depth = 90 WHERE depth = 9": "not one before it",
    "UPDATE version SET node = x'00' WHERE depth = 9": "hangs on node 00",
    "UPDATE operation SET record = replace(record, 'folded', 'visible')": "not named by its",
    "UPDATE operation SET record = x'7b'": "cannot be replayed",
    "UPDATE operation SET record = x'7b7d'": "cannot be replayed",
    "DELETE FROM operation": "has no operation",
    "UPDATE operation SET checkpoint = CAST(replace(checkpoint, 'folded', 'visible') AS BLOB) "
    "WHERE checkpoint IS NOT NULL": "checkpoint that is not what its operations give",
    "UPDATE operation SET checkpoint = x'7b' WHERE checkpoint IS NOT NULL": "checkpoint cannot",
    "UPDATE step SET messages = x'00000001ff'": "another hash than its messages",
    "UPDATE step SET node = x'00'": "hangs on a node that is missing",
}


@pytest.mark.parametrize("harm", HARM)
def test_what_was_changed_is_found(sqlite: SqliteStore, harm: str) -> None:
    fill(sqlite, Talk())
    sqlite._writer.submit(lambda cursor: cursor.execute(harm) and None).result()
    faults = sqlite.verify()
    assert any(re.search(HARM[harm], fault) for fault in faults), faults


def test_faults_name_the_session_they_are_in(sqlite: SqliteStore) -> None:
    fill(sqlite, Talk("sound"))
    fill(sqlite, Talk("harmed"))
    harm = "UPDATE step SET messages = x'' WHERE session = 'harmed'"
    sqlite._writer.submit(lambda cursor: cursor.execute(harm) and None).result()
    (fault,) = sqlite.verify()
    assert fault.startswith("session harmed of local: step 1 of node")


def flip(path: Path, choose: Callable[[bytes], int]) -> None:
    body = bytearray(path.read_bytes())
    body[choose(bytes(body))] ^= 0x01
    path.write_bytes(body)


@pytest.mark.parametrize("within", [b"Hello", b'"status":"folded"', b'{"role":"tool"}'])
def test_one_flipped_bit_in_the_file_is_found(tmp_path: Path, within: bytes) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    fill(store, Talk())
    store.close()
    flip(path, lambda body: body.index(within) + len(within) // 2)
    store = SqliteStore(path)
    assert store.verify() != []
    store.close()


def test_a_broken_page_is_told_and_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    fill(store, Talk())
    store.close()
    with sqlite3.connect(path) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'node'"
        (page,) = connection.execute(query).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    body = bytearray(path.read_bytes())
    body[(page - 1) * size : page * size] = b"\xee" * size
    path.write_bytes(body)
    store = SqliteStore(path)
    assert store.verify() != []
    store.close()


def test_a_loop_in_the_log_ends(sqlite: SqliteStore) -> None:
    talk = Talk()
    sqlite.write(talk.opening("Hi", "Hello", "more")).result()
    made = [each for each, _ in islice(random_line(2), 3)]
    sqlite.write([talk.made(each) for each in made]).result()
    first, last = made[0].version, made[-1].version
    loops = [
        f"UPDATE version SET parent = '{last}' WHERE id = '{first}'",
        f"UPDATE node SET parent = x'{talk.head.hex()}' WHERE position = 0",
    ]
    for loop in loops:
        sqlite._writer.submit(lambda cursor, loop=loop: cursor.execute(loop) and None).result()
    assert len(sqlite.verify()) >= 2
    for read in (
        lambda: sqlite.state(LOCAL, talk.id, last),
        lambda: sqlite.path(LOCAL, talk.id, talk.head),
    ):
        with pytest.raises(Exception, match="missing"):
            read()
    assert sqlite.lane(LOCAL, talk.id, LaneId("main")) is not None
