"""What is written of a lane while a request works on it.

What a request brought is written before anything made of it is; each step is written before the
model sees its results, the answer before its last byte goes out. A lane's head moves by
compare-and-swap; who loses the race goes on as a branch of its own, with all that it brought.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Literal

from sculptor.chat import Usage
from sculptor.context import Hit, Step
from sculptor.errors import StaleHead
from sculptor.loop import Turn
from sculptor.messages import Message, extend_chain, parse_message
from sculptor.operations import Operation
from sculptor.server.live_lane import LiveLane
from sculptor.server.names import new_name
from sculptor.store.protocol import Store
from sculptor.store.records import (
    CallId,
    LaneId,
    MoveHead,
    Node,
    Record,
    Respelled,
    StoredHit,
    StoredMessage,
    StoredOperation,
    StoredStep,
    UsageRow,
    given_under,
    node_id,
)


class LaneWriter:
    """Writes lanes; ``forget`` is told of one that goes on as another."""

    def __init__(
        self, store: Store, *, forget: Callable[[LiveLane], None], clock: Callable[[], float]
    ) -> None:
        self._store, self._forget, self._clock = store, forget, clock

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
            *self._given(live, asked, node),
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

    async def save(self, live: LiveLane) -> None:
        """Write what was done to a resumed lane; raises StaleHead where it moved meanwhile."""
        records = self._operations(live, live.node)
        await asyncio.wrap_future(self._store.write([*records, self._head(live)]))
        live.expected = live.lane.head

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
            await asyncio.wrap_future(self._store.write(batch))
        except StaleHead:
            changed = any(isinstance(record, StoredOperation) for record in made)
            if changed or not self._catch_up(live):
                await self._branch(live, batch)
            else:
                again = [_at(live, record) for record in [*records, *made]]
                await self._write(live, again, moves=moves)
        live.expected = live.lane.head

    def _catch_up(self, live: LiveLane) -> bool:
        """Take over what others did to this lane meanwhile; false where it is another by now."""
        name = live.session
        lane = self._store.lane(name.tenant, name.id, live.lane.id)
        if lane is None or lane.node not in (live.expected.node, live.lane.node):
            return False  # it went on to another's message or answer
        context = live.context
        if lane.depth <= context.depth:
            return False
        newer = self._store.operations(
            name.tenant, name.id, lane.version, limit=lane.depth - context.depth
        )[::-1]
        if not newer or newer[0].parent != context.version:
            return False
        for operation in newer:
            context.replay(operation)
        context.unsaved = []
        live.expected = lane.head
        return True

    async def _branch(self, live: LiveLane, records: Sequence[Record]) -> None:
        """Go on as a lane of one's own: another request moved this one's head first."""
        self._forget(live)
        if self._store.session(live.session.tenant, live.session.id) is None:
            live.is_lost = True  # deleted meanwhile: nothing of it is written again
            return
        live.lane = replace(live.lane, id=LaneId(new_name()[:12]), agent="")
        kept = [record for record in records if not isinstance(record, MoveHead)]
        await asyncio.wrap_future(
            self._store.write([*kept, MoveHead(lane=live.lane, expected=None)])
        )
        live.expected = live.lane.head

    def _given(self, live: LiveLane, asked: Node, answer: Node) -> list[Record]:
        """Return an answer's node with the instructions that it was given under.

        Another try may be given the very same answer under others; then these are added.
        """
        under = ((answer.index, answer.message), *live.instructions)
        known = live.placed.node if live.placed else None
        is_retry = known is not None and known.id == asked.id  # else nobody had an answer here
        held = self._store.node(answer.tenant, answer.session, answer.id) if is_retry else None
        if held is None:
            return [replace(answer, instructions=under)]
        if given_under(held) == live.instructions:
            return [answer]
        more = Respelled(
            tenant=answer.tenant, session=answer.session, node=answer.id, instructions=under
        )
        return [answer, more]

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
