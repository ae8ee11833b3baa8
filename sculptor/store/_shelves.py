"""What the memory store holds: for each tenant a shelf, and on it one for each session."""

from bisect import insort
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from sculptor.context import Hit
from sculptor.errors import StoreCorrupt
from sculptor.messages import Chain, MessageHash, wire_hash
from sculptor.operations import FIRST_VERSION, VersionId
from sculptor.store.records import (
    CallId,
    DeleteSession,
    Lane,
    LaneId,
    MoveHead,
    Node,
    NodeId,
    Record,
    Respelled,
    Session,
    SessionId,
    StoredHit,
    StoredMessage,
    StoredOperation,
    StoredStep,
    TokenCount,
    UsageRow,
)

_Placings = tuple[tuple[int, MessageHash], ...]


class ChainIndex:
    """Nodes by chain value; of one value those that cover come first, then the newest."""

    def __init__(self) -> None:
        self._places: dict[Chain, list[tuple[bool, float, SessionId, NodeId]]] = {}

    def add(self, node: Node) -> None:
        """Add a new node."""
        place = (node.covers, node.time, node.session, node.id)
        insort(self._places.setdefault(node.chain, []), place)

    def find(self, chain: Chain, limit: int | None) -> list[tuple[SessionId, NodeId]]:
        """Return where the nodes of one value are."""
        found = islice(reversed(self._places.get(chain, ())), limit)
        return [(session, node) for _, _, session, node in found]

    def remove(self, chain: Chain, session: SessionId) -> None:
        """Drop a session's nodes of one value."""
        left = [place for place in self._places.pop(chain, ()) if place[2] != session]
        if left:
            self._places[chain] = left


@dataclass(slots=True, kw_only=True)
class SessionShelf:
    """All that belongs to one session."""

    session: Session | None = None
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    children: dict[NodeId, list[NodeId]] = field(default_factory=dict)
    chains: ChainIndex = field(default_factory=ChainIndex)
    lanes: dict[LaneId, Lane] = field(default_factory=dict)
    versions: dict[VersionId, StoredOperation] = field(default_factory=dict)
    depths: dict[int, list[VersionId]] = field(default_factory=dict)
    steps: dict[NodeId, dict[int, StoredStep]] = field(default_factory=dict)
    hits: dict[str, Hit] = field(default_factory=dict)
    usage: list[UsageRow] = field(default_factory=list)
    messages: set[MessageHash] = field(default_factory=set)

    def line(self, version: VersionId) -> Iterator[StoredOperation]:
        """Yield what led to a version, newest first.

        Raises:
            StoreCorrupt: a version is missing.
        """
        while version != FIRST_VERSION:
            stored = self.versions.get(version)
            if stored is None:
                raise StoreCorrupt(f"version {version} is missing")
            yield stored
            version = stored.operation.parent


