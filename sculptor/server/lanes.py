"""A lane while a request works on it: its context in memory, and what is written of it.

A request's messages are on their way to the store before anything else happens to them, and are
written before anything made of them is; each step is written before the model sees its results, the
answer before its last byte goes out. A lane's head moves by compare-and-swap; who loses the race
goes on as a branch of its own. A lane whose request failed or was cancelled is forgotten in memory,
so that what counts is always what was written.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from sculptor.chat import Usage
from sculptor.context import PROTECTED_TOKENS, Context, Hit, Log, Step
from sculptor.errors import OperationNotFound, StaleHead, StoreCorrupt
from sculptor.loop import ClientRequest, Turn
from sculptor.messages import Message, MessageHash, extend_chain, parse_message
from sculptor.operations import Operation, VersionId, operation_id
from sculptor.rendering import is_counted, render_message
from sculptor.server.arrivals import Arrival, read_arrival
from sculptor.server.identity import Identity, Placed
from sculptor.server.names import new_name
from sculptor.store.checkpoints import Checkpoints
from sculptor.store.protocol import Store
from sculptor.store.records import (
    CallId,
    Lane,
    LaneId,
    MoveHead,
    Node,
    NodeId,
    Record,
    Session,
    SessionId,
    StoredHit,
    StoredMessage,
    StoredOperation,
    StoredStep,
    TenantId,
    UsageRow,
    last_sent,
    node_id,
)
from sculptor.tokens import TokenCounter

_CACHED_LANES = 256
_CACHED_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES, _HASH_BYTES = 2_048, 64
"""About what a lane kept in memory takes, and one hash in it."""


class StoredLog:
    """A lane's operations, read from the store when they are asked for."""

    def __init__(self, store: Store, session: Session, version: VersionId, depth: int) -> None:
        self._store, self._session = store, session
        self._version, self._depth = version, depth
        self._new: dict[int, Operation] = {}

    def get(self, depth: int) -> Operation:
        """Return the operation at ``depth`` (from 1); raise OperationNotFound."""
        found = self._new.get(depth)
        if found is None and 0 < depth <= self._depth:
            found = self._store.operation_at(
                self._session.tenant, self._session.id, self._version, depth
            )
        if found is None:
            raise OperationNotFound(operation_id(depth))
        return found

    def append(self, operation: Operation) -> None:
        """Add the newest operation."""
        self._new[operation.depth] = operation


@dataclass(slots=True, kw_only=True)
class LiveLane:
    """One lane at work. ``nodes`` are those of the present turn, by index in the client's list.

    ``opening`` is what the request brought; its last record moves the lane's head, and where that
    loses a race the rest is written again for a branch. ``build`` makes the context, once somebody
    asks for it: a short request that passes as it came never does. ``is_lost``: a write failed, and
    nothing more of it is written, for what came after would stand on what is missing. ``height``:
    how many nodes the path to ``node`` holds.
    """

    session: Session
    lane: Lane
    expected: VersionId | None
    node: Node
    nodes: dict[int, NodeId]
    placed: Placed | None
    build: "Callable[[LiveLane], Context]"
    made: Context | None = None
    opening: list[Record] = field(default_factory=list)
    written: "Future[None] | None" = None
    sequence: int = 0
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    height: int = 0
    sent: tuple[MessageHash, ...] = ()
    is_lost: bool = False

    @property
    def is_stored(self) -> bool:
        """Whether every write of it went well, as far as is known by now."""
        if self.is_lost or self.written is None or not self.written.done():
            return not self.is_lost
        error = self.written.exception()
        return error is None or isinstance(error, StaleHead)

    @property
    def context(self) -> Context:
        """The lane's context.

        Raises:
            StoreError: its state cannot be read.
        """
        if self.made is None:
            self.made = self.build(self)
        return self.made

    @property
    def version(self) -> VersionId:
        """The version that is in force."""
        return self.lane.version if self.made is None else self.made.version

    @property
    def depth(self) -> int:
        """How many operations led to it."""
        return self.lane.depth if self.made is None else self.made.depth


class _Kept(NamedTuple):
    """A lane as its last request left it: ``sent`` are the messages of its list, by their bytes."""

    version: VersionId
    context: Context | None
    checkpoints: Checkpoints
    size_bytes: int
    node: NodeId
    height: int
    sent: tuple[MessageHash, ...]

    def context_for(self, messages: Sequence[Message], version: VersionId) -> Context | None:
        """Return the context where it is of this version and these messages begin with its own."""
        context = self.context
        if context is None or self.version != version or len(context.messages) > len(messages):
            return None
        pairs = zip(context.messages, messages, strict=False)
        return context if all(a is b or a.hash == b.hash for a, b in pairs) else None


