"""The prefix chain of a request's messages, looked up in a tenant's store."""

from collections.abc import Iterable, Sequence

from sculptor.messages import Chain, Message
from sculptor.store.protocol import Store
from sculptor.store.records import Node, NodeId, SessionId, TenantId

LOOKED_UP_LINKS = 64
"""So many of the last chain values are looked up."""

_FIRST_LOOKED_UP = 4
"""So many of them first, in a query of their own: where a conversation goes on, one is its end."""


class ChainMatcher:
    """Finds the node at which a list of messages goes on; nothing is written."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(
        self, tenant: TenantId, messages: Sequence[Message], chains: Sequence[Chain], hint: str
    ) -> tuple[int, Node] | None:
        """Return the best match in the one session that the list can belong to, or None."""
        if not any(message.role == "assistant" for message in messages):
            return None  # without an answer in it, a list can cover none of ours
        found, nodes = self.match(tenant, chains)
        if found is None:
            return None
        answers = (i for i in range(found[0] - 1, -1, -1) if messages[i].role == "assistant")
        answer = chains[next(answers, 0)]
        if all(node.chain != answer for node in nodes):
            nodes += self._store.nodes_by_chain(tenant, [answer])
        owners = {node.session for node in nodes if node.chain == answer and node.covers}
        if len(owners) > 1:
            owners = {owner for owner in owners if hint and owner.startswith(hint)}
        if len(owners) != 1:
            return None
        return self._longest(chains, [node for node in nodes if node.session in owners])

    def match(
        self, tenant: TenantId, chains: Sequence[Chain], session: SessionId | None = None
    ) -> tuple[tuple[int, Node] | None, list[Node]]:
        """Return the best match, and the nodes looked at; within ``session`` any match counts."""
        wanted = _last_links(chains)
        nodes: list[Node] = []
        for stretch in (wanted[-_FIRST_LOOKED_UP:], wanted[:-_FIRST_LOOKED_UP]):
            if stretch:
                nodes += self._store.nodes_by_chain(tenant, stretch, session)
            found = self._longest(chains, nodes, any_match=session is not None)
            if found is not None:
                return found, nodes
        return None, nodes

    def below(
        self, tenant: TenantId, chains: Sequence[Chain], session: SessionId, start: NodeId
    ) -> tuple[int, Node] | None:
        """Return the best match from the node ``start`` on, for branches may read alike."""
        nodes = self._store.nodes_by_chain(tenant, _last_links(chains), session)
        return self._longest(chains, _following(nodes, start) or nodes, any_match=True)

    def _longest(
        self, chains: Sequence[Chain], nodes: Iterable[Node], *, any_match: bool = False
    ) -> tuple[int, Node] | None:
        """Return how many leading messages the best match covers, and its node."""
        last = {chain: index for index, chain in enumerate(chains)}
        best: list[Node] = []
        most = -1
        for node in nodes:
            index = last.get(node.chain, -1) if any_match or node.covers else -1
            if index > most:
                most, best = index, [node]
            elif best and index == most:
                best.append(node)
        if not best:
            return None
        chosen = best[0] if len(best) == 1 else max(best, key=self._newest_head)
        return most + 1, chosen

    def _newest_head(self, node: Node) -> tuple[bool, float]:
        return self._is_head(node), node.time

    def _is_head(self, node: Node) -> bool:
        return not self._store.children(node.tenant, node.session, node.id)


def _last_links(chains: Sequence[Chain]) -> list[Chain]:
    """Return the last chain values, each once, as many as are looked up."""
    return list(dict.fromkeys(chains[-LOOKED_UP_LINKS:]))


def _following(nodes: Iterable[Node], start: NodeId) -> list[Node]:
    """Return the node ``start`` and all that come after it by way of others of these nodes."""
    found: dict[NodeId, Node] = {}
    for node in sorted(nodes, key=lambda node: node.index):
        if node.id == start or node.parent in found:
            found[node.id] = node
    return list(found.values())
