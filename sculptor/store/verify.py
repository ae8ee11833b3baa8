"""Whether a store still holds what was put into it.

Everything whose name is a digest is named anew: messages from their bytes, nodes from their parent
and message, chain values from the parent's and the parsed message, versions from their records,
checkpoints from a replay, steps from their messages. What points somewhere must find it there.
Nothing is mended; each disagreement is told in words.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from sculptor.errors import InvalidMessage, StoreCorrupt, StoreError
from sculptor.messages import (
    MessageHash,
    chain_of,
    digest,
    extend_chain,
    parse_message,
    wire_hash,
)
from sculptor.operations import FIRST_VERSION, VersionId
from sculptor.state import State
from sculptor.store.checkpoints import load_state
from sculptor.store.codec import load_operation
from sculptor.store.records import ROOT, Lane, Node, NodeId, SessionId, TenantId, node_id

_TOGETHER = 256
"""Nodes whose messages are in memory at one time."""


class VersionRow(NamedTuple):
    """A version as it lies in the store: its names and the bodies they must agree with."""

    id: VersionId
    parent: VersionId
    depth: int
    node: NodeId
    record: bytes | None
    checkpoint: bytes | None


class StepRow(NamedTuple):
    """A step as it lies in the store."""

    node: NodeId
    sequence: int
    digest: bytes
    messages: bytes


class Rows(Protocol):
    """What there is to look at, row by row."""

    def places(self) -> Sequence[tuple[TenantId, SessionId]]:
        """Return every session that any row names."""
        ...

    def messages(self) -> Iterator[tuple[TenantId, MessageHash, bytes]]:
        """Yield all messages."""
        ...

    def wires(self, tenant: TenantId, hashes: Sequence[MessageHash]) -> Mapping[MessageHash, bytes]:
        """Return the original bytes of messages."""
        ...

    def nodes(self, tenant: TenantId, session: SessionId) -> Sequence[Node]:
        """Return a session's nodes."""
        ...

    def lanes(self, tenant: TenantId, session: SessionId) -> Sequence[Lane]:
        """Return a session's lanes."""
        ...

    def versions(self, tenant: TenantId, session: SessionId) -> Sequence[VersionRow]:
        """Return a session's versions, parents first."""
        ...

    def steps(self, tenant: TenantId, session: SessionId) -> Sequence[StepRow]:
        """Return a session's steps."""
        ...


def verify(rows: Rows) -> list[str]:
    """Return what does not agree with itself, in words; an empty list is a sound store."""
    found = list(_readable("messages", _message_faults(rows)))
    try:
        places = rows.places()
    except StoreError as error:
        return [*found, str(error)]
    for tenant, session in places:
        about = f"session {session} of {tenant}"
        faults = _readable("it", _session_faults(rows, tenant, session))
        found += (f"{about}: {fault}" for fault in faults)
    return found


def _readable(what: str, faults: Iterator[str]) -> Iterator[str]:
    """Yield faults; where what is looked at cannot even be read, that is the last of them."""
    try:
        yield from faults
    except (AttributeError, StoreError, TypeError, ValueError) as error:
        yield f"{what} cannot be read: {error}"


def _message_faults(rows: Rows) -> Iterator[str]:
    for tenant, name, wire in rows.messages():
        if not isinstance(wire, bytes) or wire_hash(wire) != name:
            yield f"message {name.hex()} of {tenant}: its bytes have another hash"


def _session_faults(rows: Rows, tenant: TenantId, session: SessionId) -> Iterator[str]:
    nodes = {node.id: node for node in rows.nodes(tenant, session)}
    versions = {row.id: row for row in rows.versions(tenant, session)}
    yield from _node_faults(rows, tenant, nodes, versions)
    yield from _version_faults(versions, nodes)
    yield from _step_faults(rows.steps(tenant, session), nodes)
    yield from _lane_faults(rows.lanes(tenant, session), nodes, versions)


