"""The store in memory: the same laws as the SQLite store, for tests and for use without a file.

A write list is looked through for a late MoveHead before any of it is written, so that it is
written whole or not at all; its future is done when ``write`` returns.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice, takewhile

from sculptor.context import Hit
from sculptor.errors import StaleHead, StoreCorrupt, StoreError
from sculptor.messages import Chain, MessageHash, digest
from sculptor.operations import Operation, VersionId
from sculptor.state import State
from sculptor.store._shelves import SessionShelf, TenantShelf
from sculptor.store.checkpoints import load_state
from sculptor.store.codec import dump_operation, pack, searchable_texts
from sculptor.store.protocol import NEWEST_PER_CHAIN, RankedHit, Totals
from sculptor.store.ranked import RankedIndex
from sculptor.store.records import (
    ROOT,
    CallId,
    DeleteSession,
    Head,
    Lane,
    LaneId,
    MoveHead,
    Node,
    NodeId,
    Record,
    Session,
    SessionId,
    StoredOperation,
    StoredStep,
    TenantId,
    UsageRow,
)
from sculptor.store.verify import StepRow, VersionRow, verify


class MemoryStore:
    """A ``Store`` whose contents end with the process."""

    def __init__(self) -> None:
        self._tenants: dict[TenantId, TenantShelf] = {}
        self._guard = threading.RLock()
        self._closed = False
        self._index: RankedIndex | None = None

    # Writing

    def write(self, records: Sequence[Record]) -> Future[None]:
        """Write all records or none; see ``Store.write``."""
        future: Future[None] = Future()
        with self._guard:
            try:
                if self._closed:
                    raise StoreError("The store is closed.")
                self._refuse_late_heads(records)
                for record in records:
                    owner = record.lane if isinstance(record, MoveHead) else record
                    orphans = self._tenants.setdefault(owner.tenant, TenantShelf()).put(record)
                    if orphans and self._index is not None:
                        self._index.remove(owner.tenant, orphans)
            except StoreError as error:
                future.set_exception(error)
            else:
                future.set_result(None)
        return future

    def close(self) -> None:
        """Refuse all further writes; again is no error."""
        with self._guard:
            self._closed = True
            if self._index is not None:
                self._ranking.close()

    # Sessions and lanes

    def session(self, tenant: TenantId, session: SessionId) -> Session | None:
        """Return a session, or None."""
        with self._guard:
            return self._shelf(tenant, session).session

    def sessions(self, tenant: TenantId, *, limit: int = 100, offset: int = 0) -> list[Totals]:
        """Return sessions, last used first."""
        with self._guard:
            shelves = [(s.session, s) for s in self._tenant(tenant).sessions.values()]
            found = [(session, shelf) for session, shelf in shelves if session is not None]
            found.sort(key=lambda pair: (pair[0].used, pair[0].id), reverse=True)
            return [_totals(*pair) for pair in found[offset : offset + limit]]

    def unused_since(self, tenant: TenantId, time: float) -> list[SessionId]:
        """Return the sessions last used before ``time``, longest unused first."""
        with self._guard:
            held = (shelf.session for shelf in self._tenant(tenant).sessions.values())
            found = sorted((s.used, s.id) for s in held if s is not None and s.used < time)
            return [name for _, name in found]

    def lane(self, tenant: TenantId, session: SessionId, lane: LaneId) -> Lane | None:
        """Return a lane, or None."""
        with self._guard:
            return self._shelf(tenant, session).lanes.get(lane)

    def lanes(self, tenant: TenantId, session: SessionId) -> list[Lane]:
        """Return a session's lanes, last used first."""
        with self._guard:
            lanes = self._shelf(tenant, session).lanes.values()
            return sorted(lanes, key=lambda lane: (lane.used, lane.id), reverse=True)

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
        with self._guard:
            held = self._tenant(tenant)
            index = held.chains if session is None else held.shelf(session).chains
            most = limit if session is None else None
            places = (place for chain in dict.fromkeys(chains) for place in index.find(chain, most))
            return [held.sessions[owner].nodes[name] for owner, name in places]

    def node(self, tenant: TenantId, session: SessionId, node: NodeId) -> Node | None:
        """Return a node, or None."""
        with self._guard:
            return self._shelf(tenant, session).nodes.get(node)

    def children(self, tenant: TenantId, session: SessionId, node: NodeId) -> list[Node]:
        """Return the nodes that follow a node."""
        with self._guard:
            shelf = self._shelf(tenant, session)
            found = [shelf.nodes[name] for name in shelf.children.get(node, ())]
            return sorted(found, key=lambda child: (child.time, child.id))

    def path(self, tenant: TenantId, session: SessionId, node: NodeId) -> list[Node]:
        """Return the nodes from the first message to ``node``."""
        with self._guard:
            nodes, path = self._shelf(tenant, session).nodes, list[Node]()
            while node in nodes:
                path.append(nodes[node])
                node = nodes[node].parent
        if path and node != ROOT:
            raise StoreCorrupt(f"node {node.hex()} of session {session} is missing")
        return path[::-1]

    def wires(self, tenant: TenantId, hashes: Sequence[MessageHash]) -> Mapping[MessageHash, bytes]:
        """Return the original bytes of messages; those unknown are left out."""
        with self._guard:
            held = self._tenant(tenant).messages
            return {name: held[name] for name in hashes if name in held}

    # Versions

    def state(self, tenant: TenantId, session: SessionId, version: VersionId) -> State:
        """Return the state of a version; see ``Store.state``."""
        state, pending = State(), list[Operation]()
        for stored in self._line(tenant, session, version):
            if stored.checkpoint is not None:
                state = load_state(stored.checkpoint)
                break
            pending.append(stored.operation)
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
        line = self._line(tenant, session, version)
        return [stored.operation for stored in islice(line, limit)]

    def operation_at(
        self, tenant: TenantId, session: SessionId, version: VersionId, depth: int
    ) -> Operation | None:
        """Return the operation at ``depth`` on the way to ``version``, or None."""
        with self._guard:
            shelf = self._shelf(tenant, session)
            newest = shelf.versions.get(version)
            if newest is None or not 0 < depth <= newest.operation.depth:
                return None
            named = shelf.depths.get(depth, [])
            if len(named) == 1:
                return shelf.versions[named[0]].operation
            line = (stored.operation for stored in shelf.line(version))
            return next((made for made in line if made.depth == depth), None)

    def since_checkpoint(self, tenant: TenantId, session: SessionId, version: VersionId) -> int:
        """Return how many operations lie between a version and its nearest checkpoint."""
        line = self._line(tenant, session, version)
        return sum(1 for _ in takewhile(lambda stored: stored.checkpoint is None, line))

    # Steps, calls, hits, counts, usage

    def steps(
        self, tenant: TenantId, session: SessionId, nodes: Sequence[NodeId]
    ) -> list[StoredStep]:
        """Return the steps under these nodes, by node in the order given, then by sequence."""
        with self._guard:
            held = self._shelf(tenant, session).steps
            groups = (held.get(node, {}) for node in dict.fromkeys(nodes))
            return [group[number] for group in groups for number in sorted(group)]

    def call(self, tenant: TenantId, call_id: str) -> CallId | None:
        """Return where a call id was handed out, or None."""
        with self._guard:
            return self._tenant(tenant).calls.get(call_id)

    def hits(self, tenant: TenantId, session: SessionId) -> list[Hit]:
        """Return a session's search hits, oldest first."""
        with self._guard:
            return list(self._shelf(tenant, session).hits.values())

    def token_counts(
        self, tenant: TenantId, hashes: Sequence[MessageHash], encoding: str
    ) -> Mapping[MessageHash, int]:
        """Return known token counts."""
        with self._guard:
            held = self._tenant(tenant).counts
            known = ((name, held.get(name, {}).get(encoding)) for name in hashes)
            return {name: tokens for name, tokens in known if tokens is not None}

    def usage(self, tenant: TenantId, session: SessionId) -> list[UsageRow]:
        """Return what a session's upstream calls cost, oldest first."""
        with self._guard:
            return list(self._shelf(tenant, session).usage)

    # Ranked search

    def ranked(
        self, tenant: TenantId, hashes: Sequence[MessageHash], query: str, *, limit: int = 50
    ) -> list[RankedHit]:
        """Return the best passages of these messages for a query; see ``Store.ranked``."""
        with self._guard:
            index = self._ensure_index()
            wires = self.wires(tenant, hashes)
            index.ensure(tenant, list(wires), lambda name: searchable_texts(wires[name]))
            return index.search(tenant, query, hashes=wires, limit=limit)

    # Health

    def verify(self) -> list[str]:
        """Re-derive every hash, chain and version and return what does not agree, in words."""
        with self._guard:
            return verify(_Rows(self._tenants))

    # Inside

    def _ensure_index(self) -> RankedIndex:
        if self._closed:
            raise StoreError("The store is closed.")
        if self._index is None:
            self._ranking = sqlite3.connect(
                ":memory:", isolation_level=None, check_same_thread=False
            )
            self._index = RankedIndex(self._ranking)
            self._index.create()
        return self._index

    def _tenant(self, tenant: TenantId) -> TenantShelf:
        return self._tenants.get(tenant) or TenantShelf()

    def _shelf(self, tenant: TenantId, session: SessionId) -> SessionShelf:
        return self._tenant(tenant).shelf(session)

    def _line(
        self, tenant: TenantId, session: SessionId, version: VersionId
    ) -> Iterator[StoredOperation]:
        return self._shelf(tenant, session).line(version)

    def _refuse_late_heads(self, records: Sequence[Record]) -> None:
        """Go through the heads as the list would move them, one after another."""
        heads: dict[tuple[TenantId, SessionId, LaneId], Head | None] = {}
        gone: set[tuple[TenantId, SessionId]] = set()

        def head(lane: Lane) -> Head | None:
            key = (lane.tenant, lane.session, lane.id)
            if key in heads:
                return heads[key]
            held = None if key[:2] in gone else self.lane(*key)
            return None if held is None else held.head

        for record in records:
            match record:
                case MoveHead(lane=lane):
                    if not record.may_follow(head(lane)):
                        raise StaleHead(lane.id)
                    heads[lane.tenant, lane.session, lane.id] = lane.head
                case Lane():
                    now = head(record)
                    name = (record.tenant, record.session, record.id)
                    heads[name] = record.head if now is None else now
                case DeleteSession():
                    place = (record.tenant, record.id)
                    gone.add(place)
                    heads = {key: to for key, to in heads.items() if key[:2] != place}


