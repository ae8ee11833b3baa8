"""The laws of every store."""

from dataclasses import replace

import pytest

from sculptor.context import Hit
from sculptor.errors import StaleHead, StoreCorrupt, StoreError
from sculptor.messages import Chain, MessageHash, chain_of, make_message
from sculptor.operations import FIRST_VERSION, VersionId
from sculptor.state import Change, MessagePin, Place, State, pin_key
from sculptor.store import LOCAL, ROOT, Store, dump_state
from sculptor.store.records import (
    CallId,
    DeleteSession,
    LaneId,
    MoveHead,
    Node,
    NodeId,
    Respelled,
    SessionId,
    StoredHit,
    StoredOperation,
    StoredStep,
    TenantId,
    TokenCount,
    UsageRow,
    last_sent,
)

from .builders import Talk, operation, random_line, stored

OTHER = TenantId("other")
NOWHERE = SessionId("nowhere")


def used(session: str, tokens: int, tenant: TenantId = LOCAL) -> UsageRow:
    return UsageRow(
        tenant=tenant,
        session=SessionId(session),
        node=ROOT,
        time=1.0,
        model="m",
        purpose="answer",
        prompt_tokens=tokens,
        cached_tokens=1,
        completion_tokens=2,
    )


def step(talk: Talk, sequence: int, *wires: bytes) -> StoredStep:
    return StoredStep(
        tenant=talk.tenant,
        session=talk.id,
        node=talk.head,
        sequence=sequence,
        kind="inserted",
        messages=wires,
        time=3.0,
    )


def test_what_is_written_is_read_as_it_was(store: Store) -> None:
    talk = Talk()
    records = talk.opening("Hi", "Hello", "你好 👩‍👩‍👧")
    store.write(records).result()
    nodes = [record for record in records if isinstance(record, Node)]
    assert store.session(LOCAL, talk.id) == talk.opened()
    assert store.path(LOCAL, talk.id, talk.head) == nodes
    assert store.node(LOCAL, talk.id, nodes[1].id) == nodes[1]
    assert store.children(LOCAL, talk.id, nodes[0].id) == [nodes[1]]
    assert store.children(LOCAL, talk.id, ROOT) == [nodes[0]]
    assert store.lane(LOCAL, talk.id, LaneId("main")) == talk.lane()
    wires = {message.hash: message.wire for message in talk.messages}
    assert store.wires(LOCAL, [*wires, MessageHash(b"?" * 16)]) == wires


def test_what_is_not_there_is_none_or_empty(store: Store) -> None:
    assert store.session(LOCAL, NOWHERE) is None
    assert store.sessions(LOCAL) == []
    assert store.lane(LOCAL, NOWHERE, LaneId("main")) is None
    assert store.lanes(LOCAL, NOWHERE) == []
    assert store.node(LOCAL, NOWHERE, NodeId(b"n")) is None
    assert store.path(LOCAL, NOWHERE, NodeId(b"n")) == []
    assert store.nodes_by_chain(LOCAL, []) == []
    assert store.wires(LOCAL, []) == {}
    assert store.state(LOCAL, NOWHERE, FIRST_VERSION) == State()
    assert store.operations(LOCAL, NOWHERE, FIRST_VERSION) == []
    assert store.operation_at(LOCAL, NOWHERE, FIRST_VERSION, 1) is None
    assert store.since_checkpoint(LOCAL, NOWHERE, FIRST_VERSION) == 0
    assert store.steps(LOCAL, NOWHERE, [ROOT]) == []
    assert store.call(LOCAL, "call_1") is None
    assert store.hits(LOCAL, NOWHERE) == []
    assert store.usage(LOCAL, NOWHERE) == []
    assert store.verify() == []


def test_a_second_write_of_the_same_changes_nothing_but_times_of_use(store: Store) -> None:
    talk = Talk()
    records = [talk.opened(), *talk.turns("Hi", "Hello"), step(talk, 1, b'{"role": "user"}')]
    store.write(records).result()
    later = replace(talk.opened(used=9.0), seed=b"another", created=5.0)
    store.write([*records, later]).result()
    assert store.session(LOCAL, talk.id) == talk.opened(used=9.0)
    store.write([talk.opened(used=2.0)]).result()
    assert store.session(LOCAL, talk.id) == talk.opened(used=9.0)
    (totals,) = store.sessions(LOCAL)
    assert totals.messages == 2
    store.write([replace(step(talk, 1, b"{}"), kind="produced")]).result()
    (kept,) = store.steps(LOCAL, talk.id, [talk.head])
    assert kept == step(talk, 1, b'{"role": "user"}')


