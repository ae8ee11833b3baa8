"""What every store can do.

Writes are lists of records; a list is one transaction and is durable when its future is done.
Reads see every write whose future is done. Nothing stored is ever changed but lane heads, a node's
version, and times of last use; a message, node, operation or step that is there already stays as it
is, and the lists of a node that tell in which bytes its requests sent the rest only grow: a node
written again adds to them what they do not hold. Reads are
quick and synchronous; a store that must wait for a network runs them in a thread.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from sculptor.context import Hit
from sculptor.messages import Chain, MessageHash
from sculptor.operations import Operation, VersionId
from sculptor.state import State
from sculptor.store.records import (
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

NEWEST_PER_CHAIN = 16
"""So many nodes of one chain value a search over all sessions returns: many begin alike."""


class RankedHit(NamedTuple):
    """A passage found by ranked search: code points in the message's joined text parts."""

    hash: MessageHash
    part: int
    start: int
    end: int
    score: float


class Totals(NamedTuple):
    """What one session holds, for listings."""

    session: Session
    messages: int
    operations: int
    billed_tokens: int


class Store(Protocol):
    """Sessions, messages, versions and all that belongs to them."""

    def write(self, records: Sequence[Record]) -> Future[None]:
        """Write all records or none.

        The future raises StaleHead where a MoveHead came too late, StoreError where the store
        cannot be written.
        """
        ...

    def session(self, tenant: TenantId, session: SessionId) -> Session | None:
        """Return a session, or None."""
        ...

    def sessions(self, tenant: TenantId, *, limit: int = 100, offset: int = 0) -> list[Totals]:
        """Return sessions, last used first."""
        ...

    def unused_since(self, tenant: TenantId, time: float) -> list[SessionId]:
        """Return the sessions last used before ``time``, longest unused first."""
        ...

    def lane(self, tenant: TenantId, session: SessionId, lane: LaneId) -> Lane | None:
        """Return a lane, or None."""
        ...

    def lanes(self, tenant: TenantId, session: SessionId) -> list[Lane]:
        """Return a session's lanes, last used first."""
        ...

    def nodes_by_chain(
        self,
        tenant: TenantId,
        chains: Sequence[Chain],
        session: SessionId | None = None,
        *,
        limit: int = NEWEST_PER_CHAIN,
    ) -> list[Node]:
        """Return the nodes with one of these chain values, in the order of the chains given.

        Of one chain those that cover come first, then the newest. Without a session at most
        ``limit`` of each chain are returned; within one, all.
        """
        ...

    def node(self, tenant: TenantId, session: SessionId, node: NodeId) -> Node | None:
        """Return a node, or None."""
        ...

    def children(self, tenant: TenantId, session: SessionId, node: NodeId) -> list[Node]:
        """Return the nodes that follow a node, oldest first."""
        ...

    def path(self, tenant: TenantId, session: SessionId, node: NodeId) -> list[Node]:
        """Return the nodes from the first message to ``node``."""
        ...

    def wires(self, tenant: TenantId, hashes: Sequence[MessageHash]) -> Mapping[MessageHash, bytes]:
        """Return the original bytes of messages; those unknown are left out."""
        ...

    def state(self, tenant: TenantId, session: SessionId, version: VersionId) -> State:
        """Return the state of a version: its nearest checkpoint and what came after.

        Raises:
            StoreCorrupt: the version, or one it stands on, is missing.
        """
        ...

    def operations(
        self,
        tenant: TenantId,
        session: SessionId,
        version: VersionId,
        *,
        limit: int | None = None,
    ) -> list[Operation]:
        """Return the operations that lead to a version, newest first."""
        ...

    def operation_at(
        self, tenant: TenantId, session: SessionId, version: VersionId, depth: int
    ) -> Operation | None:
        """Return the operation at ``depth`` on the way to ``version``, or None.

        Its cost does not grow with the distance where the session has no branch at that depth.
        """
        ...

    def since_checkpoint(self, tenant: TenantId, session: SessionId, version: VersionId) -> int:
        """Return how many operations lie between a version and its nearest checkpoint."""
        ...

    def steps(
        self, tenant: TenantId, session: SessionId, nodes: Sequence[NodeId]
    ) -> list[StoredStep]:
        """Return the steps under these nodes, by node in the order given, then by sequence."""
        ...

    def call(self, tenant: TenantId, call_id: str) -> CallId | None:
        """Return where a call id was handed out, or None."""
        ...

    def hits(self, tenant: TenantId, session: SessionId) -> list[Hit]:
        """Return a session's search hits, oldest first."""
        ...

    def token_counts(
        self, tenant: TenantId, hashes: Sequence[MessageHash], encoding: str
    ) -> Mapping[MessageHash, int]:
        """Return known token counts."""
        ...

    def usage(self, tenant: TenantId, session: SessionId) -> list[UsageRow]:
        """Return what a session's upstream calls cost, oldest first."""
        ...

    def ranked(
        self, tenant: TenantId, hashes: Sequence[MessageHash], query: str, *, limit: int = 50
    ) -> list[RankedHit]:
        """Return the best passages of these messages for a query, best first (BM25)."""
        ...

    def verify(self) -> list[str]:
        """Re-derive every hash, chain and version and return what does not agree, in words."""
        ...

    def close(self) -> None:
        """Finish the writes under way and release the file."""
        ...
