"""The tables of a SQLite store, as numbered steps.

Each step runs once, in order, in one transaction with the note that it ran; a released step is
never edited. Every primary key begins with the tenant. Rows that are small and read by key lie in
their key's tree (``WITHOUT ROWID``); rows that hold bodies, or whose order of arrival matters, have
a tree of their own.

``message_use`` counts references: one row for each session that brought a message, be it as a node,
among a node's instructions or respelled messages, or in a step. Deleting a session removes the
bytes whose last row goes.

A commit costs what it writes of pages, and a plain request touches a page in each tree it enters.
So there are no more trees than the questions need, and ``PAGE_BYTES`` is half of SQLite's own:
measured with requests of 1 KB, that takes a third off a commit, while a message of 400 KB costs a
quarter more.
"""

import sqlite3
import time
from collections.abc import Callable

from sculptor.errors import StoreError
from sculptor.store import ranked

APPLICATION_ID = 0x53434C50
"""Marks the file as ours: the letters SCLP."""

PAGE_BYTES = 2_048
"""How large the pages of a new file are."""

_INITIAL = (
    """CREATE TABLE message (
        tenant TEXT NOT NULL, hash BLOB NOT NULL, wire BLOB NOT NULL,
        PRIMARY KEY (tenant, hash))""",
    """CREATE TABLE message_use (
        tenant TEXT NOT NULL, session TEXT NOT NULL, message BLOB NOT NULL,
        PRIMARY KEY (tenant, session, message)) WITHOUT ROWID""",
    "CREATE INDEX message_use_by_message ON message_use (tenant, message)",
    """CREATE TABLE session (
        tenant TEXT NOT NULL, id TEXT NOT NULL, seed BLOB NOT NULL,
        created REAL NOT NULL, used REAL NOT NULL,
        PRIMARY KEY (tenant, id)) WITHOUT ROWID""",
    """CREATE TABLE node (
        tenant TEXT NOT NULL, session TEXT NOT NULL, id BLOB NOT NULL, parent BLOB NOT NULL,
        chain BLOB NOT NULL, message BLOB NOT NULL, position INTEGER NOT NULL,
        covers INTEGER NOT NULL, answer INTEGER NOT NULL, instructions BLOB NOT NULL,
        version TEXT NOT NULL, depth INTEGER NOT NULL, time REAL NOT NULL,
        PRIMARY KEY (tenant, session, id)) WITHOUT ROWID""",
    "CREATE INDEX node_by_parent ON node (tenant, session, parent)",
    "CREATE INDEX node_by_chain ON node (tenant, chain, covers, time)",
    "CREATE INDEX node_by_session_chain ON node (tenant, session, chain)",
    """CREATE TABLE lane (
        tenant TEXT NOT NULL, session TEXT NOT NULL, id TEXT NOT NULL, node BLOB NOT NULL,
        version TEXT NOT NULL, depth INTEGER NOT NULL, admitted INTEGER NOT NULL,
        agent TEXT NOT NULL, dropped BLOB NOT NULL, used REAL NOT NULL,
        PRIMARY KEY (tenant, session, id)) WITHOUT ROWID""",
    """CREATE TABLE version (
        tenant TEXT NOT NULL, session TEXT NOT NULL, id TEXT NOT NULL, parent TEXT NOT NULL,
        depth INTEGER NOT NULL, node BLOB NOT NULL, checkpointed INTEGER NOT NULL,
        PRIMARY KEY (tenant, session, id)) WITHOUT ROWID""",
    "CREATE INDEX version_by_depth ON version (tenant, session, depth)",
    """CREATE TABLE operation (
        tenant TEXT NOT NULL, session TEXT NOT NULL, version TEXT NOT NULL,
        record BLOB NOT NULL, checkpoint BLOB,
        PRIMARY KEY (tenant, session, version))""",
    """CREATE TABLE step (
        tenant TEXT NOT NULL, session TEXT NOT NULL, node BLOB NOT NULL,
        sequence INTEGER NOT NULL, kind TEXT NOT NULL, digest BLOB NOT NULL,
        messages BLOB NOT NULL, time REAL NOT NULL,
        PRIMARY KEY (tenant, session, node, sequence))""",
    """CREATE TABLE call_id (
        tenant TEXT NOT NULL, id TEXT NOT NULL, session TEXT NOT NULL, node BLOB NOT NULL,
        minted INTEGER NOT NULL,
        PRIMARY KEY (tenant, id)) WITHOUT ROWID""",
    "CREATE INDEX call_id_by_session ON call_id (tenant, session)",
    """CREATE TABLE search_hit (
        tenant TEXT NOT NULL, session TEXT NOT NULL, id TEXT NOT NULL, message_key BLOB NOT NULL,
        occurrence INTEGER NOT NULL, part INTEGER NOT NULL, start INTEGER NOT NULL,
        stop INTEGER NOT NULL, query TEXT NOT NULL,
        PRIMARY KEY (tenant, session, id))""",
    """CREATE TABLE token_count (
        tenant TEXT NOT NULL, hash BLOB NOT NULL, encoding TEXT NOT NULL, tokens INTEGER NOT NULL,
        PRIMARY KEY (tenant, hash, encoding)) WITHOUT ROWID""",
    """CREATE TABLE usage (
        tenant TEXT NOT NULL, session TEXT NOT NULL, sequence INTEGER NOT NULL,
        node BLOB NOT NULL, time REAL NOT NULL, model TEXT NOT NULL, purpose TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        PRIMARY KEY (tenant, session, sequence)) WITHOUT ROWID""",
)


def m001_initial(connection: sqlite3.Connection) -> None:
    """Make the tables of the first release."""
    for statement in _INITIAL:
        connection.execute(statement)


def m002_ranked(connection: sqlite3.Connection) -> None:
    """Make the tables of ranked search."""
    ranked.RankedIndex(connection).create()


def m003_respelled(connection: sqlite3.Connection) -> None:
    """Make room for what requests sent in other bytes than before."""
    connection.execute("ALTER TABLE node ADD COLUMN respelled BLOB NOT NULL DEFAULT x''")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_initial,
    m002_ranked,
    m003_respelled,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to the newest tables; one that has them already is not written.

    Raises:
        StoreError: a newer Sculptor made the file.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = _done(connection)
        for number, step in enumerate(MIGRATIONS[done:], start=done + 1):
            step(connection)
            connection.execute(
                "INSERT INTO migration VALUES (?, ?, ?)", (number, step.__name__, time.time())
            )
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def refuse_foreign(connection: sqlite3.Connection) -> None:
    """Raise StoreError where the file holds another program's tables; nothing is written."""
    if not _is_ours(connection) and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise StoreError("It is a SQLite file of another program; choose another path.")


def _is_ours(connection: sqlite3.Connection) -> bool:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    return bool(owner == APPLICATION_ID)


def _done(connection: sqlite3.Connection) -> int:
    """Return how many migrations the file has seen, preparing an empty one."""
    if not _is_ours(connection):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(
            "CREATE TABLE migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
            "time REAL NOT NULL)"
        )
    (done,) = connection.execute("SELECT count(*) FROM migration").fetchone()
    if done > len(MIGRATIONS):
        raise StoreError(
            f"A newer Sculptor wrote it (migration {done}; this one knows {len(MIGRATIONS)}). "
            "Install that version, or choose another path."
        )
    return int(done)
