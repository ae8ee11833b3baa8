"""Which conversation a request belongs to, and where in it.

All look-ups are within the tenant. An explicit id (a header, a body field) names the session, in
any letters and of any length, for only a digest of it is kept; an id we minted names its node
alone, whatever conversation reads alike; else the prefix chain decides, and it carries state only
where it covers an answer of ours: two people who begin alike share bytes, not state. Where several
sessions were given the very same answers to the same words, nothing in the list tells whose it is;
the one begun under the same ``prompt_cache_key`` is taken, else a new one is opened, for two
conversations must not meet. A list that goes on where a lane's head is continues that lane;
anywhere else it is a branch with the state of that place; a client that rewrote its history under
an explicit id keeps what still applies.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from sculptor.messages import Chain, Message, MessageKey, chain_of, parse_message
from sculptor.operations import FIRST_VERSION, VersionId
from sculptor.server.names import SecretBytes, new_name
from sculptor.store.protocol import Store
from sculptor.store.records import (
    ROOT,
    CallId,
    Lane,
    LaneId,
    Node,
    NodeId,
    Session,
    SessionId,
    TenantId,
    last_sent,
)

LOOKED_UP_LINKS = 64
"""So many of the last chain values are looked up."""

_FIRST_LOOKED_UP = 4
"""So many of them first, in a query of their own: where a conversation goes on, one is its end."""

_HINT_CHARS = 12
"""So much of a session's name tells the cache key it was begun under."""

_HARNESS_HEADERS = (
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "thread-id",
    "x-session-affinity",
)
_OWN_HEADER = "x-session-id"
_BODY = "body."
_NAME_SOURCES = (
    _OWN_HEADER,
    *_HARNESS_HEADERS,
    f"{_BODY}session_id",
    f"{_BODY}conversation_id",
    f"{_BODY}user_id",
)
"""Where a client's name of a session is looked for; the header it stood in is known by its digest
alone, so other ``x-…-session-id`` headers cannot be. Of the body fields only sessions begun before
they meant the same as our own header are found so."""

_AGENT_HEADERS = ("x-claude-code-agent-id", "x-codex-window-id")
_AGENT = re.compile(r"[\x20-\x7e]{1,256}")
"""What an agent may be called: unlike a session's, its name is kept and shown."""