def _node_faults(
    rows: Rows,
    tenant: TenantId,
    nodes: Mapping[NodeId, Node],
    versions: Mapping[VersionId, VersionRow],
) -> Iterator[str]:
    for some in _batches(list(nodes.values())):
        wires = rows.wires(tenant, [name for node in some for name in _messages_of(node)])
        for node in some:
            about = f"node {node.id.hex()}"
            if node.id != node_id(node.parent, node.message):
                yield f"{about} is not named by its parent and message"
            if node.version != FIRST_VERSION and node.version not in versions:
                yield f"{about} stands on version {node.version}, which is missing"
            for name in _messages_of(node):
                if name not in wires:
                    yield f"{about} needs message {name.hex()}, which is missing"
            if node.parent != ROOT and node.parent not in nodes:
                yield f"{about} hangs on node {node.parent.hex()}, which is missing"
            elif node.message in wires:
                fault = _chain_fault(node, nodes.get(node.parent), wires[node.message], tenant)
                if fault:
                    yield f"{about} {fault}"


def _messages_of(node: Node) -> list[MessageHash]:
    return [node.message, *(name for _, name in (*node.instructions, *node.respelled))]


def _batches(nodes: Sequence[Node]) -> Iterator[Sequence[Node]]:
    for at in range(0, len(nodes), _TOGETHER):
        yield nodes[at : at + _TOGETHER]


def _chain_fault(node: Node, parent: Node | None, wire: bytes, tenant: TenantId) -> str | None:
    try:
        message = parse_message(wire)
    except (InvalidMessage, ValueError) as error:
        return f"holds a message that cannot be read ({error})"
    if parent is None:
        (chain,) = chain_of([message], tenant)
    else:
        chain = parent.chain if message.link is None else extend_chain(parent.chain, message.link)
    return None if chain == node.chain else "has another chain value than its path gives"


def _version_faults(
    versions: Mapping[VersionId, VersionRow], nodes: Mapping[NodeId, Node]
) -> Iterator[str]:
    states: dict[VersionId, State] = {FIRST_VERSION: State()}
    depths: dict[VersionId, int] = {FIRST_VERSION: 0}
    for row in sorted(versions.values(), key=lambda row: row.depth):
        about = f"version {row.id}"
        depths[row.id] = row.depth
        if row.node not in nodes:
            yield f"{about} hangs on node {row.node.hex()}, which is missing"
        if depths.get(row.parent) != row.depth - 1:
            yield f"{about} stands on version {row.parent}, which is missing or not one before it"
            continue
        try:
            operation = load_operation(row.record)
            if (operation.version, operation.parent, operation.depth) != row[:3]:
                yield f"{about} is not named by its operation"
            if row.parent in states:
                states[row.id] = states[row.parent].after(operation.changes)
            if row.checkpoint is not None and load_state(row.checkpoint) != states.get(row.id):
                yield f"{about} has a checkpoint that is not what its operations give"
        except (StoreCorrupt, KeyError) as error:
            yield f"{about} cannot be replayed ({error})"


def _step_faults(steps: Sequence[StepRow], nodes: Mapping[NodeId, Node]) -> Iterator[str]:
    for step in steps:
        about = f"step {step.sequence} of node {step.node.hex()}"
        if step.node not in nodes:
            yield f"{about} hangs on a node that is missing"
        if digest(step.messages) != step.digest:
            yield f"{about} has another hash than its messages"


def _lane_faults(
    lanes: Sequence[Lane],
    nodes: Mapping[NodeId, Node],
    versions: Mapping[VersionId, VersionRow],
) -> Iterator[str]:
    for lane in lanes:
        if lane.node != ROOT and lane.node not in nodes:
            yield f"lane {lane.id} is at node {lane.node.hex()}, which is missing"
        if lane.version != FIRST_VERSION and lane.version not in versions:
            yield f"lane {lane.id} is at version {lane.version}, which is missing"
