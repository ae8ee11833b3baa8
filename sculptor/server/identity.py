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
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sculptor.messages import Chain, Message, MessageKey, chain_of, parse_message
from sculptor.operations import FIRST_VERSION, VersionId
from sculptor.server.matching import LOOKED_UP_LINKS, ChainMatcher
from sculptor.server.names import SecretBytes, new_name
from sculptor.server.outside_names import (
    BODY,
    NAME_SOURCES,
    OWN_HEADER,
    agent_lane,
    agent_of,
    name_of,
    outside_id,
)
from sculptor.server.rewriting import dropped_before
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

_HINT_CHARS = 12
"""So much of a session's name tells the cache key it was begun under."""

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
        self._chains = ChainMatcher(store)

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
        agent = agent_of(headers)
        explicit = self._explicit(tenant, headers, body)
        minted = self._minted(tenant, messages)
        named = explicit or (minted.session if minted else None)
        if named is not None:
            below = minted if minted and minted.session == named else None
            return self._in_session(tenant, named, messages, chains, agent, now, below)
        hint = self._hint(tenant, body)
        found = self._chains.known(tenant, messages, chains, hint)
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
        value = name_of(name)
        if known is not None or value is None:
            return [known] if known is not None else []
        ids = (SessionId(self.key(tenant, source, value)) for source in NAME_SOURCES)
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
        found = outside_id(headers, body)
        if found is None:
            return None
        source, value = found
        named = SessionId(self.key(tenant, source, value))
        if source != OWN_HEADER and not source.startswith(BODY):
            return named
        if len(value) == 32 and self._store.session(tenant, SessionId(value)) is not None:
            return SessionId(value)
        if source == OWN_HEADER or self._store.session(tenant, named) is not None:
            return named  # of a body field: begun when it had names of its own
        return SessionId(self.key(tenant, OWN_HEADER, value))

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
        value = name_of(body.get("prompt_cache_key"))
        return self.key(tenant, "prompt_cache_key", value)[:_HINT_CHARS] if value else ""

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
            found, _ = self._chains.match(tenant, chains, name)
        else:
            # An id that we wrote tells which of several branches this is.
            found = self._chains.below(tenant, chains, name, below.node)
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


def _new_session(tenant: TenantId, now: float, hint: str = "") -> Session:
    seed = _secret.take(16)
    named = SessionId(hint + seed.hex()[len(hint) :])
    return Session(tenant=tenant, id=named, seed=seed, created=now, used=now)