def test_of_a_known_node_only_the_version_moves(store: Store) -> None:
    talk = Talk()
    _, node = talk.say("Hi", covers=True)
    assert isinstance(node, Node)
    store.write([talk.opened(), stored(talk.messages[0]), node]).result()
    made = operation((Change(pin_key(Place(talk.messages[0].key, 0)), None, None),))
    moved = replace(node, version=made.version, depth=1, covers=False, time=99.0)
    store.write([talk.made(made), moved]).result()
    assert store.node(LOCAL, talk.id, node.id) == replace(node, version=made.version, depth=1)


def test_sessions_come_last_used_first_with_what_they_hold(store: Store) -> None:
    for number in range(5):
        talk = Talk(f"s{number}")
        store.write([talk.opened(used=float(number % 3)), *talk.turns("Hi", "Ho")]).result()
    line = random_line(1)
    made = [next(line)[0] for _ in range(3)]
    store.write([talk.made(each) for each in made]).result()
    store.write([used("s4", 10), used("s4", 20)]).result()
    totals = store.sessions(LOCAL)
    assert [total.session.id for total in totals] == ["s2", "s4", "s1", "s3", "s0"]
    assert totals[1][1:] == (2, 3, 34)
    assert totals[0][1:] == (2, 0, 0)
    assert store.sessions(LOCAL, limit=2, offset=1) == totals[1:3]
    assert store.unused_since(LOCAL, 1.5) == ["s0", "s3", "s1", "s4"]
    assert store.unused_since(OTHER, 1.5) == []


def test_a_lane_moves_only_from_where_it_was_expected(store: Store) -> None:
    talk = Talk()
    store.write(talk.opening("Hi")).result()
    made = operation((), reason="first")
    moved = replace(talk.lane(), version=made.version, depth=1, used=5.0)
    start = talk.lane().head
    store.write([talk.made(made), MoveHead(lane=moved, expected=start)]).result()
    assert store.lane(LOCAL, talk.id, LaneId("main")) == moved
    late = operation((), reason="late")
    behind = replace(talk.lane(), version=late.version, depth=1)
    for expected in (start, None):
        write = store.write([talk.made(late), MoveHead(lane=behind, expected=expected)])
        with pytest.raises(StaleHead, match="main"):
            write.result()
    assert store.lane(LOCAL, talk.id, LaneId("main")) == moved
    with pytest.raises(StoreCorrupt):
        store.state(LOCAL, talk.id, late.version)


def test_a_list_that_fails_is_not_written_at_all(store: Store) -> None:
    talk = Talk()
    store.write(talk.opening("Hi")).result()
    elsewhere = talk.lane().head._replace(version=VersionId("f" * 32))
    more = [*talk.say("more"), MoveHead(lane=talk.lane(), expected=elsewhere)]
    with pytest.raises(StaleHead):
        store.write([used("talk", 5), *more, used("talk", 6)]).result()
    assert store.node(LOCAL, talk.id, talk.head) is None
    assert store.wires(LOCAL, [talk.messages[-1].hash]) == {}
    assert store.usage(LOCAL, talk.id) == []


def test_heads_in_one_list_are_compared_one_after_another(store: Store) -> None:
    talk = Talk()
    store.write([talk.opened(), *talk.turns("Hi")]).result()
    one, two = replace(talk.lane(), version=VersionId("1" * 32)), talk.lane()
    moves = [
        MoveHead(lane=one, expected=None),
        MoveHead(lane=two, expected=one.head),
        DeleteSession(tenant=LOCAL, id=talk.id),
        MoveHead(lane=one, expected=None),
        replace(talk.lane("side"), version=one.version),
        MoveHead(lane=talk.lane("side"), expected=one.head),
    ]
    store.write(moves).result()
    assert store.lane(LOCAL, talk.id, LaneId("main")) == one
    with pytest.raises(StaleHead):
        store.write([*moves[:1], *moves]).result()