_COMPARED_LANES = 8
_secret = SecretBytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a request goes on.

    ``matched`` leading messages are known, the last of them at ``node``; ``expected`` is the
    version the lane's head must still have when it moves (None: the lane is new).
    """

    session: Session
    is_new: bool
    lane: Lane
    expected: VersionId | None
    node: Node | None
    matched: int
    chains: tuple[Chain, ...]
    reason: str


class Identity:
    """Resolves requests against a store."""

    def __init__(self, store: Store, secret: bytes) -> None:
        self._store, self._secret = store, secret

    def place(
        self,
        tenant: TenantId,
        messages: Sequence[Message],
        *,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        now: float,
    ) -> Placed:
        """Return where a request goes on; nothing is written."""
        chains = tuple(chain_of(messages, tenant))
        agent = _agent(headers)
        explicit = self._explicit(tenant, headers, body)
        minted = self._minted(tenant, messages)
        named = explicit or (minted.session if minted else None)
        if named is not None:
            below = minted if minted and minted.session == named else None
            return self._in_session(tenant, named, messages, chains, agent, now, below)
        hint = self._hint(tenant, body)
        found = self._known(tenant, messages, chains, hint)
        session = None if found is None else self._store.session(tenant, found[1].session)
        if found is None or session is None:
            opened = _new_session(tenant, now, hint)
            return self._fresh(tenant, opened, chains, agent, now, "new")
        return self._at(session, found, chains, agent, now, "chain")

    def called(self, tenant: TenantId, name: str) -> list[Session]:
        """Return the session with this id, else those that a client gave this name, if any.

        A name counts as sent in ``x-session-id``, in a harness's header or in a body field.
        """
        known = self._store.session(tenant, SessionId(name))
        value = _value(name)
        if known is not None or value is None:
            return [known] if known is not None else []
        ids = (SessionId(self.key(tenant, source, value)) for source in _NAME_SOURCES)
        return [found for each in ids if (found := self._store.session(tenant, each)) is not None]

    def key(self, tenant: str, source: str, value: str) -> str:
        """Return the stored form of an outside id: a keyed digest, so that ids stay private."""
        text = f"{tenant}|{source}|{value}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]

    def _explicit(
        self, tenant: TenantId, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> SessionId | None:
        """Return the session that the request names, begun or not.

        In a body field a name means what it means in our own header; each harness's header has
        names of its own.
        """
        found = _outside_id(headers, body)
        if found is None:
            return None
        source, value = found
        named = SessionId(self.key(tenant, source, value))
        if source != _OWN_HEADER and not source.startswith(_BODY):
            return named
        if len(value) == 32 and self._store.session(tenant, SessionId(value)) is not None:
            return SessionId(value)
        if source == _OWN_HEADER or self._store.session(tenant, named) is not None:
            return named  # of a body field: begun when it had names of its own
        return SessionId(self.key(tenant, _OWN_HEADER, value))

    def _minted(self, tenant: TenantId, messages: Sequence[Message]) -> CallId | None:
        """Return the newest call id that we wrote ourselves, and where we did."""
        for message in reversed(messages[-LOOKED_UP_LINKS:]):
            for name in message.call_ids:
                call = self._store.call(tenant, name)
                if call is not None and call.minted:
                    return call
        return None

    def _hint(self, tenant: TenantId, body: Mapping[str, Any]) -> str:
        """Return how sessions begun under the request's cache key are named, or nothing.

        Applications may use one key for all their users, so it never makes a match: it only tells
        apart what the chain does not.
        """
        value = _value(body.get("prompt_cache_key"))
        return self.key(tenant, "prompt_cache_key", value)[:_HINT_CHARS] if value else ""

    def _known(
        self, tenant: TenantId, messages: Sequence[Message], chains: Sequence[Chain], hint: str
    ) -> tuple[int, Node] | None:
        """Return the best match in the one session that the list can belong to, or None."""
        if not any(message.role == "assistant" for message in messages):
            return None  # without an answer in it, a list can cover none of ours
        found, nodes = self._match(tenant, chains)
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

    def _match(
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

    def _in_session(
        self,
        tenant: TenantId,
        name: SessionId,
        messages: Sequence[Message],
        chains: tuple[Chain, ...],
        agent: str,
        now: float,
        below: CallId | None,
    ) -> Placed:
        session = self._store.session(tenant, name)
        if session is None:
            return self._fresh(
                tenant, replace(_new_session(tenant, now), id=name), chains, agent, now, "named"
            )
        if below is None:
            found, _ = self._match(tenant, chains, name)
        else:
            # Branches may read alike; an id that we wrote tells which of them this is.
            nodes = self._store.nodes_by_chain(tenant, _last_links(chains), name)
            found = self._longest(chains, following(nodes, below.node) or nodes, any_match=True)
        if found is not None:
            return self._at(session, found, chains, agent, now, "named")
        return self._rewritten(session, messages, chains, agent, now)

    def _at(
        self,
        session: Session,
        found: tuple[int, Node],
        chains: tuple[Chain, ...],
        agent: str,
        now: float,
        reason: str,
    ) -> Placed:
        matched, node = found
        named = LaneId(agent_lane(agent)) if agent else None
        for lane in self._store.lanes(session.tenant, session.id):
            if lane.node == node.id and (named is None or lane.id == named):
                return Placed(
                    session=session,
                    is_new=False,
                    lane=replace(lane, used=now),
                    expected=lane.version,
                    node=node,
                    matched=matched,
                    chains=chains,
                    reason=reason,
                )
        lane = Lane(
            tenant=session.tenant,
            session=session.id,
            id=LaneId(new_name()[:12]),
            node=node.id,
            version=node.version,
            depth=node.depth,
            # A place where the tools were used keeps them, however short its view is now.
            admitted=node.depth > 0,
            agent=agent,
            used=now,
        )
        return Placed(
            session=session,
            is_new=False,
            lane=lane,
            expected=None,
            node=node,
            matched=matched,
            chains=chains,
            reason=f"{reason}, branch",
        )

    def _rewritten(
        self,
        session: Session,
        messages: Sequence[Message],
        chains: tuple[Chain, ...],
        agent: str,
        now: float,
    ) -> Placed:
        """Place a list that matches nowhere: the lane it overlaps with goes on, or a new one."""
        fresh = self._fresh(session.tenant, session, chains, agent, now, "named, new lane")
        for lane in self._store.lanes(session.tenant, session.id)[:_COMPARED_LANES]:
            if agent and lane.agent != agent:
                continue
            path = self._store.path(session.tenant, session.id, lane.node)
            old = self._keys(session.tenant, path)
            dropped = dropped_before(old, [m.key for m in messages if m.link is not None])
            if dropped is None:
                continue
            before = {MessageKey(bytes.fromhex(k)): n for k, n in lane.dropped.items()}
            counts = Counter(before) + Counter(dropped)
            moved = replace(
                fresh.lane,
                version=lane.version,
                depth=lane.depth,
                admitted=lane.admitted,
                dropped={key.hex(): count for key, count in counts.items()},
            )
            return replace(fresh, lane=moved, is_new=False, reason="named, rewritten")
        return replace(fresh, is_new=False)

    def _keys(self, tenant: TenantId, path: Sequence[Node]) -> list[MessageKey]:
        sent = last_sent(path)
        wires = self._store.wires(tenant, sent)
        return [parse_message(wires[name]).key for name in sent if name in wires]

    def _fresh(
        self,
        tenant: TenantId,
        session: Session,
        chains: tuple[Chain, ...],
        agent: str,
        now: float,
        reason: str,
    ) -> Placed:
        lane = Lane(
            tenant=tenant,
            session=session.id,
            id=LaneId(agent_lane(agent) if agent else new_name()[:12]),
            node=NodeId(ROOT),
            version=FIRST_VERSION,
            agent=agent,
            used=now,
        )
        held = self._store.lane(tenant, session.id, lane.id) if agent else None
        return Placed(
            session=session,
            is_new=True,
            lane=lane if held is None else replace(lane, id=LaneId(new_name()[:12])),
            expected=None,
            node=None,
            matched=0,
            chains=chains,
            reason=reason,
        )


def _last_links(chains: Sequence[Chain]) -> list[Chain]:
    return list(dict.fromkeys(chains[-LOOKED_UP_LINKS:]))


def following(nodes: Iterable[Node], start: NodeId) -> list[Node]:
    """Return the node ``start`` and all that come after it by way of others of these nodes."""
    found: dict[NodeId, Node] = {}
    for node in sorted(nodes, key=lambda node: node.index):
        if node.id == start or node.parent in found:
            found[node.id] = node
    return list(found.values())


def agent_lane(agent: str) -> str:
    """Return the lane that an agent's header names."""
    return hashlib.blake2b(agent.encode(), digest_size=6).hexdigest()


