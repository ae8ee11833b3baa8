"""Races of requests in one lane: nothing of either is lost, and neither sees the other's work."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import count

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sculptor.chat import Completed
from sculptor.context import Step
from sculptor.errors import StaleHead
from sculptor.loop import ClientRequest, MessageCache, read_request, turn_of
from sculptor.messages import make_message
from sculptor.operations import Pin
from sculptor.server.identity import Identity
from sculptor.server.lanes import Lanes
from sculptor.server.live_lane import LiveLane
from sculptor.store import LOCAL, MemoryStore
from sculptor.store.records import Record
from sculptor.tokens import TokenCounter

COUNTER = TokenCounter()
USER = {"role": "user", "content": "Is it so?"}
ANSWER = {"role": "assistant", "content": "It is."}
MORE = {"role": "user", "content": "And this?"}
NO_HEADERS: Mapping[str, str] = {}


class LateStore(MemoryStore):
    """A store in memory that can let writes wait, as a thread with much to do does."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = False
        self._waiting: list[tuple[Sequence[Record], Future[None]]] = []

    def write(self, records: Sequence[Record]) -> Future[None]:
        if not self.waits:
            return super().write(records)
        future: Future[None] = Future()
        self._waiting.append((records, future))
        return future

    def catch_up(self) -> None:
        """Write what waits, in order."""
        self.waits = False
        for records, future in self._waiting:
            error = self.write(records).exception()
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


@pytest.fixture
def store() -> Iterator[LateStore]:
    made = LateStore()
    yield made
    assert made.verify() == []


@pytest.fixture
def lanes(store: LateStore) -> Lanes:
    return lanes_of(store)


def lanes_of(store: MemoryStore) -> Lanes:
    ticks = count()
    return Lanes(
        store,
        Identity(store, b"secret"),
        counter_of=lambda _: COUNTER,
        clock=lambda: 1_000.0 + next(ticks) / 1_000,
    )


def request(*messages: object) -> ClientRequest:
    return request_of([orjson.dumps(message) for message in messages])


def request_of(wires: Sequence[bytes]) -> ClientRequest:
    return read_request(b'{"model":"m","messages":[%b]}' % b",".join(wires), MessageCache())


async def answered(lanes: Lanes, live: LiveLane, text: str = "It is.") -> LiveLane:
    wire = orjson.dumps({"role": "assistant", "content": text})
    answer = Completed(message=orjson.loads(wire), finish_reason="stop")
    await lanes.answer(live, turn_of(answer), wire)
    return live


def step(live: LiveLane, text: str) -> Step:
    made = Step(len(live.context.messages) - 1, (make_message("assistant", text),))
    live.context.steps.append(made)
    return made


def stored_messages(store: MemoryStore, live: LiveLane) -> list[object]:
    path = store.path(LOCAL, live.session.id, live.lane.node)
    wires = store.wires(LOCAL, [node.message for node in path])
    return [orjson.loads(wires[node.message]) for node in path]


def stored_steps(store: MemoryStore, live: LiveLane) -> list[object]:
    found = store.steps(LOCAL, live.session.id, [live.node.id])
    return [orjson.loads(wire)["content"] for step in found for wire in step.messages]


def test_steps_of_two_tries_at_one_turn_are_both_stored(store: LateStore, lanes: Lanes) -> None:
    async def main() -> None:
        await answered(lanes, lanes.open(LOCAL, request(USER), NO_HEADERS))
        tries = [lanes.open(LOCAL, request(USER, ANSWER, MORE), NO_HEADERS) for _ in range(2)]
        for number in range(2):
            for name, live in zip("ab", tries, strict=True):
                await lanes.writer.keep(live, step(live, f"{name}{number}"), None)
        assert stored_steps(store, tries[0]) == ["a0", "b0", "a1", "b1"]

    asyncio.run(main())


def test_a_context_in_use_is_lent_to_no_other_request(store: LateStore, lanes: Lanes) -> None:
    async def main() -> None:
        begun = lanes.open(LOCAL, request(USER), NO_HEADERS)
        assert len(begun.context.messages) == 1
        await answered(lanes, begun)
        first = lanes.open(LOCAL, request(USER, ANSWER, MORE), NO_HEADERS)
        held = step(first, "mine")
        second = lanes.open(LOCAL, request(USER, ANSWER, MORE), NO_HEADERS)
        step(second, "theirs")
        second.context.perform(Pin(places=(second.context.places[0],)), author="user")
        assert first.context.steps == [held]
        assert first.context.depth == 0
        assert [orjson.loads(wire)["content"] for wire in first.context.view().messages] == [
            "Is it so?",
            "It is.",
            "And this?",
            "mine",
        ]

    asyncio.run(main())