class _Rows:
    """The rows of a memory store, as ``verify`` looks at them."""

    def __init__(self, tenants: Mapping[TenantId, TenantShelf]) -> None:
        self._tenants = tenants

    def places(self) -> list[tuple[TenantId, SessionId]]:
        return [(tenant, name) for tenant, held in self._tenants.items() for name in held.sessions]

    def messages(self) -> Iterator[tuple[TenantId, MessageHash, bytes]]:
        for tenant, held in self._tenants.items():
            yield from ((tenant, name, wire) for name, wire in held.messages.items())

    def wires(self, tenant: TenantId, hashes: Sequence[MessageHash]) -> Mapping[MessageHash, bytes]:
        return self._tenants[tenant].messages

    def nodes(self, tenant: TenantId, session: SessionId) -> list[Node]:
        return list(self._tenants[tenant].sessions[session].nodes.values())

    def lanes(self, tenant: TenantId, session: SessionId) -> list[Lane]:
        return list(self._tenants[tenant].sessions[session].lanes.values())

    def versions(self, tenant: TenantId, session: SessionId) -> list[VersionRow]:
        held = self._tenants[tenant].sessions[session].versions
        return [
            VersionRow(
                name,
                stored.operation.parent,
                stored.operation.depth,
                stored.node,
                dump_operation(stored.operation),
                stored.checkpoint,
            )
            for name, stored in held.items()
        ]

    def steps(self, tenant: TenantId, session: SessionId) -> list[StepRow]:
        held = self._tenants[tenant].sessions[session].steps
        groups = (step for group in held.values() for step in group.values())
        bodies = ((step, pack(step.messages)) for step in groups)
        return [StepRow(step.node, step.sequence, digest(body), body) for step, body in bodies]


def _totals(session: Session, shelf: SessionShelf) -> Totals:
    billed = sum(row.prompt_tokens + row.completion_tokens for row in shelf.usage)
    return Totals(session, len(shelf.nodes), len(shelf.versions), billed)
