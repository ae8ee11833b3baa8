"""The questions put to the tables, and the values their rows make.

A list of values goes into a query padded to one of a few widths, so that few statements are ever
prepared; the padding is NULL, which equals nothing. Where SQLite, knowing nothing of how many rows
a session has, would rather read them all, the index is named.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from sculptor.context import Hit
from sculptor.errors import StoreCorrupt
from sculptor.messages import Chain, MessageHash, MessageKey
from sculptor.operations import VersionId
from sculptor.state import Place
from sculptor.store.codec import unpack, unpack_placed
from sculptor.store.records import (
    CallId,
    Lane,
    LaneId,
    Node,
    NodeId,
    Session,
    SessionId,
    StoredStep,
    TenantId,
    UsageRow,
)

Row = tuple[Any, ...]

_WIDTHS = (1, 8, 64, 512)
_SESSION = "tenant, id, seed, created, used"
_NODE = (
    "n.tenant, n.session, n.id, n.parent, n.chain, n.message, n.position, n.covers, n.answer, "
    "n.instructions, n.version, n.depth, n.time, n.respelled"
)
_NEWEST = "ORDER BY n.covers DESC, n.time DESC, n.session DESC, n.id DESC"
_LANE = "tenant, session, id, node, version, depth, admitted, agent, dropped, used"
_IN_SESSION = "tenant = ? AND session = ?"

SESSION = f"SELECT {_SESSION} FROM session WHERE tenant = ? AND id = ?"
SESSIONS = f"""SELECT {_SESSION},
    (SELECT count(*) FROM node WHERE tenant = s.tenant AND session = s.id),
    (SELECT count(*) FROM version WHERE tenant = s.tenant AND session = s.id),
    (SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM usage
        WHERE tenant = s.tenant AND session = s.id)
    FROM (SELECT {_SESSION} FROM session WHERE tenant = ?
        ORDER BY used DESC, id DESC LIMIT ? OFFSET ?) AS s ORDER BY used DESC, id DESC"""
UNUSED = "SELECT id FROM session WHERE tenant = ? AND used < ? ORDER BY used, id"
LANE = f"SELECT {_LANE} FROM lane WHERE {_IN_SESSION} AND id = ?"
LANES = f"SELECT {_LANE} FROM lane WHERE {_IN_SESSION} ORDER BY used DESC, id DESC"
NODE = f"SELECT {_NODE} FROM node AS n WHERE {_IN_SESSION} AND id = ?"
CHILDREN = f"""SELECT {_NODE} FROM node AS n INDEXED BY node_by_parent
    WHERE {_IN_SESSION} AND parent = ? ORDER BY time, id"""
PATH = f"""WITH RECURSIVE walk(id, parent) AS (
    SELECT id, parent FROM node WHERE tenant = :tenant AND session = :session AND id = :node
    UNION SELECT above.id, above.parent FROM walk JOIN node AS above
    ON above.tenant = :tenant AND above.session = :session AND above.id = walk.parent)
    SELECT {_NODE} FROM walk CROSS JOIN node AS n
    ON n.tenant = :tenant AND n.session = :session AND n.id = walk.id"""
DEPTH = f"SELECT depth FROM version WHERE {_IN_SESSION} AND id = ?"
AT_DEPTH = f"SELECT id FROM version WHERE {_IN_SESSION} AND depth = ?"
OPERATION = f"SELECT record FROM operation WHERE {_IN_SESSION} AND version = ?"
CALL = "SELECT session, node, minted FROM call_id WHERE tenant = ? AND id = ?"
HITS = f"""SELECT id, message_key, occurrence, part, start, stop, query
    FROM search_hit WHERE {_IN_SESSION} ORDER BY rowid"""
USAGE = f"""SELECT node, time, model, purpose, prompt_tokens, cached_tokens, completion_tokens
    FROM usage WHERE {_IN_SESSION} ORDER BY sequence"""
NODES = f"SELECT {_NODE} FROM node AS n WHERE {_IN_SESSION}"
VERSIONS = """SELECT v.id, v.parent, v.depth, v.node, o.record, o.checkpoint
    FROM version AS v LEFT JOIN operation AS o
    ON o.tenant = v.tenant AND o.session = v.session AND o.version = v.id
    WHERE v.tenant = ? AND v.session = ?"""
STEP_BODIES = f"SELECT node, sequence, digest, messages FROM step WHERE {_IN_SESSION}"
PLACES = """SELECT tenant, id FROM session UNION SELECT tenant, session FROM node
    UNION SELECT tenant, session FROM lane UNION SELECT tenant, session FROM version
    UNION SELECT tenant, session FROM step ORDER BY 1, 2"""
MESSAGES_AFTER = """SELECT rowid, tenant, hash, wire FROM message WHERE rowid > ?
    ORDER BY rowid LIMIT 256"""


def _walk(body: str, *, joins: bool, stops: bool) -> str:
    """Return a query for the versions from one back to the first, or to a checkpoint.

    Its rows are (parent, whether there is a checkpoint, ``body``), newest first.
    """
    end = "WHERE NOT walk.checkpointed" if stops else ""
    join = (
        ""
        if not joins
        else """LEFT JOIN operation AS o
        ON o.tenant = :tenant AND o.session = :session AND o.version = walk.id"""
    )
    return f"""WITH RECURSIVE walk(id, parent, checkpointed) AS (
        SELECT id, parent, checkpointed FROM version
        WHERE tenant = :tenant AND session = :session AND id = :version
        UNION SELECT v.id, v.parent, v.checkpointed FROM walk JOIN version AS v
        ON v.tenant = :tenant AND v.session = :session AND v.id = walk.parent {end}
        LIMIT :limit) SELECT walk.parent, walk.checkpointed, {body} FROM walk {join}"""


_BODY = "CASE WHEN walk.checkpointed THEN o.checkpoint ELSE o.record END"
STATE = _walk(_BODY, joins=True, stops=True)
SINCE = _walk("NULL", joins=False, stops=True)
OPERATIONS = _walk("o.record", joins=True, stops=False)
LINE = _walk("walk.id", joins=False, stops=False)


def spread(values: Sequence[bytes]) -> Iterator[tuple[int, list[bytes | None]]]:
    """Yield the values in lists of the widths that statements are prepared for."""
    for at in range(0, len(values), _WIDTHS[-1]):
        chunk: list[bytes | None] = list(values[at : at + _WIDTHS[-1]])
        width = next(width for width in _WIDTHS if width >= len(chunk))
        yield width, chunk + [None] * (width - len(chunk))


def _marks(width: int) -> str:
    return ",".join("?" * width)


def nodes_by_chain(width: int) -> str:
    """Return the query for the newest nodes of each chain, whatever their session."""
    wanted = ",".join(["(?)"] * width)
    return f"""WITH wanted(chain) AS (VALUES {wanted}) SELECT {_NODE}
        FROM wanted CROSS JOIN node AS n WHERE n.tenant = ? AND (n.session, n.id) IN (
        SELECT m.session, m.id FROM node AS m WHERE m.tenant = ? AND m.chain = wanted.chain
        ORDER BY m.covers DESC, m.time DESC, m.session DESC, m.id DESC LIMIT ?) {_NEWEST}"""


def session_nodes_by_chain(width: int) -> str:
    """Return the query for the nodes of these chains in one session."""
    return f"""SELECT {_NODE} FROM node AS n INDEXED BY node_by_session_chain
        WHERE n.chain IN ({_marks(width)}) AND {_IN_SESSION} {_NEWEST}"""


def wires(width: int) -> str:
    """Return the query for messages by hash."""
    return f"SELECT hash, wire FROM message WHERE tenant = ? AND hash IN ({_marks(width)})"


def steps(width: int) -> str:
    """Return the query for the steps under some nodes."""
    return f"""SELECT node, sequence, kind, messages, time FROM step
        WHERE {_IN_SESSION} AND node IN ({_marks(width)})"""


def token_counts(width: int) -> str:
    """Return the query for token counts under one encoding."""
    return f"""SELECT hash, tokens FROM token_count
        WHERE tenant = ? AND encoding = ? AND hash IN ({_marks(width)})"""


def session_of(row: Row) -> Session:
    """Return the session of a row."""
    tenant, name, seed, created, used = row
    return Session(tenant=tenant, id=name, seed=seed, created=created, used=used)


def lane_of(row: Row) -> Lane:
    """Return the lane of a row."""
    tenant, session, name, node, version, depth, admitted, agent, dropped, used = row
    try:
        counts = orjson.loads(dropped)
    except orjson.JSONDecodeError as error:
        raise StoreCorrupt(f"lane {name} of session {session} cannot be read") from error
    return Lane(
        tenant=TenantId(tenant),
        session=SessionId(session),
        id=LaneId(name),
        node=NodeId(node),
        version=VersionId(version),
        depth=depth,
        admitted=bool(admitted),
        agent=agent,
        dropped=counts,
        used=used,
    )


def node_of(row: Row) -> Node:
    """Return the node of a row."""
    return Node(
        tenant=TenantId(row[0]),
        session=SessionId(row[1]),
        id=NodeId(row[2]),
        parent=NodeId(row[3]),
        chain=Chain(row[4]),
        message=MessageHash(row[5]),
        index=row[6],
        covers=bool(row[7]),
        answer=bool(row[8]),
        instructions=unpack_placed(row[9]),
        respelled=unpack_placed(row[13]),
        version=VersionId(row[10]),
        depth=row[11],
        time=row[12],
    )


def step_of(tenant: TenantId, session: SessionId, row: Row) -> StoredStep:
    """Return the step of a row."""
    node, sequence, kind, messages, time = row
    return StoredStep(
        tenant=tenant,
        session=session,
        node=node,
        sequence=sequence,
        kind=kind,
        messages=unpack(messages),
        time=time,
    )


def call_of(tenant: TenantId, call_id: str, row: Row) -> CallId:
    """Return the call id of a row."""
    session, node, minted = row
    return CallId(tenant=tenant, id=call_id, session=session, node=node, minted=bool(minted))


def hit_of(row: Row) -> Hit:
    """Return the search hit of a row."""
    name, key, occurrence, part, start, stop, query = row
    return Hit(name, Place(MessageKey(key), occurrence), part, start, stop, query)


def usage_of(tenant: TenantId, session: SessionId, row: Row) -> UsageRow:
    """Return the usage of a row."""
    node, time, model, purpose, prompt, cached, completion = row
    return UsageRow(
        tenant=tenant,
        session=session,
        node=node,
        time=time,
        model=model,
        purpose=purpose,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
    )