def test_a_context_that_nobody_uses_is_taken_up_again(lanes: Lanes) -> None:
    async def main() -> None:
        first = lanes.open(LOCAL, request(USER), NO_HEADERS)
        assert len(first.context.messages) == 1
        await answered(lanes, first)
        second = lanes.open(LOCAL, request(USER, ANSWER, MORE), NO_HEADERS)
        assert second.context is first.context
        assert len(second.context.messages) == 3

    asyncio.run(main())


def test_a_context_waits_while_requests_pass_that_need_none(lanes: Lanes) -> None:
    async def main() -> None:
        first = lanes.open(LOCAL, request(USER), NO_HEADERS)
        assert len(first.context.messages) == 1
        await answered(lanes, first)
        second = lanes.open(LOCAL, request(USER, ANSWER, MORE), NO_HEADERS)
        await answered(lanes, second)
        assert second.made is None
        third = lanes.open(LOCAL, request(USER, ANSWER, MORE, ANSWER, USER), NO_HEADERS)
        assert third.context is first.context
        assert len(third.context.messages) == 5

    asyncio.run(main())


def test_what_a_request_brought_survives_a_lost_race(store: LateStore, lanes: Lanes) -> None:
    async def main() -> None:
        first = await answered(lanes, lanes.open(LOCAL, request(USER), NO_HEADERS))
        store.waits = True
        live = lanes.open(LOCAL, request(USER, ANSWER, MORE), NO_HEADERS)
        store.waits = False
        head = store.lane(LOCAL, first.session.id, first.lane.id)
        assert head is not None
        person = lanes.resume(LOCAL, first.session, head)
        person.context.perform(Pin(places=(person.context.places[0],)), author="user")
        await lanes.save(person)
        store.catch_up()
        assert live.written is not None
        assert isinstance(live.written.exception(), StaleHead)
        await lanes.writer.settle(live)
        assert stored_messages(store, live) == [USER, ANSWER, MORE]
        await answered(lanes, live, "This too.")
        assert live.lane.id != first.lane.id
        said = {"role": "assistant", "content": "This too."}
        assert stored_messages(store, live) == [USER, ANSWER, MORE, said]
        moved = store.lane(LOCAL, first.session.id, first.lane.id)
        assert moved is not None
        assert moved.version == person.context.version
        assert stored_messages(store, first) == [USER, ANSWER]

    asyncio.run(main())


def test_a_new_try_at_an_answered_turn_begins_without_its_steps(
    store: LateStore, lanes: Lanes
) -> None:
    async def main() -> None:
        asked = request(USER, ANSWER, MORE)
        await answered(lanes, lanes.open(LOCAL, request(USER), NO_HEADERS))
        first = lanes.open(LOCAL, asked, NO_HEADERS)
        await lanes.writer.keep(first, step(first, "looked"), None)
        resumed = lanes.open(LOCAL, asked, NO_HEADERS)
        assert [made.messages[0].text for made in resumed.context.steps] == ["looked"]
        await answered(lanes, first, "This too.")
        assert lanes.open(LOCAL, asked, NO_HEADERS).context.steps == []

    asyncio.run(main())


def shown_by(store: MemoryStore, lanes: Lanes, live: LiveLane) -> list[bytes]:
    """Return the messages of a lane as people are shown them."""
    lane = store.lane(LOCAL, live.session.id, live.lane.id)
    assert lane is not None
    return [message.wire for message in lanes.resume(LOCAL, live.session, lane).context.messages]


