"""What each record does to the tables, inside the transaction of its write list.

What is there already stays as it is; only a lane's head, a node's version and times of last use
move, and a node's lists of instructions and respelled messages grow, also where two requests bring
the same node at once. Records of one kind that follow each other go in one call.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import orjson

from sculptor.errors import StaleHead
from sculptor.messages import MessageHash, digest, wire_hash
from sculptor.store.codec import (
    dump_operation,
    pack,
    pack_placed,
)
from sculptor.store.ranked import RankedIndex
from sculptor.store.records import (
    CallId,
    DeleteSession,
    Lane,
    MoveHead,
    Node,
    Record,
    Respelled,
    Session,
    StoredHit,
    StoredMessage,
    StoredOperation,
    StoredStep,
    TokenCount,
    UsageRow,
)

_MESSAGE = "INSERT OR IGNORE INTO message VALUES (?, ?, ?)"
_USE = "INSERT OR IGNORE INTO message_use VALUES (?, ?, ?)"
_SESSION = """INSERT INTO session VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET used = max(used, excluded.used)"""
_NODE = """INSERT INTO node VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET version = excluded.version, depth = excluded.depth,
    instructions = iif(instr(instructions, excluded.instructions), instructions,
        CAST(instructions || excluded.instructions AS BLOB)),
    respelled = iif(instr(respelled, excluded.respelled), respelled,
        CAST(respelled || excluded.respelled AS BLOB))"""
_RESPELLED = """UPDATE node SET instructions = CAST(instructions || ?4 AS BLOB),
    respelled = CAST(respelled || ?5 AS BLOB) WHERE tenant = ?1 AND session = ?2 AND id = ?3"""
_LANE = """INSERT INTO lane VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET admitted = admitted OR excluded.admitted,
    dropped = excluded.dropped, used = max(used, excluded.used)"""
_NEW_HEAD = "INSERT INTO lane VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_HEAD = """UPDATE lane SET node = ?4, version = ?5, depth = ?6, admitted = admitted OR ?7,
    agent = ?8, dropped = ?9, used = max(used, ?10)
    WHERE tenant = ?1 AND session = ?2 AND id = ?3 AND node IN (?11, ?4) AND version = ?12"""
_VERSION = "INSERT OR IGNORE INTO version VALUES (?, ?, ?, ?, ?, ?, ?)"
_OPERATION = "INSERT OR IGNORE INTO operation VALUES (?, ?, ?, ?, ?)"
_STEP = "INSERT OR IGNORE INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_CALL_ID = "INSERT OR IGNORE INTO call_id VALUES (?, ?, ?, ?, ?)"
_HIT = "INSERT OR IGNORE INTO search_hit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TOKEN_COUNT = "INSERT OR IGNORE INTO token_count VALUES (?, ?, ?, ?)"
_USAGE = """INSERT INTO usage VALUES (?1, ?2,
    (SELECT coalesce(max(sequence), 0) + 1 FROM usage WHERE tenant = ?1 AND session = ?2),
    ?3, ?4, ?5, ?6, ?7, ?8, ?9)"""
_ONLY_USED_HERE = """SELECT message FROM message_use AS own WHERE tenant = ?1 AND session = ?2
    AND NOT EXISTS (SELECT 1 FROM message_use AS other INDEXED BY message_use_by_message
    WHERE other.tenant = ?1 AND other.message = own.message AND other.session <> ?2)"""
_OF_SESSION = (
    "message_use",
    "node",
    "lane",
    "version",
    "operation",
    "step",
    "call_id",
    "search_hit",
    "usage",
)

Row = tuple[Any, ...]
"""The columns of one row, as SQLite takes them."""

Handler = Callable[[sqlite3.Cursor, Iterable[Any]], None]


def apply(cursor: sqlite3.Cursor, records: Sequence[Record]) -> None:
    """Write records in order, inside a transaction that the caller opened.

    Raises:
        StaleHead: a MoveHead came too late; the caller takes back what was written.
    """
    for kind, group in groupby(records, key=type):
        _HANDLERS[kind](cursor, group)


def _put(statement: str, row: Callable[[Any], Row]) -> Handler:
    def handler(cursor: sqlite3.Cursor, records: Iterable[Any]) -> None:
        cursor.executemany(statement, [row(record) for record in records])

    return handler


def _message(m: StoredMessage) -> Row:
    return m.tenant, m.hash, m.wire


def _session(s: Session) -> Row:
    return s.tenant, s.id, s.seed, s.created, s.used


def _nodes(cursor: sqlite3.Cursor, records: Iterable[Node]) -> None:
    nodes = list(records)
    cursor.executemany(_NODE, [_node(node) for node in nodes])
    uses = [(n.tenant, n.session, n.message) for n in nodes]
    uses += (use for node in nodes for use in _placed_uses(node))
    cursor.executemany(_USE, uses)


def _respelled(cursor: sqlite3.Cursor, records: Iterable[Respelled]) -> None:
    for r in records:
        lists = pack_placed(r.instructions), pack_placed(r.respelled)
        cursor.execute(_RESPELLED, (r.tenant, r.session, r.node, *lists))
        cursor.executemany(_USE, _placed_uses(r))


def _placed_uses(record: Node | Respelled) -> Iterator[Row]:
    for _, name in (*record.instructions, *record.respelled):
        yield record.tenant, record.session, name


def _node(n: Node) -> Row:
    return (
        n.tenant,
        n.session,
        n.id,
        n.parent,
        n.chain,
        n.message,
        n.index,
        n.covers,
        n.answer,
        pack_placed(n.instructions),
        n.version,
        n.depth,
        n.time,
        pack_placed(n.respelled),
    )


def _lane(lane: Lane) -> Row:
    return (
        lane.tenant,
        lane.session,
        lane.id,
        lane.node,
        lane.version,
        lane.depth,
        lane.admitted,
        lane.agent,
        orjson.dumps(lane.dropped),
        lane.used,
    )


def _heads(cursor: sqlite3.Cursor, records: Iterable[MoveHead]) -> None:
    for move in records:
        if move.expected is None:
            cursor.execute(_NEW_HEAD, _lane(move.lane))
        else:
            cursor.execute(_HEAD, (*_lane(move.lane), *move.expected))
        if cursor.rowcount != 1:
            raise StaleHead(move.lane.id)


def _operations(cursor: sqlite3.Cursor, records: Iterable[StoredOperation]) -> None:
    for stored in records:
        made = stored.operation
        at = (stored.tenant, stored.session, made.version)
        checkpointed = stored.checkpoint is not None
        cursor.execute(_VERSION, (*at, made.parent, made.depth, stored.node, checkpointed))
        cursor.execute(_OPERATION, (*at, dump_operation(made), stored.checkpoint))


def _steps(cursor: sqlite3.Cursor, records: Iterable[StoredStep]) -> None:
    for step in records:
        cursor.execute(_STEP, _step(step))
        uses = [(step.tenant, step.session, wire_hash(wire)) for wire in step.messages]
        cursor.executemany(_USE, uses)


def _step(s: StoredStep) -> Row:
    body = pack(s.messages)
    return s.tenant, s.session, s.node, s.sequence, s.kind, digest(body), body, s.time


def _call_id(c: CallId) -> Row:
    return c.tenant, c.id, c.session, c.node, c.minted


def _hit(stored: StoredHit) -> Row:
    hit = stored.hit
    address = (hit.place.key, hit.place.occurrence, hit.part, hit.start, hit.end)
    return stored.tenant, stored.session, hit.id, *address, hit.query


def _token_count(count: TokenCount) -> Row:
    return count.tenant, count.hash, count.encoding, count.tokens


def _usage(u: UsageRow) -> Row:
    spent = (u.prompt_tokens, u.cached_tokens, u.completion_tokens)
    return u.tenant, u.session, u.node, u.time, u.model, u.purpose, *spent


def _deletions(cursor: sqlite3.Cursor, records: Iterable[DeleteSession]) -> None:
    for gone in records:
        at = (gone.tenant, gone.id)
        orphans = [MessageHash(name) for (name,) in cursor.execute(_ONLY_USED_HERE, at)]
        RankedIndex(cursor.connection).remove(gone.tenant, orphans)
        names = [(gone.tenant, name) for name in orphans]
        cursor.executemany("DELETE FROM message WHERE tenant = ? AND hash = ?", names)
        cursor.executemany("DELETE FROM token_count WHERE tenant = ? AND hash = ?", names)
        for table in _OF_SESSION:
            cursor.execute(f"DELETE FROM {table} WHERE tenant = ? AND session = ?", at)
        cursor.execute("DELETE FROM session WHERE tenant = ? AND id = ?", at)


_HANDLERS: dict[type[Any], Handler] = {
    StoredMessage: _put(_MESSAGE, _message),
    Session: _put(_SESSION, _session),
    Node: _nodes,
    Respelled: _respelled,
    Lane: _put(_LANE, _lane),
    MoveHead: _heads,
    StoredOperation: _operations,
    StoredStep: _steps,
    CallId: _put(_CALL_ID, _call_id),
    StoredHit: _put(_HIT, _hit),
    TokenCount: _put(_TOKEN_COUNT, _token_count),
    UsageRow: _put(_USAGE, _usage),
    DeleteSession: _deletions,
}
