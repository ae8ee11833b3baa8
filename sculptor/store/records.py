"""What a store keeps, row by row, as values.

A write is a list of records and is one transaction. Every row belongs to a tenant, and every
primary key begins with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, NewType

from sculptor.context import Hit
from sculptor.messages import Chain, MessageHash, digest
from sculptor.operations import FIRST_VERSION, Operation, VersionId

TenantId = NewType("TenantId", str)
SessionId = NewType("SessionId", str)
NodeId = NewType("NodeId", bytes)
LaneId = NewType("LaneId", str)

LOCAL = TenantId("local")
ROOT = NodeId(b"")
"""The parent of a conversation's first message."""


def node_id(parent: NodeId, message: MessageHash) -> NodeId:
    """Return the name of the node that ``message`` makes under ``parent``, unique in a session."""
    return NodeId(digest(b"node", parent, message))


def last_sent(path: "Sequence[Node]") -> list[MessageHash]:
    """Return, for each node of a path from its root, the bytes in which its message came last."""
    hashes = [node.message for node in path]
    for node in path:
        for position, name in node.respelled:
            hashes[position] = name
    return hashes


def given_under(answer: "Node") -> tuple[tuple[int, MessageHash], ...] | None:
    """Return the system messages that an answer was given under last, by index in the list.

    None: nobody noted them, as before answers kept any of their own. The answer's own place, which
    begins each list, tells this from a request without system messages.
    """
    starts = [at for at, (_, name) in enumerate(answer.instructions) if name == answer.message]
    return answer.instructions[starts[-1] + 1 :] if starts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One client conversation. ``seed`` makes its IDs; times are seconds since 1970."""

    tenant: TenantId
    id: SessionId
    seed: bytes
    created: float
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message's original bytes, stored once for a tenant."""

    tenant: TenantId
    hash: MessageHash
    wire: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One client message at its place in a session's tree.

    ``covers``: the path to here holds an answer or a call id of ours, so that a match of the chain
    carries state. ``instructions`` are the system messages of the request that brought it, as
    (index in the client's list, hash). ``respelled`` are earlier messages that this request sent
    in other bytes than the path held, as (position on the path, hash). Of equal places in either
    list the last counts. ``answer``: it is an answer of ours, as the client saw it; in its
    ``instructions`` stand, each time it is given, its own place and then the system messages it
    was given under (see ``given_under``).
    """

    tenant: TenantId
    session: SessionId
    id: NodeId
    parent: NodeId
    chain: Chain
    message: MessageHash
    index: int
    covers: bool = False
    answer: bool = False
    instructions: tuple[tuple[int, MessageHash], ...] = ()
    respelled: tuple[tuple[int, MessageHash], ...] = ()
    version: VersionId = FIRST_VERSION
    depth: int = 0
    time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Respelled:
    """What one more request that ends at a known node sent in other bytes.

    It is added to the node's own lists, which only grow; see ``Node``.
    """

    tenant: TenantId
    session: SessionId
    node: NodeId
    instructions: tuple[tuple[int, MessageHash], ...] = ()
    respelled: tuple[tuple[int, MessageHash], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One path through a session's tree, and the version in force at its head.

    ``admitted``: the tools are offered in every request of this lane. ``dropped`` counts, by
    message key in hexadecimal, equal messages that the client removed from the front.
    """

    tenant: TenantId
    session: SessionId
    id: LaneId
    node: NodeId
    version: VersionId = FIRST_VERSION
    depth: int = 0
    admitted: bool = False
    agent: str = ""
    dropped: dict[str, int] = field(default_factory=dict)
    used: float = 0.0

    @property
    def head(self) -> "Head":
        """Where its head stands."""
        return Head(self.node, self.version)


class Head(NamedTuple):
    """Where a lane's head stands: at a node of the tree, and at the version in force there."""

    node: NodeId
    version: VersionId


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveHead:
    """Put a lane's head where ``lane`` says, if it still stands at ``expected``.

    The write fails with StaleHead otherwise, as a whole. ``expected`` None: the lane is new. The
    node is compared too, for a lane without operations never changes its version: of two answers
    the second would take the place of the first, which no lane would lead to any more. A head that
    stands at the new node already loses nothing by the move.
    """

    lane: Lane
    expected: Head | None

    def may_follow(self, held: Head | None) -> bool:
        """Whether a head that stands at ``held`` may be moved so (None: there is no such lane)."""
        if self.expected is None or held is None:
            return held is self.expected
        nodes = (self.expected.node, self.lane.node)
        return held.version == self.expected.version and held.node in nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOperation:
    """One operation and the version it makes, hung on a node.

    ``checkpoint`` is the whole state after it, as JSON, where the writer decided to keep one.
    """

    tenant: TenantId
    session: SessionId
    node: NodeId
    operation: Operation
    checkpoint: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """A step group under the node it follows; ``messages`` are their wire bytes.

    ``kind``: ``inserted`` after the node's message, ``mixed`` in its place (client calls beside
    ours), or ``produced``: the final answer as the model produced it, kept for the record.
    """

    tenant: TenantId
    session: SessionId
    node: NodeId
    sequence: int
    kind: Literal["inserted", "mixed", "produced"]
    messages: tuple[bytes, ...]
    time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallId:
    """A tool call id that was handed to the client; ``minted``: we wrote it ourselves."""

    tenant: TenantId
    id: str
    session: SessionId
    node: NodeId
    minted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHit:
    """A search hit of a session."""

    tenant: TenantId
    session: SessionId
    hit: Hit


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """The tokens of a message as it came, under one encoding."""

    tenant: TenantId
    hash: MessageHash
    encoding: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What one upstream call cost, in tokens."""

    tenant: TenantId
    session: SessionId
    node: NodeId
    time: float
    model: str
    purpose: Literal["answer", "step", "summary"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSession:
    """Remove a session with all that only it uses; bytes that others use stay."""

    tenant: TenantId
    id: SessionId


Record = (
    Session
    | StoredMessage
    | Node
    | Respelled
    | Lane
    | MoveHead
    | StoredOperation
    | StoredStep
    | CallId
    | StoredHit
    | TokenCount
    | UsageRow
    | DeleteSession
)