@dataclass(slots=True)
class TenantShelf:
    """All that belongs to one tenant."""

    sessions: dict[SessionId, SessionShelf] = field(default_factory=dict)
    messages: dict[MessageHash, bytes] = field(default_factory=dict)
    uses: dict[MessageHash, set[SessionId]] = field(default_factory=dict)
    counts: dict[MessageHash, dict[str, int]] = field(default_factory=dict)
    calls: dict[str, CallId] = field(default_factory=dict)
    chains: ChainIndex = field(default_factory=ChainIndex)

    def shelf(self, session: SessionId) -> SessionShelf:
        """Return a session's shelf; where there is none, an empty one that is not kept."""
        return self.sessions.get(session) or SessionShelf()

    def put(self, record: Record) -> Collection[MessageHash]:
        """Take in one record; what is there already stays as it is.

        Returns the messages that nobody uses any more.
        """
        match record:
            case StoredMessage():
                self.messages.setdefault(record.hash, record.wire)
            case TokenCount():
                counts = self.counts.setdefault(record.hash, {})
                counts.setdefault(record.encoding, record.tokens)
            case CallId():
                self.calls.setdefault(record.id, record)
            case DeleteSession():
                return self._delete(record.id)
            case Session():
                shelf = self._ensure(record.id)
                held = shelf.session or record
                shelf.session = replace(held, used=max(held.used, record.used))
            case Node():
                self._put_node(self._ensure(record.session), record)
            case Respelled():
                self._put_respelled(self._ensure(record.session), record)
            case Lane():
                _put_lane(self._ensure(record.session), record, moves=False)
            case MoveHead(lane=lane):
                _put_lane(self._ensure(lane.session), lane, moves=True)
            case StoredOperation():
                _put_operation(self._ensure(record.session), record)
            case StoredStep():
                self._put_step(self._ensure(record.session), record)
            case StoredHit():
                self._ensure(record.session).hits.setdefault(record.hit.id, record.hit)
            case UsageRow():
                self._ensure(record.session).usage.append(record)
        return ()

    def _ensure(self, session: SessionId) -> SessionShelf:
        return self.sessions.setdefault(session, SessionShelf())

    def _use(self, session: SessionId, message: MessageHash) -> None:
        self.uses.setdefault(message, set()).add(session)
        self._ensure(session).messages.add(message)

    def _put_node(self, shelf: SessionShelf, node: Node) -> None:
        held = shelf.nodes.get(node.id)
        if held is None:
            shelf.nodes[node.id] = node
            shelf.children.setdefault(node.parent, []).append(node.id)
            shelf.chains.add(node)
            self.chains.add(node)
        else:
            shelf.nodes[node.id] = replace(
                held,
                version=node.version,
                depth=node.depth,
                instructions=_with(held.instructions, node.instructions),
                respelled=_with(held.respelled, node.respelled),
            )
        self._use(node.session, node.message)
        self._use_placed(node)

    def _put_respelled(self, shelf: SessionShelf, record: Respelled) -> None:
        held = shelf.nodes.get(record.node)
        if held is not None:
            shelf.nodes[record.node] = replace(
                held,
                instructions=held.instructions + record.instructions,
                respelled=held.respelled + record.respelled,
            )
        self._use_placed(record)

    def _use_placed(self, record: Node | Respelled) -> None:
        for _, message in (*record.instructions, *record.respelled):
            self._use(record.session, message)

    def _put_step(self, shelf: SessionShelf, step: StoredStep) -> None:
        shelf.steps.setdefault(step.node, {}).setdefault(step.sequence, step)
        for wire in step.messages:
            self._use(step.session, wire_hash(wire))

    def _delete(self, session: SessionId) -> Collection[MessageHash]:
        gone = self.sessions.pop(session, None) or SessionShelf()
        orphans = [name for name in gone.messages if self.uses[name] == {session}]
        for name in gone.messages:
            self.uses[name].discard(session)
        for name in orphans:
            del self.uses[name]
            self.messages.pop(name, None)
            self.counts.pop(name, None)
        for node in gone.nodes.values():
            self.chains.remove(node.chain, session)
        self.calls = {name: call for name, call in self.calls.items() if call.session != session}
        return orphans


def _with(held: _Placings, more: _Placings) -> _Placings:
    """Return a node's list with another at its end, where it does not hold that already."""
    runs = (held[at : at + len(more)] for at in range(len(held) - len(more) + 1))
    return held if more in runs else held + more


def _put_lane(shelf: SessionShelf, lane: Lane, *, moves: bool) -> None:
    held = shelf.lanes.get(lane.id, lane)
    base = lane if moves else held
    shelf.lanes[lane.id] = replace(
        base,
        admitted=held.admitted or lane.admitted,
        dropped=dict(lane.dropped),
        used=max(held.used, lane.used),
    )


def _put_operation(shelf: SessionShelf, stored: StoredOperation) -> None:
    version = stored.operation.version
    if version not in shelf.versions:
        shelf.versions[version] = stored
        shelf.depths.setdefault(stored.operation.depth, []).append(version)
