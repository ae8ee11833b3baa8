"""The two stores, led through the same history, never differ."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sculptor.context import Hit
from sculptor.errors import StoreError
from sculptor.messages import Message, MessageHash, chain_of, make_message
from sculptor.operations import FIRST_VERSION, VersionId
from sculptor.state import Place, State
from sculptor.store import LOCAL, ROOT, Checkpoints, MemoryStore, SqliteStore, Store, node_id
from sculptor.store.records import (
    CallId,
    DeleteSession,
    Head,
    Lane,
    LaneId,
    MoveHead,
    Node,
    NodeId,
    Record,
    Respelled,
    Session,
    SessionId,
    StoredHit,
    StoredMessage,
    StoredStep,
    TenantId,
    TokenCount,
    UsageRow,
)

from .builders import random_line

TENANTS = [LOCAL, TenantId("other")]
SESSIONS = [SessionId("a"), SessionId("b"), SessionId("c")]
TEXTS = ["Hi", "Hello", "你好", "be brief"]
MESSAGES = {
    (role, text): make_message(role, text)  # type: ignore[arg-type]
    for role in ("user", "assistant", "system")
    for text in TEXTS
}
HASHES = [message.hash for message in MESSAGES.values()]
LANES = [LaneId("main"), LaneId("side")]
CALLS = ["call_0", "call_1", "sc_9"]

tenants, sessions, lanes = map(st.sampled_from, (TENANTS, SESSIONS, LANES))
messages = st.sampled_from(list(MESSAGES.values()))
talks = st.sampled_from([m for (role, _), m in MESSAGES.items() if role != "system"])
times = st.integers(0, 5).map(float)
heads = st.builds(
    Head,
    st.sampled_from([ROOT, NodeId(b"elsewhere")]),
    st.sampled_from([FIRST_VERSION, VersionId("1" * 32)]),
)


class Agreement(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.memory, self.sqlite = MemoryStore(), SqliteStore(self.folder / "store.db")
        self.nodes: list[Node] = []
        self.versions: list[tuple[TenantId, SessionId, VersionId, State, int]] = []

    def teardown(self) -> None:
        faults = self.sqlite.verify()
        assert not [fault for fault in faults if fault.startswith("file:")]
        assert sorted(self.memory.verify()) == sorted(faults)
        self.memory.close()
        self.sqlite.close()
        shutil.rmtree(self.folder)

    def write(self, *records: Record) -> bool:
        failures = []
        for store in (self.memory, self.sqlite):
            error = store.write(records).exception()
            assert error is None or isinstance(error, StoreError)
            failures.append(repr(error))
        assert failures[0] == failures[1]
        return failures[0] == "None"

    @rule(tenant=tenants, session=sessions, created=times, used=times)
    def use_session(
        self, tenant: TenantId, session: SessionId, created: float, used: float
    ) -> None:
        self.write(Session(tenant=tenant, id=session, seed=b"s", created=created, used=used))

    @rule(
        tenant=tenants,
        session=sessions,
        message=talks,
        system=messages,
        covers=st.booleans(),
        time=times,
        data=st.data(),
    )
    def say(self, tenant, session, message, system, covers, time, data) -> None:  # type: ignore[no-untyped-def]
        own = [n for n in self.nodes if (n.tenant, n.session) == (tenant, session)]
        parent = data.draw(st.sampled_from([None, *own]))
        above = [] if parent is None else self.sqlite.path(tenant, session, parent.id)
        wires = self.sqlite.wires(tenant, [node.message for node in above])
        line = [m for node in above for m in MESSAGES.values() if m.hash == node.message]
        assert len(wires) == len({m.hash for m in line})
        node = Node(
            tenant=tenant,
            session=session,
            id=node_id(parent.id if parent else ROOT, message.hash),
            parent=parent.id if parent else ROOT,
            chain=chain_of([*line, message], tenant)[-1],
            message=message.hash,
            index=len(line),
            covers=covers,
            instructions=((0, system.hash),),
            respelled=((len(line), message.hash),),
            time=time,
        )
        stored = [
            StoredMessage(tenant=tenant, hash=each.hash, wire=each.wire)
            for each in (message, system)
        ]
        self.write(*stored, node)
        self.nodes = [n for n in self.nodes if (n.session, n.id) != (session, node.id)] + [node]

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), named=st.lists(st.tuples(st.integers(0, 3), messages), max_size=3))
    def respell(self, data: st.DataObject, named: list[tuple[int, Message]]) -> None:
        node = data.draw(st.sampled_from(self.nodes))
        bodies = [StoredMessage(tenant=node.tenant, hash=m.hash, wire=m.wire) for _, m in named]
        placed = tuple((at, m.hash) for at, m in named)
        cut = data.draw(st.integers(0, len(placed)))
        more = Respelled(
            tenant=node.tenant,
            session=node.session,
            node=node.id,
            instructions=placed[:cut],
            respelled=placed[cut:],
        )
        before = self.sqlite.node(node.tenant, node.session, node.id)
        self.write(*bodies, more)
        after = self.sqlite.node(node.tenant, node.session, node.id)
        assert before is not None
        assert after is not None
        assert after.instructions == before.instructions + more.instructions
        assert after.respelled == before.respelled + more.respelled

    @rule(
        tenant=tenants,
        session=sessions,
        lane=lanes,
        used=times,
        expected=st.none() | heads,
        to=heads,
        admitted=st.booleans(),
        plain=st.booleans(),
        wires=st.lists(talks, max_size=2),
    )
    def move_lane(  # type: ignore[no-untyped-def]
        self, tenant, session, lane, used, expected, to, admitted, plain, wires
    ) -> None:
        made = Lane(
            tenant=tenant,
            session=session,
            id=lane,
            node=to.node,
            version=to.version,
            admitted=admitted,
            dropped={"00": int(used)},
            used=used,
        )
        stored = [StoredMessage(tenant=tenant, hash=m.hash, wire=m.wire) for m in wires]
        move = made if plain else MoveHead(lane=made, expected=expected)
        self.write(*stored, move, replace(made, id=LANES[0]))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), seed=st.integers(0, 50), count=st.integers(1, 80))
    def operate(self, data: st.DataObject, seed: int, count: int) -> None:
        node = data.draw(st.sampled_from(self.nodes))
        at = (node.tenant, node.session)
        known = [each for each in self.versions if each[:2] == at]
        start = data.draw(st.sampled_from([(*at, FIRST_VERSION, State(), 0), *known]))
        _, _, parent, state, depth = start
        line = random_line(seed, parent=parent, state=state, depth=depth, most_entries=12)
        made = [next(line) for _ in range(count)]
        checkpoints = Checkpoints(self.sqlite.since_checkpoint(*at, parent))
        records = checkpoints.records(
            [operation for operation, _ in made],
            made[-1][1],
            tenant=node.tenant,
            session=node.session,
            node=node.id,
        )
        last = made[-1][0]
        moved = replace(node, version=last.version, depth=last.depth)
        if self.write(*records, moved):
            self.versions.append((*at, last.version, made[-1][1], last.depth))

    @rule(tenant=tenants, session=sessions, call=st.sampled_from(CALLS), minted=st.booleans())
    def hand_out_call(self, tenant: TenantId, session: SessionId, call: str, minted: bool) -> None:
        self.write(CallId(tenant=tenant, id=call, session=session, node=ROOT, minted=minted))

    @rule(tenant=tenants, session=sessions, number=st.integers(0, 2), wires=st.lists(messages))
    def add_step(self, tenant, session, number, wires) -> None:  # type: ignore[no-untyped-def]
        parts = tuple(message.wire for message in wires)
        step = StoredStep(
            tenant=tenant,
            session=session,
            node=ROOT,
            sequence=number,
            kind="inserted",
            messages=parts,
        )
        self.write(step)

    @rule(tenant=tenants, session=sessions, message=messages, tokens=st.integers(0, 3))
    def count(self, tenant, session, message, tokens) -> None:  # type: ignore[no-untyped-def]
        hit = Hit(f"h{tokens}", Place(message.key, 0), 0, tokens, 9, "q")
        usage = UsageRow(
            tenant=tenant,
            session=session,
            node=ROOT,
            time=1.0,
            model="m",
            purpose="answer",
            prompt_tokens=tokens,
            cached_tokens=0,
            completion_tokens=1,
        )
        self.write(
            StoredMessage(tenant=tenant, hash=message.hash, wire=message.wire),
            TokenCount(tenant=tenant, hash=message.hash, encoding="e", tokens=tokens),
            StoredHit(tenant=tenant, session=session, hit=hit),
            usage,
        )

    @rule(tenant=tenants, session=sessions)
    def delete(self, tenant: TenantId, session: SessionId) -> None:
        self.write(DeleteSession(tenant=tenant, id=session))
        here = (tenant, session)
        self.nodes = [node for node in self.nodes if (node.tenant, node.session) != here]
        self.versions = [version for version in self.versions if version[:2] != here]

    @invariant()
    def they_agree(self) -> None:
        for tenant in TENANTS:
            assert shared(self.memory, tenant) == shared(self.sqlite, tenant)
            for session in SESSIONS:
                names = [n.id for n in self.nodes if (n.tenant, n.session) == (tenant, session)]
                seen = [own(store, tenant, session, names) for store in (self.memory, self.sqlite)]
                assert seen[0] == seen[1]

    @invariant()
    def versions_are_what_was_made(self) -> None:
        for tenant, session, version, state, depth in self.versions[-3:]:
            lines = [s.operations(tenant, session, version) for s in (self.memory, self.sqlite)]
            assert lines[0] == lines[1]
            assert len(lines[0]) == depth
            for store in (self.memory, self.sqlite):
                assert store.state(tenant, session, version) == state
                half = depth // 2 + 1
                assert store.operation_at(tenant, session, version, half) == lines[0][-half]


def shared(store: Store, tenant: TenantId) -> list[object]:
    chains = [chain_of([message], tenant)[0] for message in MESSAGES.values()]
    return [
        store.sessions(tenant),
        store.unused_since(tenant, 3.0),
        store.wires(tenant, HASHES),
        store.token_counts(tenant, HASHES, "e"),
        [store.call(tenant, name) for name in CALLS],
        store.nodes_by_chain(tenant, chains, limit=2),
        [hit._replace(score=0) for hit in store.ranked(tenant, HASHES, "hello brief")],
    ]


def own(
    store: Store, tenant: TenantId, session: SessionId, nodes: list[MessageHash]
) -> list[object]:
    at = (tenant, session)
    return [
        store.session(*at),
        store.lanes(*at),
        [store.path(*at, node) for node in nodes],
        [store.children(*at, node) for node in [ROOT, *nodes]],
        store.steps(*at, [ROOT]),
        store.hits(*at),
        store.usage(*at),
    ]


Agreement.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestAgreement = Agreement.TestCase