def test_a_lane_takes_back_what_another_spelled_at_its_head(store: LateStore, lanes: Lanes) -> None:
    async def main() -> None:
        first = await answered(lanes, lanes.open(LOCAL, request(USER), NO_HEADERS))
        other = {"x-claude-code-agent-id": "helper", "x-session-id": first.session.id}
        loud = [USER | {"name": "ann"}, ANSWER | {"name": "bot"}]
        helper = await answered(lanes, lanes.open(LOCAL, request(*loud), other), "Yes.")
        assert helper.lane.id != first.lane.id
        assert shown_by(store, lanes, helper)[:2] == [orjson.dumps(each) for each in loud]
        plain = [USER, ANSWER, MORE]
        again = await answered(lanes, lanes.open(LOCAL, request(*plain), NO_HEADERS))
        assert again.lane.id == first.lane.id
        assert shown_by(store, lanes, again)[:3] == [orjson.dumps(each) for each in plain]

    asyncio.run(main())


def test_a_talk_that_begins_with_system_text_alone_goes_on(store: LateStore, lanes: Lanes) -> None:
    async def main() -> None:
        system = {"role": "system", "content": "Say that it is."}
        begun = await answered(lanes, lanes.open(LOCAL, request(system), NO_HEADERS))
        said = orjson.dumps(ANSWER)
        assert shown_by(store, lanes, begun) == [orjson.dumps(system), said]
        for answer in (ANSWER, ANSWER | {"name": "bot"}):
            listed = [system | {"content": "Hm."}, answer, MORE]
            live = await answered(lanes, lanes.open(LOCAL, request(*listed), NO_HEADERS))
            assert live.session.id == begun.session.id
            assert shown_by(store, lanes, live) == [*map(orjson.dumps, listed), said]

    asyncio.run(main())


SPELLINGS = (
    b'{"role":"%b","content":"%b"}',
    b'{ "role":"%b", "content":" %b "}',
    b'{"role":"%b","content":[{"type":"text","text":"%b"}]}',
    b'{"role":"%b","content":"%b","name":"n","x":1.50}',
)
Said = list[tuple[bytes, bytes]]


@st.composite
def talks(draw: st.DrawFn) -> list[tuple[list[bytes], bool]]:
    """Draw requests of one conversation as their messages, and whether memory was lost before.

    Each goes on, tries again or branches, and spells every message as it likes.
    """
    told: Said = [(b"user", b"q0")]
    made: list[tuple[list[bytes], bool]] = []
    for number in range(1, draw(st.integers(2, 6))):
        system = [SPELLINGS[0] % (b"system", draw(st.sampled_from([b"one", b"two"])))]
        spelled = [draw(st.sampled_from(SPELLINGS)) % each for each in told]
        made.append((system[: draw(st.integers(0, 1))] + spelled, draw(st.booleans())))
        way = draw(st.sampled_from(["on", "on", "retry", "branch"]))
        if way == "on":
            told = [*told, (b"assistant", b"yes"), (b"user", b"q%d" % number)]
        elif way == "branch" and len(told) > 1:
            told = [*told[:-1], (b"user", b"b%d" % number)]
    return made


RESPELLED_BY_A_RETRY: list[tuple[list[bytes], bool]] = [
    ([SPELLINGS[1] % (b"user", b"q0")], False),
    ([SPELLINGS[0] % (b"user", b"q0")], False),
    (
        [
            SPELLINGS[0] % (b"user", b"q0"),
            b'{"role":"assistant","content":"yes"}',
            orjson.dumps(USER),
        ],
        False,
    ),
    (
        [
            SPELLINGS[1] % (b"user", b"q0"),
            b'{"role":"assistant","content":"yes"}',
            orjson.dumps(MORE),
        ],
        False,
    ),
]


@given(talks())
@example(RESPELLED_BY_A_RETRY)
def test_a_lane_shows_each_message_in_the_bytes_it_came_in_last(
    made: list[tuple[list[bytes], bool]],
) -> None:
    store = MemoryStore()
    lanes = lanes_of(store)

    async def main() -> None:
        nonlocal lanes
        for wires, forgets in made:
            lanes = lanes_of(store) if forgets else lanes
            asked = request_of(wires)
            live = await answered(lanes, lanes.open(LOCAL, asked, {"x-session-id": "s"}), "yes")
            shown = shown_by(store, lanes, live)
            assert shown[-1] == b'{"role":"assistant","content":"yes"}'
            if wires[0].startswith(b'{"role":"system"') or shown[0] == wires[0]:
                assert shown[:-1] == wires
            else:
                assert shown[1:-1] == wires
        sent = {message.hash: message.wire for w, _ in made for message in request_of(w).messages}
        assert store.wires(LOCAL, list(sent)) == sent

    asyncio.run(main())
    assert store.verify() == []