def test_a_lane_record_leaves_the_head_and_never_withdraws_admission(store: Store) -> None:
    talk = Talk()
    store.write(talk.opening("Hi")).result()
    first = talk.lane(admitted=True, dropped={"ab": 2}, used=7.0)
    talk.say("next")
    elsewhere = talk.lane(dropped={"ab": 3}, used=3.0)
    store.write([first, elsewhere]).result()
    held = store.lane(LOCAL, talk.id, LaneId("main"))
    assert held == replace(first, dropped={"ab": 3})
    store.write([talk.lane("new", used=8.0)]).result()
    assert [lane.id for lane in store.lanes(LOCAL, talk.id)] == ["new", "main"]


def test_nodes_are_found_by_chain_covering_and_newest_first(store: Store) -> None:
    talks = [Talk(f"s{number:02d}", time=float(number % 10)) for number in range(20)]
    for talk in talks:
        covers = talk.name in ("s03", "s07")
        store.write([*talk.say("Hi"), *talk.say("Hello", "assistant", covers=covers)]).result()
    hi, hello = talks[0].chains
    wanted = [Chain(bytes([n]) * 16) for n in range(70)]
    found = store.nodes_by_chain(LOCAL, [*wanted, hello, hi, hello])
    assert [node.chain for node in found] == [hello] * 16 + [hi] * 16
    assert [node.session for node in found[:4]] == ["s07", "s03", "s19", "s09"]
    assert [node.session for node in found[16:19]] == ["s19", "s09", "s18"]
    (only,) = store.nodes_by_chain(LOCAL, [hi], SessionId("s05"))
    assert (only.session, only.message) == ("s05", talks[5].messages[0].hash)
    assert len(store.nodes_by_chain(LOCAL, [hi], limit=20)) == 20
    assert store.nodes_by_chain(OTHER, [hi]) == []


def test_many_values_are_asked_for_at_once(store: Store) -> None:
    talk = Talk()
    texts = [f"message {number}" for number in range(700)]
    records = talk.turns(*texts)
    store.write(records).result()
    hashes = [message.hash for message in talk.messages]
    assert store.wires(LOCAL, hashes) == {m.hash: m.wire for m in talk.messages}
    chains = talk.chains
    assert [node.chain for node in store.nodes_by_chain(LOCAL, chains)] == chains
    assert [node.chain for node in store.path(LOCAL, talk.id, talk.head)] == chains


def test_a_path_with_a_hole_is_refused(store: Store) -> None:
    talk = Talk()
    records = talk.turns("one", "two", "three")
    store.write(records[2:]).result()
    with pytest.raises(StoreCorrupt, match="missing"):
        store.path(LOCAL, talk.id, talk.head)


def test_steps_come_by_node_and_sequence(store: Store) -> None:
    talk = Talk()
    store.write(talk.say("one")).result()
    first, wires = talk.head, (b'{"role":"assistant"}', b'{"a":1}\n', b"", b"\x00\xff")
    firsts = [step(talk, 2, *wires), step(talk, 1)]
    records = talk.say("two")
    seconds = [step(talk, 1, b"{}")]
    store.write([*records, *firsts, *seconds]).result()
    asked = [talk.head, first, talk.head]
    assert store.steps(LOCAL, talk.id, asked) == [*seconds, firsts[1], firsts[0]]


def test_a_call_id_belongs_to_who_was_first(store: Store) -> None:
    talk = Talk()
    first = CallId(tenant=LOCAL, id="call_0", session=talk.id, node=NodeId(b"n"), minted=True)
    store.write([first, replace(first, session=NOWHERE, minted=False)]).result()
    assert store.call(LOCAL, "call_0") == first
    assert store.call(OTHER, "call_0") is None


