"""What a store keeps, row by row, as values.

A write is a list of records and is one transaction. Every row belongs to a tenant, and every
primary key begins with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NewType

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
    list the last counts. ``answer``: it is an answer of ours, as the client saw it.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveHead:
    """Put a lane's head where ``lane`` says, if its version still is ``expected``.

    The write fails with StaleHead otherwise, as a whole. ``expected`` None: the lane is new.
    """

    lane: Lane
    expected: VersionId | None


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
