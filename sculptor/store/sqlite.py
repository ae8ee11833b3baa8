"""The store in one SQLite file.

The file is in write-ahead mode: one thread writes (``writer``), readers never wait for it, and a
read sees every write whose future is done. A write whose future is done survives the death of the
process, ``kill -9`` included; with ``durability="power"`` each commit also waits for the disk, so
that it survives a power cut. Without it a power cut may take the last commits, whole, and never
damages the file.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from sculptor.context import Hit
from sculptor.errors import StoreCorrupt, StoreError, StoreLocked
from sculptor.filenames import own_path
from sculptor.messages import Chain, MessageHash
from sculptor.operations import FIRST_VERSION, Operation, VersionId
from sculptor.state import State
from sculptor.store import queries
from sculptor.store._opening import (
    Durability,
    close_to_others,
    connect_reader,
    connect_writer,
    is_damage,
    make_file,
    open_error,
)
from sculptor.store.checkpoints import load_state
from sculptor.store.codec import load_operation, searchable_texts
from sculptor.store.locking import FileLock, refuse_second_name
from sculptor.store.protocol import NEWEST_PER_CHAIN, RankedHit, Totals
from sculptor.store.ranked import RankedIndex
from sculptor.store.readers import Readers
from sculptor.store.records import (
    ROOT,
    CallId,
    Lane,
    LaneId,
    Node,
    NodeId,
    Record,
    Session,
    SessionId,
    StoredStep,
    TenantId,
    UsageRow,
)
from sculptor.store.verify import StepRow, VersionRow, verify
from sculptor.store.writer import Writer

_INDEXED = 32
"""So many messages are indexed for ranked search before other writes have their turn."""


class SqliteStore:
    """A ``Store`` in the file at ``path``, which only its owner may read.

    Raises:
        StoreLocked: another process serves the file.
        StoreError: the file cannot be opened, or is none of ours; the text says what to do.
    """

    def __init__(self, path: Path, *, durability: Durability = "process") -> None:
        path = own_path(Path(path))
        try:
            with ExitStack() as undo:
                make_file(path)
                self._lock = FileLock(path)
                undo.callback(self._lock.release)
                refuse_second_name(path)
                writing = connect_writer(path, durability)
                undo.callback(writing.close)
                close_to_others(path)
                self._readers = Readers(partial(connect_reader, path))
                self._writer = Writer(writing)
                undo.pop_all()
        except StoreLocked:
            raise
        except (OSError, sqlite3.Error, StoreError) as error:
            if isinstance(error, StoreError) or is_damage(error):
                self._lock.withdraw()
            raise open_error(path, error) from error

    # Writing

    def write(self, records: Sequence[Record]) -> Future[None]:
        """Write all records or none; see ``Store.write``."""
        return self._writer.write(records)

    def close(self) -> None:
        """Finish the writes under way and release the file."""
        self._writer.close()
        self._readers.close()
        self._lock.release()

    # Sessions and lanes

    def session(self, tenant: TenantId, session: SessionId) -> Session | None:
        """Return a session, or None."""
        rows = self._rows(queries.SESSION, (tenant, session))
        return queries.session_of(rows[0]) if rows else None

    def sessions(self, tenant: TenantId, *, limit: int = 100, offset: int = 0) -> list[Totals]:
        """Return sessions, last used first."""
        rows = self._rows(queries.SESSIONS, (tenant, limit, offset))
        return [Totals(queries.session_of(row[:5]), *row[5:]) for row in rows]

    def unused_since(self, tenant: TenantId, time: float) -> list[SessionId]:
        """Return the sessions last used before ``time``, longest unused first."""
        return [SessionId(name) for (name,) in self._rows(queries.UNUSED, (tenant, time))]

    def lane(self, tenant: TenantId, session: SessionId, lane: LaneId) -> Lane | None:
        """Return a lane, or None."""
        rows = self._rows(queries.LANE, (tenant, session, lane))
        return queries.lane_of(rows[0]) if rows else None

    def lanes(self, tenant: TenantId, session: SessionId) -> list[Lane]:
        """Return a session's lanes, last used first."""
        return [queries.lane_of(row) for row in self._rows(queries.LANES, (tenant, session))]

    # Nodes and messages

    def nodes_by_chain(
        self,
        tenant: TenantId,
        chains: Sequence[Chain],
        session: SessionId | None = None,
        *,
        limit: int = NEWEST_PER_CHAIN,
    ) -> list[Node]:
        """Return nodes with one of these chain values; see ``Store.nodes_by_chain``."""
        order = {chain: place for place, chain in enumerate(dict.fromkeys(chains))}
        rows: list[queries.Row] = []
        for width, values in queries.spread(list(order)):
            if session is None:
                rows += self._rows(queries.nodes_by_chain(width), (*values, tenant, tenant, limit))
            else:
                query = queries.session_nodes_by_chain(width)
                rows += self._rows(query, (*values, tenant, session))
        nodes = [queries.node_of(row) for row in rows]
        return sorted(nodes, key=lambda node: order[node.chain])

    def node(self, tenant: TenantId, session: SessionId, node: NodeId) -> Node | None:
        """Return a node, or None."""
        rows = self._rows(queries.NODE, (tenant, session, node))
        return queries.node_of(rows[0]) if rows else None

    def children(self, tenant: TenantId, session: SessionId, node: NodeId) -> list[Node]:
        """Return the nodes that follow a node."""
        rows = self._rows(queries.CHILDREN, (tenant, session, node))
        return [queries.node_of(row) for row in rows]

    def path(self, tenant: TenantId, session: SessionId, node: NodeId) -> list[Node]:
        """Return the nodes from the first message to ``node``."""
        rows = self._rows(queries.PATH, {"tenant": tenant, "session": session, "node": node})
        nodes = [queries.node_of(row) for row in reversed(rows)]
        if nodes and nodes[0].parent != ROOT:
            raise StoreCorrupt(f"node {nodes[0].parent.hex()} of session {session} is missing")
        return nodes

    def wires(self, tenant: TenantId, hashes: Sequence[MessageHash]) -> Mapping[MessageHash, bytes]:
        """Return the original bytes of messages; those unknown are left out."""
        found: dict[MessageHash, bytes] = {}
        for width, values in queries.spread(hashes):
            found.update(self._rows(queries.wires(width), (tenant, *values)))
        return found

    # Versions

    def state(self, tenant: TenantId, session: SessionId, version: VersionId) -> State:
        """Return the state of a version; see ``Store.state``."""
        state, pending = State(), list[Operation]()
        for _, checkpointed, body in self._walk(queries.STATE, tenant, session, version):
            if checkpointed:
                state = load_state(body)
            else:
                pending.append(load_operation(body))
        for operation in reversed(pending):
            state = state.after(operation.changes)
        return state

    def operations(
        self,
        tenant: TenantId,
        session: SessionId,
        version: VersionId,
        *,
        limit: int | None = None,
    ) -> list[Operation]:
        """Return the operations that lead to a version, newest first."""
        rows = self._walk(queries.OPERATIONS, tenant, session, version, limit=limit)
        return [load_operation(body) for _, _, body in rows]

    def operation_at(
        self, tenant: TenantId, session: SessionId, version: VersionId, depth: int
    ) -> Operation | None:
        """Return the operation at ``depth`` on the way to ``version``, or None."""
        deepest = self._rows(queries.DEPTH, (tenant, session, version))
        if not deepest or not 0 < depth <= deepest[0][0]:
            return None
        named = [name for (name,) in self._rows(queries.AT_DEPTH, (tenant, session, depth))]
        if len(named) > 1:
            steps = deepest[0][0] - depth + 1
            line = self._walk(queries.LINE, tenant, session, version, limit=steps)
            named = [line[-1][2]]
        rows = self._rows(queries.OPERATION, (tenant, session, named[0])) if named else []
        return load_operation(rows[0][0]) if rows else None

    def since_checkpoint(self, tenant: TenantId, session: SessionId, version: VersionId) -> int:
        """Return how many operations lie between a version and its nearest checkpoint."""
        rows = self._walk(queries.SINCE, tenant, session, version)
        return sum(not checkpointed for _, checkpointed, _ in rows)

    # Steps, calls, hits, counts, usage

    def steps(
        self, tenant: TenantId, session: SessionId, nodes: Sequence[NodeId]
    ) -> list[StoredStep]:
        """Return the steps under these nodes, by node in the order given, then by sequence."""
        order = {node: place for place, node in enumerate(dict.fromkeys(nodes))}
        found: list[StoredStep] = []
        for width, values in queries.spread(list(order)):
            rows = self._rows(queries.steps(width), (tenant, session, *values))
            found += [queries.step_of(tenant, session, row) for row in rows]
        return sorted(found, key=lambda step: (order[step.node], step.sequence))

    def call(self, tenant: TenantId, call_id: str) -> CallId | None:
        """Return where a call id was handed out, or None."""
        rows = self._rows(queries.CALL, (tenant, call_id))
        return queries.call_of(tenant, call_id, rows[0]) if rows else None

    def hits(self, tenant: TenantId, session: SessionId) -> list[Hit]:
        """Return a session's search hits, oldest first."""
        return [queries.hit_of(row) for row in self._rows(queries.HITS, (tenant, session))]

    def token_counts(
        self, tenant: TenantId, hashes: Sequence[MessageHash], encoding: str
    ) -> Mapping[MessageHash, int]:
        """Return known token counts."""
        found: dict[MessageHash, int] = {}
        for width, values in queries.spread(hashes):
            found.update(self._rows(queries.token_counts(width), (tenant, encoding, *values)))
        return found

    def usage(self, tenant: TenantId, session: SessionId) -> list[UsageRow]:
        """Return what a session's upstream calls cost, oldest first."""
        rows = self._rows(queries.USAGE, (tenant, session))
        return [queries.usage_of(tenant, session, row) for row in rows]

    # Ranked search

    def ranked(
        self, tenant: TenantId, hashes: Sequence[MessageHash], query: str, *, limit: int = 50
    ) -> list[RankedHit]:
        """Return the best passages of these messages for a query; see ``Store.ranked``.

        Messages that were never searched are indexed first, by the writer, some at a time.
        """
        with self._readers.lend() as connection:
            missing = RankedIndex(connection).missing(tenant, hashes)
        pending = [
            self._writer.submit(partial(_fill, tenant=tenant, hashes=missing[at : at + _INDEXED]))
            for at in range(0, len(missing), _INDEXED)
        ]
        for done in pending:
            done.result()
        with self._readers.lend() as connection:
            return RankedIndex(connection).search(tenant, query, hashes=hashes, limit=limit)

    # Health

    def verify(self) -> list[str]:
        """Re-derive every hash, chain and version and return what does not agree, in words."""
        try:
            report = [line for (line,) in self._rows("PRAGMA integrity_check", ())]
            return [f"file: {line}" for line in report if line != "ok"] + verify(_Rows(self))
        except StoreError as error:
            return [str(error)]

    # Inside

    def _rows(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[queries.Row]:
        with self._readers.lend() as connection:
            return connection.execute(query, values).fetchall()

    def _walk(
        self,
        query: str,
        tenant: TenantId,
        session: SessionId,
        version: VersionId,
        *,
        limit: int | None = None,
    ) -> list[queries.Row]:
        """Return the rows of a walk back from ``version``, having seen that none is missing."""
        if version == FIRST_VERSION or limit == 0:
            return []
        keys = {"tenant": tenant, "session": session, "version": version}
        rows = self._rows(query, {**keys, "limit": -1 if limit is None else limit})
        parent, checkpointed, _ = rows[-1] if rows else (version, False, None)
        stops = query in (queries.STATE, queries.SINCE) and checkpointed
        if parent != FIRST_VERSION and not stops and len(rows) != limit:
            raise StoreCorrupt(f"version {parent} of session {session} is missing")
        return rows


class _Rows:
    """The rows of a SQLite store, as ``verify`` looks at them."""

    def __init__(self, store: SqliteStore) -> None:
        self._store, self._rows = store, store._rows
        self.wires, self.lanes = store.wires, store.lanes

    def places(self) -> list[tuple[TenantId, SessionId]]:
        return [(TenantId(t), SessionId(s)) for t, s in self._rows(queries.PLACES, ())]

    def messages(self) -> Iterator[tuple[TenantId, MessageHash, bytes]]:
        after = 0
        while rows := self._rows(queries.MESSAGES_AFTER, (after,)):
            yield from (row[1:] for row in rows)
            after = rows[-1][0]

    def nodes(self, tenant: TenantId, session: SessionId) -> list[Node]:
        return [queries.node_of(row) for row in self._rows(queries.NODES, (tenant, session))]

    def versions(self, tenant: TenantId, session: SessionId) -> list[VersionRow]:
        return [VersionRow(*row) for row in self._rows(queries.VERSIONS, (tenant, session))]

    def steps(self, tenant: TenantId, session: SessionId) -> list[StepRow]:
        return [StepRow(*row) for row in self._rows(queries.STEP_BODIES, (tenant, session))]


def _fill(cursor: sqlite3.Cursor, *, tenant: TenantId, hashes: Sequence[MessageHash]) -> None:
    """Index messages for ranked search, in the writer's transaction."""
    index = RankedIndex(cursor.connection)
    for name in index.missing(tenant, hashes):
        row = cursor.execute(queries.wires(1), (tenant, name)).fetchone()
        if row is not None:
            index.add(tenant, name, searchable_texts(row[1]))
