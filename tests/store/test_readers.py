import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest

from sculptor.errors import StoreCorrupt, StoreError
from sculptor.store import LOCAL, SqliteStore
from sculptor.store.readers import Readers
from sculptor.store.records import SessionId

from .builders import Talk


def connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", check_same_thread=False)


def test_one_reader_at_a_time_always_has_the_same_connection() -> None:
    readers = Readers(connect)
    lent = []
    for _ in range(3):
        with readers.lend() as connection:
            lent.append(connection)
    assert lent[0] is lent[1] is lent[2]
    readers.close()


def test_readers_at_one_time_have_connections_of_their_own() -> None:
    readers = Readers(connect)
    with readers.lend() as one, readers.lend() as two:
        assert one is not two
    readers.close()
    for connection in (one, two):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_connection_that_is_lent_is_closed_when_it_comes_back() -> None:
    readers = Readers(connect)
    with readers.lend() as connection:
        readers.close()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
    with pytest.raises(StoreError, match="closed"), readers.lend():
        pass


def test_what_sqlite_says_becomes_an_error_of_the_store(tmp_path: Path) -> None:
    readers = Readers(connect)
    with pytest.raises(StoreError, match="no such table"), readers.lend() as connection:
        connection.execute("SELECT * FROM absent")
    readers.close()
    path = tmp_path / "text"
    path.write_text("no database " * 200)
    readers = Readers(partial(sqlite3.connect, path))
    with pytest.raises(StoreCorrupt, match="not a database"), readers.lend() as connection:
        connection.execute("SELECT * FROM absent")
    readers.close()


def test_a_slow_read_holds_up_no_other(sqlite: SqliteStore) -> None:
    sqlite.write(Talk().opening("Hi")).result()
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> int:
        begun.set()
        go_on.wait(20)
        return 0

    def read_slowly() -> None:
        with sqlite._readers.lend() as connection:
            connection.create_function("wait", 0, wait)
            connection.execute("SELECT wait()").fetchone()

    slow = threading.Thread(target=read_slowly)
    slow.start()
    assert begun.wait(20)
    assert sqlite.session(LOCAL, SessionId("talk")) is not None
    sqlite.write(Talk("more").opening("Hi")).result(20)
    go_on.set()
    slow.join()
