import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sculptor.errors import StaleHead, StoreCorrupt, StoreError, StoreLocked
from sculptor.operations import VersionId
from sculptor.store import LOCAL, SqliteStore
from sculptor.store.migrations import MIGRATIONS
from sculptor.store.records import (
    ROOT,
    DeleteSession,
    Head,
    LaneId,
    MoveHead,
    Node,
    SessionId,
)

from .builders import Talk

HOLDS_THE_FILE = """
import sys
from pathlib import Path
from sculptor.store import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
store.close()
"""

WRITES_UNTIL_THE_DISK_IS_FULL = """
import resource, signal, sys
from pathlib import Path
from sculptor.errors import StoreError
from sculptor.messages import make_message
from sculptor.store import LOCAL, SqliteStore
from sculptor.store.records import StoredMessage
store = SqliteStore(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
written = 0
def write(size):
    message = make_message("user", f"{written} " + "x" * size)
    store.write([StoredMessage(tenant=LOCAL, hash=message.hash, wire=message.wire)]).result(20)
while True:
    try:
        write(5_000)
    except StoreError as error:
        print(written, error, flush=True)
        break
    written += 1
small = make_message("user", "small")
print(len(store.wires(LOCAL, [small.hash])), flush=True)
store.close()
"""

OPENS_WITHOUT_RIGHTS = """
import os, sys
from pathlib import Path
from sculptor.errors import StoreError
from sculptor.store import SqliteStore
import sculptor.store.sqlite
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    SqliteStore(Path(sys.argv[1]))
except StoreError as error:
    print(error, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_what_was_written_is_there_after_opening_anew(path: Path) -> None:
    talk = Talk()
    store = SqliteStore(path)
    store.write(talk.opening("Hi", "Hello"))
    store.close()
    again = SqliteStore(path)
    assert [node.id for node in again.path(LOCAL, talk.id, talk.head)][-1] == talk.head
    assert again.verify() == []
    again.close()


def test_only_the_owner_can_read_the_files(path: Path) -> None:
    previous = os.umask(0)
    store = SqliteStore(path)
    store.write(Talk().opening("Hi")).result()
    os.umask(previous)
    assert mode(path.parent) == 0o700
    names = {file.name: mode(file) for file in path.parent.iterdir()}
    expected = ["store.db", "store.db-shm", "store.db-wal", "store.db.lock"]
    assert names == dict.fromkeys(expected, 0o600)
    store.close()


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    SqliteStore(path).close()
    path.chmod(0o644)
    SqliteStore(path).close()
    assert mode(path) == 0o600


def test_a_folder_that_was_there_keeps_its_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    SqliteStore(tmp_path / "store.db").close()
    assert mode(tmp_path) == 0o755


def test_a_link_is_another_name_of_the_same_store(tmp_path: Path) -> None:
    file, link = tmp_path / "store.db", tmp_path / "link.db"
    link.symlink_to(file)
    store = SqliteStore(file)
    try:
        with pytest.raises(StoreLocked):
            SqliteStore(link)
    finally:
        store.close()
    SqliteStore(link).close()
    assert sorted(path.name for path in tmp_path.iterdir() if "link" in path.name) == ["link.db"]


def test_a_file_with_two_names_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file, second = tmp_path / "store.db", tmp_path / "second.db"
    SqliteStore(file).close()
    second.hardlink_to(file)
    before = file.read_bytes()
    for name in (file, second):
        with pytest.raises(StoreError, match="hard link"):
            SqliteStore(name)
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("*-wal"))
    second.unlink()
    SqliteStore(file).close()


def test_a_second_process_is_refused_until_the_first_is_gone(path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_FILE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreLocked, match=r"store\.db.*--store"):
        SqliteStore(path)
    holder.kill()
    holder.wait()
    SqliteStore(path).close()
    holder.stdin.close()
    holder.stdout.close()


def test_the_same_process_cannot_open_a_file_twice(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreLocked):
        SqliteStore(path)
    store.close()
    SqliteStore(path).close()


def test_durability_decides_when_a_commit_waits_for_the_disk(path: Path) -> None:
    found = []
    for durability in ("process", "power"):
        store = SqliteStore(path, durability=durability)  # type: ignore[arg-type]
        seen: list[int] = []
        store._writer.submit(
            lambda cursor, seen=seen: seen.extend(cursor.execute("PRAGMA synchronous").fetchone())
        ).result()
        found += seen
        store.close()
    assert found == [1, 2]


def test_migrations_run_once_and_are_recorded(path: Path) -> None:
    for _ in range(2):
        SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT number, name FROM migration").fetchall()
        keys = {
            table: [c[1] for c in connection.execute(f"PRAGMA table_info({table})") if c[5] == 1]
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%PRIMARY KEY%'"
                " AND name NOT LIKE 'ranked_terms_%'"
            )
        }
    connection.close()
    assert rows == [(n, step.__name__) for n, step in enumerate(MIGRATIONS, start=1)]
    assert [name for _, name in rows] == sorted(name for _, name in rows)
    assert keys.pop("migration") == ["number"]
    assert set(map(tuple, keys.values())) == {("tenant",)}
    assert len(keys) >= 12


def test_a_file_of_the_first_release_is_read_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Talk()
    (message, node, *_) = talk.say("Hi")
    assert isinstance(node, Node)
    monkeypatch.setattr("sculptor.store.migrations.MIGRATIONS", MIGRATIONS[:2])
    SqliteStore(path).close()
    monkeypatch.undo()
    row = (LOCAL, talk.id, node.id, b"", node.chain, node.message, 0, 0, 0, b"", node.version, 0, 1)
    with sqlite3.connect(path) as connection:
        connection.execute(f"INSERT INTO node VALUES ({', '.join('?' * 13)})", row)
    connection.close()
    store = SqliteStore(path)
    store.write([talk.opened(), message]).result()
    assert store.path(LOCAL, talk.id, node.id) == [node]
    assert store.verify() == []
    store.close()


def test_a_migration_that_fails_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def m003_broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (a)")
        connection.execute("CREATE TABLE half (a)")

    SqliteStore(path).close()
    name = "sculptor.store.migrations.MIGRATIONS"
    monkeypatch.setattr(name, (*MIGRATIONS, m003_broken))
    with pytest.raises(StoreError, match="half"):
        SqliteStore(path)
    monkeypatch.undo()
    SqliteStore(path).close()
    monkeypatch.setattr(name, MIGRATIONS[:-1])
    with pytest.raises(StoreError, match=r"newer Sculptor.*choose another path"):
        SqliteStore(path)


def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path) -> None:
    text, foreign = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("shopping list\n" * 100)
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE invoice (id)")
    connection.close()
    before = text.read_bytes(), foreign.read_bytes()
    rights = mode(text), mode(foreign)
    with pytest.raises(StoreCorrupt, match=r"notes\.txt is no SQLite file"):
        SqliteStore(text)
    with pytest.raises(StoreError, match="another program; choose another path"):
        SqliteStore(foreign)
    assert (text.read_bytes(), foreign.read_bytes()) == before
    assert (mode(text), mode(foreign)) == rights
    assert sorted(tmp_path.iterdir()) == [text, foreign]


def test_a_place_that_cannot_hold_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "store.db", tmp_path):
        with pytest.raises(StoreError, match="cannot be opened"):
            SqliteStore(place)


@pytest.mark.parametrize("rights", [0o444, 0o000])
def test_a_file_without_the_right_to_write_is_told(open_folder: Path, rights: int) -> None:
    path = open_folder / "store.db"
    SqliteStore(path).close()
    for file in open_folder.iterdir():
        if os.geteuid() == 0:
            os.chown(file, 65534, 65534)
        file.chmod(0o600)
    path.chmod(rights)
    open_folder.chmod(0o555)
    said = run(OPENS_WITHOUT_RIGHTS, path)
    open_folder.chmod(0o755)
    assert f"{path} cannot be opened" in said
    assert "right to write" in said


def test_a_full_disk_fails_the_write_and_says_so(path: Path) -> None:
    said = run(WRITES_UNTIL_THE_DISK_IS_FULL, path)
    first, second = said.splitlines()
    assert int(first.split()[0]) > 3
    assert "The store cannot be written" in first
    assert "Free space" in first
    assert second == "0"
    store = SqliteStore(path)
    assert store.verify() == []
    store.write(Talk().opening("Hi")).result()
    store.close()


def _hold(store: SqliteStore) -> threading.Event:
    """Keep the writer busy until the event is set: what is written meanwhile is one batch."""
    begun, gate = threading.Event(), threading.Event()

    def wait(cursor: sqlite3.Cursor) -> None:
        del cursor
        begun.set()
        gate.wait(10)

    store._writer.submit(wait)
    assert begun.wait(10)
    return gate


def test_a_list_too_large_for_the_disk_takes_none_beside_it_along(sqlite: SqliteStore) -> None:
    limit = "PRAGMA max_page_count = 200"
    sqlite._writer.submit(lambda cursor: cursor.execute(limit) and None).result()
    gate = _hold(sqlite)
    small = sqlite.write(Talk("small").opening("Hi"))
    large = sqlite.write(Talk("large").opening("x" * 1_000_000))
    behind = sqlite.write(Talk("behind").opening("Hi"))
    gate.set()
    small.result(10)
    with pytest.raises(StoreError, match=r"full.*Free space"):
        large.result(10)
    behind.result(10)
    sqlite.write(Talk("late").opening("Hi")).result(10)
    assert {total.session.id for total in sqlite.sessions(LOCAL)} == {"small", "behind", "late"}
    assert sqlite.verify() == []


def test_a_list_whose_transaction_sqlite_takes_back_fails_alone(sqlite: SqliteStore) -> None:
    before = Talk("before")
    sqlite.write(before.opening("Hi")).result()
    gate = _hold(sqlite)

    def lose(cursor: sqlite3.Cursor) -> None:
        cursor.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    writes = [
        sqlite.write(Talk("one").opening("Hi")),
        sqlite.write([MoveHead(lane=before.lane(), expected=None)]),
        sqlite._writer.submit(lose),
        sqlite.write(Talk("two").opening("Hi")),
    ]
    gate.set()
    one, stale, lost, two = [write.exception(10) for write in writes]
    assert one is None
    assert isinstance(stale, StaleHead)
    assert isinstance(lost, StoreError)
    assert "disk I/O error" in str(lost)
    assert two is None
    assert {total.session.id for total in sqlite.sessions(LOCAL)} == {"before", "one", "two"}
    assert sqlite.verify() == []


def test_a_transaction_of_another_program_is_waited_for_and_told(path: Path) -> None:
    store = SqliteStore(path)
    wait = "PRAGMA busy_timeout = 20"
    store._writer.submit(lambda cursor: cursor.execute(wait) and None).result()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="Another program holds a transaction"):
        store.write(Talk().opening("Hi")).result(10)
    other.execute("ROLLBACK")
    other.close()
    store.write(Talk().opening("Hi")).result(10)
    store.close()


def test_a_list_that_cannot_be_written_fails_alone(sqlite: SqliteStore) -> None:
    gate = threading.Event()
    sqlite._writer.submit(lambda cursor: gate.wait(10) and None)
    talks = [Talk(f"s{number}") for number in range(6)]
    writes = [sqlite.write(talk.opening("Hi")) for talk in talks[:3]]
    late = MoveHead(lane=talks[3].lane(), expected=Head(ROOT, VersionId("f" * 32)))
    writes.append(sqlite.write([*talks[3].opening("Hi")[:-1], late]))
    unfit = Talk("bad \ud800")
    writes.append(sqlite.write([talks[4].opened(), unfit.opened()]))
    writes.append(sqlite.write(talks[5].opening("Hi")))
    gate.set()
    errors = [write.exception(10) for write in writes]
    assert [type(error) for error in errors] == [type(None)] * 3 + [
        StaleHead,
        StoreError,
        type(None),
    ]
    assert "Nothing of this write was kept" in str(errors[4])
    held = [total.session.id for total in sqlite.sessions(LOCAL)]
    assert sorted(held) == ["s0", "s1", "s2", "s5"]


def test_lists_that_wait_are_committed_together(sqlite: SqliteStore) -> None:
    gate = threading.Event()
    held = sqlite._writer.submit(lambda cursor: gate.wait(10) and None)
    commits: list[str] = []
    sqlite._writer._connection.set_trace_callback(
        lambda statement: commits.append(statement) if statement == "COMMIT" else None
    )
    writes = [sqlite.write(Talk(f"s{number}").opening("Hi")) for number in range(300)]
    gate.set()
    for write in writes:
        write.result()
    sqlite._writer._connection.set_trace_callback(None)
    assert held.done()
    assert len(commits) <= 4
    assert len(sqlite.sessions(LOCAL, limit=1_000)) == 300


def test_a_caller_that_goes_away_does_not_stop_its_write(sqlite: SqliteStore) -> None:
    gate = threading.Event()
    sqlite._writer.submit(lambda cursor: gate.wait(10) and None)
    write = sqlite.write(Talk().opening("Hi"))
    assert not write.cancel()
    gate.set()
    write.result()
    assert sqlite.session(LOCAL, SessionId("talk")) is not None


def test_closing_finishes_what_was_asked_for(path: Path) -> None:
    store = SqliteStore(path)
    writes = [store.write(Talk(f"s{number}").opening("Hi")) for number in range(50)]
    store.close()
    assert all(write.done() and write.exception() is None for write in writes)
    with pytest.raises(StoreError, match="closed"):
        store.session(LOCAL, SessionId("s1"))
    with pytest.raises(StoreError, match="closed"):
        store.ranked(LOCAL, [], "x")


def test_threads_read_while_others_write(sqlite: SqliteStore) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(15):
                talk = Talk(f"s{number}-{turn}")
                sqlite.write(talk.opening("Hi", "Hello")).result()
                assert len(sqlite.path(LOCAL, talk.id, talk.head)) == 2
                assert sqlite.lane(LOCAL, talk.id, LaneId("main")) == talk.lane()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(sqlite.sessions(LOCAL, limit=1_000)) == 90


def test_deleted_bytes_are_not_left_in_the_file(path: Path) -> None:
    talk = Talk()
    store = SqliteStore(path)
    store.write(talk.opening("a very private sentence")).result()
    store.write([DeleteSession(tenant=LOCAL, id=talk.id)]).result()
    store.close()
    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"private" not in left
