"""Conversations and operations to put into a store."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sculptor.messages import Chain, Message, MessageKey, chain_of, make_message
from sculptor.operations import FIRST_VERSION, Operation, Receipt, VersionId
from sculptor.state import (
    Change,
    EntryKey,
    Fragment,
    FragmentId,
    MessagePin,
    Place,
    State,
    SummaryText,
    pin_key,
)
from sculptor.store import LOCAL, ROOT, node_id
from sculptor.store.records import (
    Lane,
    LaneId,
    MoveHead,
    Node,
    NodeId,
    Record,
    Session,
    SessionId,
    StoredMessage,
    StoredOperation,
    TenantId,
)


@dataclass
class Talk:
    """One session that grows message by message."""

    name: str = "talk"
    tenant: TenantId = LOCAL
    head: NodeId = ROOT
    messages: list[Message] = field(default_factory=list)
    time: float = 1.0

    @property
    def id(self) -> SessionId:
        return SessionId(self.name)

    @property
    def chains(self) -> list[Chain]:
        return chain_of(self.messages, self.tenant)

    def opened(self, *, used: float = 1.0) -> Session:
        return Session(tenant=self.tenant, id=self.id, seed=b"seed", created=1.0, used=used)

    def say(self, text: str, role: str = "user", **fields: object) -> list[Record]:
        message = make_message(role, text)  # type: ignore[arg-type]
        self.messages.append(message)
        node = Node(
            tenant=self.tenant,
            session=self.id,
            id=node_id(self.head, message.hash),
            parent=self.head,
            chain=self.chains[-1],
            message=message.hash,
            index=len(self.messages) - 1,
            time=self.time,
            **fields,  # type: ignore[arg-type]
        )
        self.head = node.id
        return [stored(message, self.tenant), node]

    def turns(self, *texts: str) -> list[Record]:
        roles = ("user", "assistant")
        return [
            record
            for number, text in enumerate(texts)
            for record in self.say(text, roles[number % 2])
        ]

    def lane(self, name: str = "main", **fields: object) -> Lane:
        return Lane(
            tenant=self.tenant,
            session=self.id,
            id=LaneId(name),
            node=self.head,
            **fields,  # type: ignore[arg-type]
        )

    def opening(self, *texts: str) -> list[Record]:
        records = [self.opened(), *self.turns(*texts)]
        return [*records, MoveHead(lane=self.lane(), expected=None)]

    def made(self, operation: Operation, checkpoint: bytes | None = None) -> StoredOperation:
        return StoredOperation(
            tenant=self.tenant,
            session=self.id,
            node=self.head,
            operation=operation,
            checkpoint=checkpoint,
        )


def stored(message: Message, tenant: TenantId = LOCAL) -> StoredMessage:
    return StoredMessage(tenant=tenant, hash=message.hash, wire=message.wire)


def operation(
    changes: tuple[Change, ...],
    *,
    parent: VersionId = FIRST_VERSION,
    depth: int = 1,
    reason: str = "",
) -> Operation:
    return Operation(
        depth=depth,
        parent=parent,
        kind="batch" if len(changes) > 1 else "pin",
        arguments={"entries": [change.key for change in changes]},
        author="model",
        reason=reason,
        time=float(depth),
        changes=changes,
        receipt=Receipt(tokens_before=10, tokens_after=9, undo=f"o{depth}"),
    )


def place(number: int) -> Place:
    return Place(MessageKey(number.to_bytes(16, "big")), number % 3)


def random_line(
    seed: int,
    *,
    parent: VersionId = FIRST_VERSION,
    state: State | None = None,
    depth: int = 0,
    most_entries: int = 40,
) -> Iterator[tuple[Operation, State]]:
    """Yield operations of every effect, each with the state after it."""
    rng, state = random.Random(seed), state or State()
    while True:
        depth += 1
        changes = tuple(_some_changes(rng, state, depth, most_entries))
        made = operation(changes, parent=parent, depth=depth, reason=f"{seed}")
        state, parent = state.after(changes), made.version
        yield made, state


def _some_changes(
    rng: random.Random, state: State, depth: int, most_entries: int
) -> Iterator[Change]:
    entries = [entry for entry in state.entries.values() if isinstance(entry, Fragment)]
    leaves = [entry for entry in entries if entry.status != "split"]
    grows = len(state.entries) < most_entries
    if not leaves or (grows and rng.random() < 0.4):
        yield from _cut(rng, depth)
    elif rng.random() < 0.2:
        where = place(rng.randrange(5))
        held = state.entries.get(pin_key(where))
        pin = None if held else MessagePin(place=where, pinned_by="user", by=depth)
        yield Change(pin_key(where), held, pin)
    else:
        for leaf in rng.sample(leaves, min(len(leaves), rng.randint(1, 3))):
            yield Change(EntryKey(leaf.id), leaf, _turned(rng, leaf, depth, grows))


def _cut(rng: random.Random, depth: int) -> Iterator[Change]:
    where, start = place(rng.randrange(5)), 100 * depth
    for offset in (0, 50):
        name = FragmentId(f"f{start + offset:05x}")
        piece = Fragment(
            id=name, place=where, part=0, start=start + offset, end=start + offset + 50, tokens=12
        )
        yield Change(EntryKey(name), None, replace(piece, by=depth))


def _turned(rng: random.Random, leaf: Fragment, depth: int, grows: bool) -> Fragment:
    draw = rng.random()
    if draw < 0.3:
        return replace(leaf, status="folded", summary=None, by=depth)
    if draw < 0.5:
        text = SummaryText(text=f"short {depth} 摘要", focus="all", tokens=3, model="m")
        return replace(leaf, status="summarized", summary=text, by=depth)
    if draw < 0.6 and grows:
        return replace(leaf, status="split", children=(FragmentId("f00000"),), by=depth)
    if draw < 0.8:
        return replace(leaf, pinned_by="policy" if leaf.pinned_by is None else None, by=depth)
    return replace(leaf, status="visible", summary=None, by=depth)
