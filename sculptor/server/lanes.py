"""Lanes: the place of a request in its conversation, opened and kept for the next request.

A request's messages are on their way to the store before anything else happens to them. A lane
whose request failed or was cancelled is forgotten in memory, so that what counts is always what was
written.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any

from sculptor.context import PROTECTED_TOKENS, Context, Log, Step
from sculptor.errors import StoreCorrupt
from sculptor.loop import ClientRequest, Turn
from sculptor.messages import Message, MessageHash, parse_message
from sculptor.rendering import is_counted, original_tokens
from sculptor.server.arrivals import Arrival, instructions_of, read_arrival
from sculptor.server.identity import Identity, Placed
from sculptor.server.kept_lanes import KeptLanes
from sculptor.server.lane_writing import LaneWriter
from sculptor.server.live_lane import LiveLane, StoredLog
from sculptor.store.checkpoints import Checkpoints
from sculptor.store.protocol import Store
from sculptor.store.records import (
    Head,
    Lane,
    LaneId,
    MoveHead,
    Node,
    NodeId,
    Record,
    Session,
    SessionId,
    StoredMessage,
    TenantId,
    given_under,
    last_sent,
)
from sculptor.tokens import TokenCounter


class Lanes:
    """Opens and keeps the lanes of one server; ``writer`` writes them."""

    def __init__(
        self,
        store: Store,
        identity: Identity,
        *,
        counter_of: Callable[[str], TokenCounter],
        inline: bool = False,
        protected_tokens: int = PROTECTED_TOKENS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._identity, self.counter_of = identity, counter_of
        self._inline, self._clock = inline, clock
        self._protected_tokens = protected_tokens
        self._kept = KeptLanes()
        self.writer = LaneWriter(store, forget=self.forget, clock=clock)

    def open(
        self, tenant: TenantId, request: ClientRequest, headers: Mapping[str, str]
    ) -> LiveLane:
        """Find the request's place, begin to write what is new, and return its lane.

        Await ``writer.settle`` before anything is answered. Raises StoreError where it cannot work.
        """
        now = self._clock()
        placed = self._identity.place(
            tenant, request.messages, headers=headers, body=request.value, now=now
        )
        known = partial(self._known, placed.lane)
        brought = read_arrival(placed, request.messages, known, now)
        if brought.again is not None and brought.again.respelled:
            self._kept.spellings += 1
        node = brought.nodes[-1][1] if brought.nodes else placed.node
        assert node is not None
        lane = replace(placed.lane, node=node.id)
        live = LiveLane(
            session=placed.session,
            lane=lane,
            expected=lane.head,
            node=node,
            nodes={index: each.id for index, each in brought.nodes},
            placed=placed,
            build=lambda live: self._build(live, request),
            opening=self._opening(placed, request.messages, brought, lane),
            height=brought.height,
            sent=tuple(m.hash for m in request.messages if m.link is not None),
            spellings=self._kept.spellings,
            instructions=instructions_of(request.messages),
        )
        live.written = self.store.write(live.opening)
        return live

    def count(self, request: ClientRequest) -> int:
        """Count a request's tokens; opening its lane then finds them known."""
        counter = self.counter_of(request.model)
        return sum(original_tokens(message, counter) for message in request.messages)

    def uncounted_bytes(self, request: ClientRequest) -> int:
        """Return how much of a request is new at its end: messages whose tokens nobody counted."""
        counter = self.counter_of(request.model)
        new = takewhile(lambda each: not is_counted(each, counter), reversed(request.messages))
        return sum(len(message.wire) for message in new)

    def resume(self, tenant: TenantId, session: Session, lane: Lane) -> LiveLane:
        """Return a lane as its head stands, for people who look at it or change it."""
        path = self.store.path(tenant, session.id, lane.node)
        sent = last_sent(path)
        asked = next((node for node in reversed(path) if not node.answer), path[-1])
        given = given_under(path[-1]) if path[-1].answer else None
        instructions = dict(asked.instructions if given is None else given)
        if instructions.get(asked.index) == asked.message:
            del instructions[asked.index]  # of a list of system messages alone: the node itself
        wires = self.store.wires(tenant, [*sent, *instructions.values()])
        parsed = [(node, parse_message(wires[name])) for node, name in zip(path, sent, strict=True)]
        # Of system messages those of the newest request count, and of an answered one those it was
        # answered under, not those a path begins with.
        messages = [m for node, m in parsed if m.link is not None or node is asked]
        for index, name in sorted(instructions.items()):
            if name in wires:
                messages.insert(min(index, len(messages)), parse_message(wires[name]))
        return LiveLane(
            session=session,
            lane=lane,
            expected=lane.head,
            node=path[-1],
            nodes={},
            placed=None,
            build=lambda live: self._filled(live, messages, ""),
        )

    async def answer(self, live: LiveLane, turn: Turn, wire: bytes) -> None:
        """Write the answer of a request and keep its lane for the next."""
        await self.writer.answer(live, turn, wire)
        self._kept.put(live)

    async def save(self, live: LiveLane) -> None:
        """Write what a person did to a resumed lane; raises StaleHead where it moved meanwhile."""
        await self.writer.save(live)
        self.forget(live)

    def forget(self, live: LiveLane) -> None:
        """Drop a lane from memory; the next request reads what was written."""
        self._kept.take(live.name)

    def forget_session(self, tenant: TenantId, session: SessionId) -> None:
        """Drop all of a session from memory, because it was deleted."""
        self._kept.drop_session(tenant, session)

    def sessions_called(self, tenant: TenantId, name: str) -> list[Session]:
        """Return the session with this id, else those that a client gave this name, if any."""
        return self._identity.called(tenant, name)

    # Opening

    def _known(self, lane: Lane, node: Node, count: int) -> tuple[int, list[MessageHash]]:
        """Return the height of a path and in which bytes its last ``count`` messages came last.

        What is kept in memory of the lane tells it where that ends at this node and no node was
        given other bytes since; else the path is read.
        """
        kept = self._kept.look((lane.tenant, lane.session, lane.id))
        if kept is not None and kept.node == node.id and not node.respelled:
            is_whole = len(kept.sent) == count - 1
            if is_whole and kept.spellings == self._kept.spellings:
                return kept.height, [*kept.sent, node.message]
        path = self.store.path(node.tenant, node.session, node.id)
        if len(path) < count:
            raise StoreCorrupt(f"the path to node {node.id.hex()} is broken")
        return len(path), last_sent(path)[len(path) - count :]

    def _opening(
        self,
        placed: Placed,
        messages: Sequence[Message],
        brought: Arrival,
        lane: Lane,
    ) -> list[Record]:
        session = placed.session
        if session.used != lane.used:
            session = replace(session, used=lane.used)
        tenant = session.tenant
        records: list[Record] = [session]
        records += [
            StoredMessage(tenant=tenant, hash=messages[i].hash, wire=messages[i].wire)
            for i in brought.indexes
        ]
        records += [node for _, node in brought.nodes]
        records += [brought.again] if brought.again else []
        start = None if placed.expected is None else Head(placed.lane.node, placed.expected)
        records.append(MoveHead(lane=lane, expected=start))
        return records

    def _build(self, live: LiveLane, request: ClientRequest) -> Context:
        """Make a lane's context from the request, or go on with the one kept in memory."""
        # Taken out while it is used: another request of this lane gets a context of its own.
        kept, messages = self._kept.take(live.name), request.messages
        context = kept.context_for(messages, live.lane.version) if kept else None
        if kept is None or context is None:
            context = self._filled(live, messages, request.model)
        else:
            live.checkpoints = kept.checkpoints
            context.extend(messages[len(context.messages) :])
            context.steps = []
        self._load_steps(live, context)
        return context

    def _filled(self, live: LiveLane, messages: Sequence[Message], model: str) -> Context:
        """Make a lane's context from what is stored."""
        lane = live.lane
        context = self._new_context(live.session, lane, model)
        context.extend(messages)
        if lane.depth:
            for hit in self.store.hits(lane.tenant, lane.session):
                context.hits[hit.id] = hit
        live.checkpoints = self._checkpoints_of(lane)
        return context

    def _checkpoints_of(self, lane: Lane) -> Checkpoints:
        if not lane.depth:
            return Checkpoints()
        return Checkpoints(self.store.since_checkpoint(lane.tenant, lane.session, lane.version))

    def _new_context(self, session: Session, lane: Lane, model: str) -> Context:
        log: Log = StoredLog(self.store, session, lane.version, lane.depth)
        state = self.store.state(lane.tenant, session.id, lane.version) if lane.depth else None
        dropped = {_key(name): count for name, count in lane.dropped.items()}
        return Context(
            seed=session.seed,
            counter=self.counter_of(model),
            state=state,
            version=lane.version,
            depth=lane.depth,
            log=log,
            inline=self._inline,
            protected_tokens=self._protected_tokens,
            dropped=dropped,
            clock=self._clock,
        )

    def _is_answered(self, node: Node) -> bool:
        children = self.store.children(node.tenant, node.session, node.id)
        return any(child.answer for child in children)

    def _load_steps(self, live: LiveLane, context: Context) -> None:
        """Bring back the step groups of the open turn, where it spans several requests.

        A request that was answered before is a new try: what the last one did there stays out.
        """
        placed = live.placed
        start = context.turn_start
        if placed is None or placed.node is None or placed.matched <= start:
            return
        is_new_try = placed.matched == len(context.messages) and self._is_answered(placed.node)
        left_out = placed.node.id if is_new_try else None
        index, node = placed.matched - 1, placed.node
        found: dict[int, NodeId] = {}
        while index >= start:
            if context.messages[index].link is not None:
                found[index] = node.id
                above = self.store.node(node.tenant, node.session, node.parent)
                if above is None:
                    break
                node = above
            index -= 1
        live.nodes = {**found, **live.nodes}
        places = {name: at for at, name in found.items()}
        steps = self.store.steps(node.tenant, node.session, [found[i] for i in sorted(found)])
        for step in steps:
            if step.kind != "produced" and step.node != left_out:
                messages = tuple(parse_message(wire) for wire in step.messages)
                context.steps.append(Step(places[step.node], messages, step.kind == "mixed"))
        live.sequence = len(steps)


def lane_of(store: Store, tenant: TenantId, session: SessionId, name: str | None) -> Lane | None:
    """Return a session's lane by name, or the one used last."""
    if name:
        return store.lane(tenant, session, LaneId(name))
    lanes = store.lanes(tenant, session)
    return lanes[0] if lanes else None


def _key(name: str) -> Any:
    return bytes.fromhex(name)
