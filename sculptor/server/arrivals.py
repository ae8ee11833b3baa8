"""What a request brings that the store does not hold yet.

Messages after the place that is known make new nodes. A known message counts as known by what it
means, not by its bytes, so the client may send it in other ones: with another name, a space
stripped, its own answer written anew. Those bytes are an original too. They are stored, and the
request's last node says where on the path they stand; where the request ends at a node that is
there already, they are added to that node. So what came last can be shown, and nothing is lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from sculptor.messages import Message, MessageHash
from sculptor.server.identity import Placed
from sculptor.store.records import ROOT, Node, NodeId, Respelled, node_id

Known = Callable[[Node, int], tuple[int, list[MessageHash]]]
"""Tells how many nodes the path to a node holds, and in which bytes its last so many came last."""

Placings = tuple[tuple[int, MessageHash], ...]


class Arrival(NamedTuple):
    """What a request brings: nodes and messages, each by index in the client's list.

    ``height``: how many nodes the path to the request's last node holds.
    """

    nodes: list[tuple[int, Node]]
    again: Respelled | None
    indexes: tuple[int, ...]
    height: int


def read_arrival(placed: Placed, messages: Sequence[Message], known: Known, now: float) -> Arrival:
    """Return what a request brings to its place."""
    nodes = _new_nodes(placed, messages, now)
    if not nodes and placed.node is None:
        node = _instruction_node(placed, messages, now)
        return Arrival([(len(messages) - 1, node)], None, tuple(range(len(messages))), 1)
    height, changed = _changed(placed, messages, known)
    respelled = tuple((position, messages[i].hash) for position, i in changed.items())
    instructions = instructions_of(messages)
    again = None
    if nodes and (instructions or respelled):
        index, last = nodes[-1]
        nodes[-1] = (index, replace(last, instructions=instructions, respelled=respelled))
    elif not nodes and placed.node is not None:
        again = _added(placed.node, instructions, respelled)
    indexes = (*(i for i, _ in nodes), *(i for i, _ in instructions), *changed.values())
    return Arrival(nodes, again, indexes, height + len(nodes))


def _changed(
    placed: Placed, messages: Sequence[Message], known: Known
) -> tuple[int, dict[int, int]]:
    """Return the height of the known path, and what came in other bytes than it holds.

    The latter as the index in the client's list by the position on the path.
    """
    if placed.node is None:
        return 0, {}
    linked = [i for i, m in enumerate(messages[: placed.matched]) if m.link is not None]
    height, hashes = known(placed.node, len(linked))
    pairs = enumerate(zip(hashes, linked, strict=True), start=height - len(linked))
    return height, {position: i for position, (name, i) in pairs if messages[i].hash != name}


def _added(node: Node, instructions: Placings, respelled: Placings) -> Respelled | None:
    """Return what one more request adds to a node that is there, or None where it is nothing."""
    before = dict(node.instructions)
    changed = tuple((index, name) for index, name in instructions if before.get(index) != name)
    if not changed and not respelled:
        return None
    return Respelled(
        tenant=node.tenant,
        session=node.session,
        node=node.id,
        instructions=changed,
        respelled=respelled,
    )


def _new_nodes(placed: Placed, messages: Sequence[Message], now: float) -> list[tuple[int, Node]]:
    parent = placed.node.id if placed.node else ROOT
    covers = placed.node.covers if placed.node else False
    made: list[tuple[int, Node]] = []
    for index in range(placed.matched, len(messages)):
        message = messages[index]
        if message.link is None:
            continue
        node = Node(
            tenant=placed.session.tenant,
            session=placed.session.id,
            id=node_id(parent, message.hash),
            parent=parent,
            chain=placed.chains[index],
            message=message.hash,
            index=index,
            covers=covers,
            version=placed.lane.version,
            depth=placed.lane.depth,
            time=now,
        )
        made.append((index, node))
        parent = node.id
    return made


def _instruction_node(placed: Placed, messages: Sequence[Message], now: float) -> Node:
    """Return a node for a list of system messages alone."""
    last = messages[-1]
    return Node(
        tenant=placed.session.tenant,
        session=placed.session.id,
        id=node_id(NodeId(ROOT), last.hash),
        parent=NodeId(ROOT),
        chain=placed.chains[-1],
        message=last.hash,
        index=len(messages) - 1,
        instructions=instructions_of(messages[:-1]),
        time=now,
    )


def instructions_of(messages: Sequence[Message]) -> Placings:
    """Return a request's system messages, by index in its list."""
    return tuple((index, m.hash) for index, m in enumerate(messages) if m.link is None)