def test_hits_counts_and_usage_are_kept_in_order(store: Store) -> None:
    talk = Talk()
    message = make_message("user", "find me")
    names = ["h3", "h1", "h2"]
    hits = [Hit(name, Place(message.key, 1), 0, 2, 5, "fi.d") for name in names]
    store.write([StoredHit(tenant=LOCAL, session=talk.id, hit=hit) for hit in hits]).result()
    again = StoredHit(tenant=LOCAL, session=talk.id, hit=hits[0]._replace(query="other"))
    store.write([again]).result()
    assert store.hits(LOCAL, talk.id) == hits
    count = TokenCount(tenant=LOCAL, hash=message.hash, encoding="o200k_base", tokens=7)
    store.write([count, replace(count, tokens=8), replace(count, encoding="x", tokens=9)]).result()
    assert store.token_counts(LOCAL, [message.hash], "o200k_base") == {message.hash: 7}
    assert store.token_counts(LOCAL, [message.hash], "y") == {}
    rows = [used("talk", tokens) for tokens in (5, 3, 5)]
    store.write(rows).result()
    assert store.usage(LOCAL, talk.id) == rows


def test_versions_are_read_along_their_own_line(store: Store) -> None:
    talk = Talk()
    store.write(talk.say("Hi")).result()
    line = random_line(5)
    trunk = [next(line) for _ in range(6)]
    base, state = trunk[3]
    twig_line = random_line(6, parent=base.version, state=state, depth=base.depth)
    twig = [next(twig_line) for _ in range(4)]
    store.write([talk.made(made) for made, _ in (*trunk, *twig)]).result()
    tip, end = trunk[-1][0], twig[-1][0]
    assert store.operations(LOCAL, talk.id, tip.version) == [made for made, _ in trunk[::-1]]
    grown = [made for made, _ in (*trunk[:4], *twig)]
    assert store.operations(LOCAL, talk.id, end.version) == grown[::-1]
    assert store.operations(LOCAL, talk.id, end.version, limit=3) == grown[:4:-1]
    assert store.operations(LOCAL, talk.id, end.version, limit=0) == []
    for depth, made in enumerate(grown, start=1):
        assert store.operation_at(LOCAL, talk.id, end.version, depth) == made
    assert store.operation_at(LOCAL, talk.id, tip.version, 5) == trunk[4][0]
    assert store.operation_at(LOCAL, talk.id, tip.version, 7) is None
    assert store.operation_at(LOCAL, talk.id, tip.version, 0) is None
    for made, after in (*trunk, *twig):
        assert store.state(LOCAL, talk.id, made.version) == after