class Lanes:
    """Opens, writes and keeps the lanes of one server."""

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
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()
        self._kept_bytes = 0

    def open(
        self, tenant: TenantId, request: ClientRequest, headers: Mapping[str, str]
    ) -> LiveLane:
        """Find the request's place, begin to write what is new, and return its lane.

        Await ``settle`` before anything is answered. Raises StoreError where it cannot work.
        """
        now = self._clock()
        placed = self._identity.place(
            tenant, request.messages, headers=headers, body=request.value, now=now
        )
        known = partial(self._known, placed.lane)
        brought = read_arrival(placed, request.messages, known, now)
        node = brought.nodes[-1][1] if brought.nodes else placed.node
        assert node is not None
        lane = replace(placed.lane, node=node.id)
        live = LiveLane(
            session=placed.session,
            lane=lane,
            expected=lane.version,
            node=node,
            nodes={index: each.id for index, each in brought.nodes},
            placed=placed,
            build=lambda live: self._build(live, request),
            opening=self._opening(placed, request.messages, brought, lane),
            height=brought.height,
            sent=tuple(m.hash for m in request.messages if m.link is not None),
        )
        live.written = self.store.write(live.opening)
        return live

    def count(self, request: ClientRequest) -> None:
        """Count a request's tokens, so that opening its lane finds them known."""
        counter = self.counter_of(request.model)
        for message in request.messages:
            render_message(message, (), counter, escape=False)

    def uncounted_bytes(self, request: ClientRequest) -> int:
        """Return how much of a request is new at its end: messages whose tokens nobody counted."""
        counter = self.counter_of(request.model)
        new = takewhile(lambda each: not is_counted(each, counter), reversed(request.messages))
        return sum(len(message.wire) for message in new)

    async def settle(self, live: LiveLane) -> None:
        """Wait until what was opened is written; a lost race makes the lane a branch."""
        written, live.written = live.written, None
        if written is None:
            return
        try:
            await _done(written)
        except StaleHead:
            await self._branch(live, live.opening)

    async def keep(self, live: LiveLane, step: Step | None, usage: Usage | None) -> None:
        """Write what a step made: operations, hits, the step itself and its cost."""
        await self.settle(live)
        records: list[Record] = []
        if step is not None:
            records.append(self._step(live, "inserted", step.messages))
        await self._write(live, [*records, *self._cost(live, usage, "step")])

    async def answer(self, live: LiveLane, turn: Turn, wire: bytes) -> None:
        """Write the answer as the client saw it (``wire``) and as it was produced."""
        message = turn.produced if turn.produced.wire == wire else parse_message(wire)
        node = Node(
            tenant=live.session.tenant,
            session=live.session.id,
            id=node_id(live.node.id, message.hash),
            parent=live.node.id,
            chain=extend_chain(live.node.chain, message.link) if message.link else live.node.chain,
            message=message.hash,
            index=live.node.index + 1,
            covers=True,
            answer=True,
            version=live.version,
            depth=live.depth,
            time=self._clock(),
        )
        await self.settle(live)
        asked, live.node = live.node, node
        live.height += 1
        records: list[Record] = [
            StoredMessage(tenant=node.tenant, hash=message.hash, wire=wire),
            node,
        ]
        if turn.produced.wire != wire:
            records.append(self._step(live, "produced", (turn.produced,)))
        if turn.mixed:
            records.append(self._step(live, "mixed", turn.mixed))
        records += [
            CallId(tenant=node.tenant, id=name, session=node.session, node=node.id, minted=minted)
            for name in message.call_ids
            for minted in [name in turn.minted]
        ]
        usage = turn.billed[-1].tokens if turn.billed else None
        records += self._cost(live, usage, "answer", turn.answer.model)
        live.lane = replace(live.lane, node=node.id)
        await self._write(live, records, moves=True, operations_at=asked)
        self._keep_in_memory(live)

    def resume(self, tenant: TenantId, session: Session, lane: Lane) -> LiveLane:
        """Return a lane as its head stands, for people who look at it or change it."""
        path = self.store.path(tenant, session.id, lane.node)
        sent = last_sent(path)
        asked = next((node for node in reversed(path) if not node.answer), path[-1])
        instructions = dict(asked.instructions)
        wires = self.store.wires(tenant, [*sent, *instructions.values()])
        parsed = [(node, parse_message(wires[name])) for node, name in zip(path, sent, strict=True)]
        # Of system messages those of the newest request count, not those a path begins with.
        messages = [m for node, m in parsed if m.link is not None or node is asked]
        for index, name in sorted(instructions.items()):
            if name in wires:
                messages.insert(min(index, len(messages)), parse_message(wires[name]))
        return LiveLane(
            session=session,
            lane=lane,
            expected=lane.version,
            node=path[-1],
            nodes={},
            placed=None,
            build=lambda live: self._filled(live, messages, ""),
        )

    async def save(self, live: LiveLane) -> None:
        """Write what a person did to a resumed lane; raises StaleHead where it moved meanwhile."""
        records = self._operations(live, live.node)
        await asyncio.wrap_future(self.store.write([*records, self._head(live)]))
        live.expected = live.lane.version
        self.forget(live)

    def forget(self, live: LiveLane) -> None:
        """Drop a lane from memory; the next request reads what was written."""
        self._take(_name(live))

    def forget_session(self, tenant: TenantId, session: SessionId) -> None:
        """Drop all of a session from memory, because it was deleted."""
        for name in [name for name in self._kept if name[:2] == (tenant, session)]:
            self._kept_bytes -= self._kept.pop(name).size_bytes

    def _take(self, name: tuple[str, str, str]) -> _Kept | None:
        found = self._kept.pop(name, None)
        if found is not None:
            self._kept_bytes -= found.size_bytes
        return found

    # Opening

    def _known(self, lane: Lane, node: Node, count: int) -> tuple[int, list[MessageHash]]:
        """Return the height of a path and in which bytes its last ``count`` messages came last.

        What is kept in memory of the lane tells it where that ends at this node; else the path is
        read.
        """
        kept = self._kept.get((lane.tenant, lane.session, lane.id))
        is_its_end = kept is not None and kept.node == node.id and not node.respelled
        if kept is not None and is_its_end and len(kept.sent) == count - 1:
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
        session = replace(placed.session, used=lane.used)
        tenant = session.tenant
        records: list[Record] = [session]
        records += [
            StoredMessage(tenant=tenant, hash=messages[i].hash, wire=messages[i].wire)
            for i in brought.indexes
        ]
        records += [node for _, node in brought.nodes]
        records += [brought.again] if brought.again else []
        records.append(MoveHead(lane=lane, expected=placed.expected))
        return records

    def _build(self, live: LiveLane, request: ClientRequest) -> Context:
        """Make a lane's context from the request, or go on with the one kept in memory."""
        # Taken out while it is used: another request of this lane gets a context of its own.
        kept, messages = self._take(_name(live)), request.messages
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
        """Bring back the step groups of the open turn, where it spans several requests."""
        placed = live.placed
        start = context.turn_start
        if placed is None or placed.node is None or placed.matched <= start:
            return
        if placed.matched == len(context.messages) and self._is_answered(placed.node):
            return  # the turn is over, and this is a new try at it
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
            if step.kind != "produced":
                messages = tuple(parse_message(wire) for wire in step.messages)
                context.steps.append(Step(places[step.node], messages, step.kind == "mixed"))
        live.sequence = len(steps)

    # Writing

    async def _write(
        self,
        live: LiveLane,
        records: Sequence[Record],
        *,
        moves: bool = False,
        operations_at: Node | None = None,
    ) -> None:
        made = self._operations(live, operations_at or live.node)
        batch = [*records, *made]
        if not batch and not moves:
            return
        # Also where no version changes: the write fails where the session was deleted meanwhile.
        batch.append(self._head(live))
        try:
            await asyncio.wrap_future(self.store.write(batch))
        except StaleHead:
            changed = any(isinstance(record, StoredOperation) for record in made)
            if changed or not self._catch_up(live):
                await self._branch(live, batch)
            else:
                again = [_at(live, record) for record in [*records, *made]]
                await self._write(live, again, moves=moves)
        live.expected = live.lane.version

    def _catch_up(self, live: LiveLane) -> bool:
        """Take over what others did to this lane meanwhile; false where it is another by now."""
        context, name = live.context, live.session
        lane = self.store.lane(name.tenant, name.id, live.lane.id)
        if lane is None or lane.depth <= context.depth:
            return False
        newer = self.store.operations(
            name.tenant, name.id, lane.version, limit=lane.depth - context.depth
        )[::-1]
        if not newer or newer[0].parent != context.version:
            return False
        for operation in newer:
            context.replay(operation)
        context.unsaved = []
        live.expected = lane.version
        return True

    async def _branch(self, live: LiveLane, records: Sequence[Record]) -> None:
        """Go on as a lane of one's own: another request moved this one's head first."""
        self.forget(live)
        if self.store.session(live.session.tenant, live.session.id) is None:
            return  # deleted meanwhile: nothing of it is written again
        live.lane = replace(live.lane, id=LaneId(new_name()[:12]), agent="")
        kept = [record for record in records if not isinstance(record, MoveHead)]
        await asyncio.wrap_future(
            self.store.write([*kept, MoveHead(lane=live.lane, expected=None)])
        )
        live.expected = live.lane.version

    def _head(self, live: LiveLane) -> MoveHead:
        context = live.made
        if context is not None:
            live.lane = replace(live.lane, version=context.version, depth=context.depth)
        return MoveHead(lane=live.lane, expected=live.expected)

    def _operations(self, live: LiveLane, node: Node) -> list[Record]:
        context, records = live.made, list[Record]()
        if context is None or not context.unsaved:
            return records
        tenant, session = live.session.tenant, live.session.id
        made = [item for item in context.unsaved if isinstance(item, Operation)]
        records += [
            StoredHit(tenant=tenant, session=session, hit=item)
            for item in context.unsaved
            if isinstance(item, Hit)
        ]
        records += live.checkpoints.records(
            made, context.state, tenant=tenant, session=session, node=node.id
        )
        if made:
            records.append(replace(node, version=context.version, depth=context.depth))
        context.unsaved = []
        return records

    def _step(
        self,
        live: LiveLane,
        kind: Literal["inserted", "mixed", "produced"],
        messages: Sequence[Message],
    ) -> StoredStep:
        # The time keeps the steps of two tries at one turn apart, and in order.
        live.sequence = max(live.sequence + 1, int(self._clock() * 1e6))
        return StoredStep(
            tenant=live.session.tenant,
            session=live.session.id,
            node=live.node.id,
            sequence=live.sequence,
            kind=kind,
            messages=tuple(message.wire for message in messages),
            time=self._clock(),
        )

    def _cost(
        self,
        live: LiveLane,
        usage: Usage | None,
        purpose: Literal["answer", "step", "summary"],
        model: str = "",
    ) -> list[Record]:
        if usage is None:
            return []
        row = UsageRow(
            tenant=live.session.tenant,
            session=live.session.id,
            node=live.node.id,
            time=self._clock(),
            model=model,
            purpose=purpose,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
        )
        return [row]

    def _keep_in_memory(self, live: LiveLane) -> None:
        before, context = self._take(_name(live)), live.made
        if context is None and before is not None and before.version == live.lane.version:
            context, live.checkpoints = before.context, before.checkpoints
        size = _ENTRY_BYTES + _HASH_BYTES * len(live.sent)
        if context is not None:
            context.steps = []
            size += sum(len(message.wire) for message in context.messages)
        self._kept[_name(live)] = _Kept(
            live.lane.version,
            context,
            live.checkpoints,
            size,
            live.node.id,
            live.height,
            live.sent,
        )
        self._kept_bytes += size
        while len(self._kept) > _CACHED_LANES or (
            self._kept_bytes > _CACHED_BYTES and len(self._kept) > 1
        ):
            self._kept_bytes -= self._kept.popitem(last=False)[1].size_bytes


async def _done(written: "Future[None]") -> None:
    """Wait for a write; one that is done already, as most are by the answer, costs no wait."""
    if written.done():
        written.result()
    else:
        await asyncio.wrap_future(written)


def _at(live: LiveLane, record: Record) -> Record:
    """Return a record with a node's version brought up to the lane's."""
    if not isinstance(record, Node):
        return record
    return replace(record, version=live.version, depth=live.depth)


def lane_of(store: Store, tenant: TenantId, session: SessionId, name: str | None) -> Lane | None:
    """Return a session's lane by name, or the one used last."""
    if name:
        return store.lane(tenant, session, LaneId(name))
    lanes = store.lanes(tenant, session)
    return lanes[0] if lanes else None


def _name(live: LiveLane) -> tuple[str, str, str]:
    return (live.lane.tenant, live.lane.session, live.lane.id)


def _key(name: str) -> Any:
    return bytes.fromhex(name)
