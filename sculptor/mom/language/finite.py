"""Which kinds of values have a finite text, and the table without those that have none.

A schema may contradict itself or call for itself without end. Left in, it would lead decoding to a
place that no token leaves.
"""

from collections.abc import Sequence
from dataclasses import replace

from sculptor.mom.language.automaton import Node
from sculptor.mom.language.nodes import Array, Object, Union

NEVER = Union(options=())
"""What nothing satisfies."""


def prune(nodes: list[Node]) -> None:
    """Mark what no finite text satisfies as ``NEVER``, and take it out of what stands around it."""
    finite: set[int] = set()
    while True:
        found = {
            index
            for index, node in enumerate(nodes)
            if index not in finite and _is_finite(node, finite)
        }
        if not found:
            break
        finite |= found
    nodes[:] = [
        _pruned(index, nodes, finite) if index in finite else NEVER for index in range(len(nodes))
    ]


def _is_finite(node: Node, finite: set[int]) -> bool:
    """Whether some text satisfies a node, as far as the nodes in it are known to have one."""
    match node:
        case Union(options=options):
            return any(option in finite for option in options)
        case Array(item=item, least=least):
            return least == 0 or item in finite
        case Object():
            return _can_be_whole(node, finite)
        case _:
            return True


def _can_be_whole(node: Object, finite: set[int]) -> bool:
    """Whether an object can hold every key it needs, and as many as it needs."""
    if not all(member.value in finite for member in node.members if member.required):
        return False
    if node.most is not None and node.most < max(node.least, node.needed.bit_count()):
        return False
    possible = sum(member.value in finite for member in node.members)
    return node.free in finite or possible >= node.least


def _pruned(index: int, nodes: Sequence[Node], finite: set[int]) -> Node:
    node = nodes[index]
    match node:
        case Union():
            return Union(options=tuple(_options(index, nodes, finite)))
        case Array(item=item) if item not in finite:
            return Array(item=None)
        case Object(members=members, free=free):
            return replace(
                node,
                members=tuple(member for member in members if member.value in finite),
                free=free if free in finite else None,
            )
        case _:
            return node


def _options(index: int, nodes: Sequence[Node], finite: set[int]) -> list[int]:
    """Return the kinds below a union, unions in it opened, each once."""
    found: dict[int, None] = {index: None}
    for place in (queue := [index]):
        node = nodes[place]
        if isinstance(node, Union):
            new = [option for option in node.options if option in finite and option not in found]
            found |= dict.fromkeys(new)
            queue += new
    return [place for place in found if not isinstance(nodes[place], Union)]