def dropped_before(
    old: Sequence[MessageKey], new: Sequence[MessageKey]
) -> dict[MessageKey, int] | None:
    """Return how many of each message a client removed from before what it kept.

    The kept stretch is the longest run of the new list that stands in the old one; None where
    fewer than two messages are shared, for one may be chance.
    """
    positions: dict[MessageKey, list[int]] = {}
    for index, key in enumerate(old):
        positions.setdefault(key, []).append(index)
    best, runs = (0, 0, 0), dict[int, int]()
    for index, key in enumerate(new):
        runs = {at: runs.get(at - 1, 0) + 1 for at in positions.get(key, ())}
        for at, length in runs.items():
            best = max(best, (length, at - length + 1, index - length + 1))
    length, old_start, new_start = best
    if length < min(2, len(old)):
        return None
    removed = Counter(old[:old_start])
    removed.subtract(Counter(new[:new_start]))
    return {key: count for key, count in removed.items() if count > 0}


def _outside_id(headers: Mapping[str, str], body: Mapping[str, Any]) -> tuple[str, str] | None:
    for name in (_OWN_HEADER, *_HARNESS_HEADERS):
        value = _header_value(headers.get(name))
        if value:
            return name, value
    for name in sorted(name for name in headers if name.endswith("-session-id")):
        value = _header_value(headers[name]) if name.startswith("x-") else None
        if value:
            return name, value
    metadata = body.get("metadata")
    for source, key in (
        (metadata, "session_id"),
        (metadata, "conversation_id"),
        (body, "session_id"),
    ):
        value = _value(source.get(key)) if isinstance(source, Mapping) else None
        if value:
            return f"{_BODY}{key}", value
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    inside = _inside_user_id(user) if isinstance(user, str) else None
    return (f"{_BODY}user_id", inside) if inside else None


def _inside_user_id(user: str) -> str | None:
    """Return the session id that some harnesses put into ``metadata.user_id``."""
    if user.startswith("{"):
        try:
            return _value(orjson.loads(user).get("session_id"))
        except orjson.JSONDecodeError:
            return None
    _, mark, value = user.rpartition("_session_")
    return _value(value) if mark else None


def _value(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _header_value(value: str | None) -> str | None:
    """Return a header's value as its client wrote it: in UTF-8, else in the Latin-1 it came as."""
    if value is None or value.isascii():
        return _value(value)
    try:
        return _value(value.encode("latin-1").decode())
    except UnicodeError:
        return _value(value)


def _agent(headers: Mapping[str, str]) -> str:
    given = (headers.get(name, "") for name in _AGENT_HEADERS)
    return next((value for value in given if _AGENT.fullmatch(value)), "")


def _new_session(tenant: TenantId, now: float, hint: str = "") -> Session:
    seed = _secret.take(16)
    named = SessionId(hint + seed.hex()[len(hint) :])
    return Session(tenant=tenant, id=named, seed=seed, created=now, used=now)