def test_a_checkpoint_is_where_reading_begins(store: Store) -> None:
    talk = Talk()
    line = random_line(7)
    made = [next(line) for _ in range(9)]
    pinned = Place(make_message("user", "x").key, 0)
    pin = MessagePin(place=pinned, pinned_by="user")
    other = State().after([Change(pin_key(pinned), None, pin)])
    records = [talk.made(each, dump_state(other) if each.depth == 5 else None) for each, _ in made]
    store.write(records).result()
    versions = [each.version for each, _ in made]
    counts = [store.since_checkpoint(LOCAL, talk.id, version) for version in versions]
    assert counts == [1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert store.state(LOCAL, talk.id, versions[4]) == other
    assert store.state(LOCAL, talk.id, versions[5]) == other.after(made[5][0].changes)
    assert store.state(LOCAL, talk.id, versions[3]) == made[3][1]


def test_a_line_with_a_hole_is_refused(store: Store) -> None:
    talk = Talk()
    line = random_line(8)
    made = [next(line)[0] for _ in range(4)]
    store.write([talk.made(each) for each in made if each.depth != 2]).result()
    tip = made[-1].version
    for read in (store.state, store.operations, store.since_checkpoint):
        with pytest.raises(StoreCorrupt, match=f"{made[1].version}.* is missing"):
            read(LOCAL, talk.id, tip)
    with pytest.raises(StoreCorrupt, match="missing"):
        store.state(LOCAL, talk.id, VersionId("e" * 32))
    assert store.operations(LOCAL, talk.id, tip, limit=2) == [made[3], made[2]]


def everything(talk: Talk, store: Store) -> list[StoredOperation]:
    """Write one of each kind of record to a session."""
    records = talk.opening("shared", f"answer to {talk.name}")
    line = random_line(9)
    made = [talk.made(next(line)[0]) for _ in range(2)]
    message = talk.messages[0]
    store.write(
        [
            *records,
            *made,
            step(talk, 1, make_message("tool", "shared step").wire, talk.name.encode()),
            CallId(tenant=talk.tenant, id=talk.name, session=talk.id, node=talk.head, minted=True),
            StoredHit(
                tenant=talk.tenant,
                session=talk.id,
                hit=Hit("h1", Place(message.key, 0), 0, 0, 1, "q"),
            ),
            *(
                TokenCount(tenant=talk.tenant, hash=each.hash, encoding="e", tokens=1)
                for each in talk.messages
            ),
            used(talk.name, 3, talk.tenant),
        ]
    ).result()
    return made


def contents(talk: Talk, store: Store, made: list[StoredOperation]) -> list[object]:
    """Read one of each kind of record of a session."""
    hashes = [message.hash for message in talk.messages]
    at = (talk.tenant, talk.id)
    return [
        store.session(*at),
        store.lanes(*at),
        store.path(*at, talk.head),
        store.nodes_by_chain(talk.tenant, talk.chains, talk.id),
        store.wires(talk.tenant, hashes),
        store.token_counts(talk.tenant, hashes, "e"),
        [store.operation_at(*at, made[-1].operation.version, depth) for depth in (1, 2)],
        store.steps(*at, [talk.head]),
        store.call(talk.tenant, talk.name),
        store.hits(*at),
        store.usage(*at),
    ]


def test_deleting_a_session_harms_no_other(store: Store) -> None:
    gone, kept, foreign = Talk("gone"), Talk("kept"), Talk("gone", tenant=OTHER)
    made = everything(gone, store)
    for talk in (kept, foreign):
        everything(talk, store)
    before = [contents(talk, store, made) for talk in (kept, foreign)]
    store.write([DeleteSession(tenant=LOCAL, id=gone.id)]).result()
    assert [contents(talk, store, made) for talk in (kept, foreign)] == before
    shared, own = (message.hash for message in gone.messages)
    left = contents(gone, store, made)
    assert left.pop(4) == {shared: gone.messages[0].wire}
    assert left.pop(4) == {shared: 1}
    assert left == [None, [], [], [], [None, None], [], None, [], []]
    assert store.verify() == []
    store.write([DeleteSession(tenant=LOCAL, id=kept.id)]).result()
    assert store.wires(LOCAL, [shared, own, kept.messages[1].hash]) == {}
    assert store.token_counts(LOCAL, [shared, own], "e") == {}
    assert contents(foreign, store, made) == before[1]
    store.write([DeleteSession(tenant=LOCAL, id=kept.id)]).result()


def test_bytes_in_use_as_instructions_or_steps_stay(store: Store) -> None:
    shared = make_message("system", "be brief")
    gone = Talk("gone")
    records = [stored(shared), *gone.say("Hi", instructions=((0, shared.hash),))]
    store.write([gone.opened(), *records]).result()
    kept = Talk("kept")
    node = kept.say("Ho", instructions=((0, shared.hash),))
    store.write([kept.opened(), *node, step(kept, 1, gone.messages[0].wire)]).result()
    store.write([DeleteSession(tenant=LOCAL, id=gone.id)]).result()
    hashes = [shared.hash, gone.messages[0].hash]
    assert set(store.wires(LOCAL, hashes)) == set(hashes)
    store.write([DeleteSession(tenant=LOCAL, id=kept.id)]).result()
    assert store.wires(LOCAL, hashes) == {}


def test_bytes_of_a_second_attempt_go_with_their_session(store: Store) -> None:
    talk, systems = Talk(), [make_message("system", text) for text in ("Monday", "Tuesday")]
    _, node = talk.say("Hi", instructions=((0, systems[0].hash),))
    assert isinstance(node, Node)
    again = replace(node, instructions=((0, systems[1].hash),))
    brought = [*map(stored, systems), stored(talk.messages[0])]
    tries = [step(talk, 1, systems[0].wire), step(talk, 1, make_message("tool", "late").wire)]
    late = stored(make_message("tool", "late"))
    store.write([talk.opened(), *brought, late, node, again, *tries]).result()
    hashes = [message.hash for message in (*brought, late)]
    assert len(store.wires(LOCAL, hashes)) == 4
    store.write([DeleteSession(tenant=LOCAL, id=talk.id)]).result()
    assert store.wires(LOCAL, hashes) == {}


def test_of_the_bytes_a_message_came_in_the_last_count_and_all_are_kept(store: Store) -> None:
    talk, forms = Talk(), [make_message("user", text) for text in ("Hi ", " Hi", "Hi  ")]
    first = talk.say("Hi")
    answer = talk.say("Hello", "assistant")
    again = talk.say("more", respelled=((0, forms[0].hash),))
    store.write([talk.opened(), *map(stored, forms), *first, *answer, *again]).result()
    path = store.path(LOCAL, talk.id, talk.head)
    own = [message.hash for message in talk.messages]
    assert last_sent(path) == [forms[0].hash, *own[1:]]
    assert last_sent(path[:2]) == own[:2]
    for form in forms[1:]:
        more = Respelled(tenant=LOCAL, session=talk.id, node=talk.head, respelled=((0, form.hash),))
        store.write([more]).result()
    assert last_sent(store.path(LOCAL, talk.id, talk.head)) == [forms[2].hash, *own[1:]]
    names = [*own, *(form.hash for form in forms)]
    assert set(store.wires(LOCAL, names)) == set(names)
    assert store.verify() == []
    store.write([DeleteSession(tenant=LOCAL, id=talk.id)]).result()
    assert store.wires(LOCAL, names) == {}


def test_tenants_never_meet(store: Store) -> None:
    mine, theirs = Talk("same"), Talk("same", tenant=OTHER)
    made = everything(mine, store)
    before = contents(mine, store, made)
    empty = contents(theirs, store, made)
    assert empty == [None, [], [], [], {}, {}, [None, None], [], None, [], []]
    everything(theirs, store)
    assert contents(mine, store, made) == before
    assert mine.chains != theirs.chains
    assert store.nodes_by_chain(OTHER, mine.chains) == []
    assert [total.session.tenant for total in store.sessions(OTHER)] == [OTHER]


def test_after_closing_a_write_fails_and_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.write([Talk().opened()]).result()


def test_chains_of_a_store_are_those_of_the_messages(store: Store) -> None:
    talk = Talk()
    store.write(talk.turns("a", "b")).result()
    chains = [node.chain for node in store.path(LOCAL, talk.id, talk.head)]
    assert chains == chain_of(talk.messages, LOCAL)


def test_ranked_search_finds_passages_of_the_messages_asked_for(store: Store) -> None:
    mine, theirs = Talk("mine"), Talk("theirs", tenant=OTHER)
    store.write(mine.turns("the kettle is in the attic", "thanks", "copper kettle, 北京")).result()
    store.write(theirs.turns("their kettle")).result()
    hashes = [message.hash for message in mine.messages]
    unknown = MessageHash(b"?" * 16)
    hits = store.ranked(LOCAL, [*hashes, unknown], "copper kettle")
    assert [hit.hash for hit in hits] == [hashes[2], hashes[0]]
    assert (hits[1].part, hits[1].start, hits[1].end) == (0, 0, 26)
    assert [hit.hash for hit in store.ranked(LOCAL, hashes[:2], "kettle")] == [hashes[0]]
    assert (
        store.ranked(LOCAL, hashes, "kettle", limit=1) == store.ranked(LOCAL, hashes, "kettle")[:1]
    )
    assert store.ranked(OTHER, hashes, "kettle") == []
    store.write(mine.say("a kettle more")).result()
    added = [message.hash for message in mine.messages]
    assert added[-1] in [hit.hash for hit in store.ranked(LOCAL, added, "kettle")]


def test_what_is_deleted_is_not_found_by_rank(store: Store) -> None:
    talk = Talk()
    store.write(talk.opening("the kettle")).result()
    hashes = [message.hash for message in talk.messages]
    assert len(store.ranked(LOCAL, hashes, "kettle")) == 1
    store.write([DeleteSession(tenant=LOCAL, id=talk.id)]).result()
    assert store.ranked(LOCAL, hashes, "kettle") == []
    again = Talk("again")
    store.write(again.opening("the kettle")).result()
    assert len(store.ranked(LOCAL, hashes, "kettle")) == 1
