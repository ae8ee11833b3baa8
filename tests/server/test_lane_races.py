"""Answers given at once to one message: each stays within reach, on a lane of its own."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from sculptor.chat import Completed
from sculptor.context import Step
from sculptor.errors import StaleHead
from sculptor.loop import MessageCache, read_request, turn_of
from sculptor.messages import make_message
from sculptor.operations import Pin
from sculptor.server.identity import Identity
from sculptor.server.lanes import Lanes
from sculptor.server.live_lane import LiveLane
from sculptor.store import LOCAL, MemoryStore, SqliteStore, Store
from sculptor.store.records import DeleteSession
from sculptor.tokens import TokenCounter
from tests.server.managing import Managed, managed
from tests.server.stub_upstream import StubUpstream, say

COUNTER = TokenCounter()
USER = {"role": "user", "content": "Is it so?"}
ANSWER = {"role": "assistant", "content": "It is."}
MORE = {"role": "user", "content": "And this?"}
KINDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "store.db"),
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = KINDS[request.param](tmp_path)
    yield made
    assert made.verify() == []
    made.close()


@pytest.fixture
def lanes(store: Store) -> Lanes:
    ticks = count()
    return Lanes(
        store,
        Identity(store, b"secret"),
        counter_of=lambda _: COUNTER,
        clock=lambda: 1_000.0 + next(ticks) / 1_000,
    )


def opened(lanes: Lanes, *messages: object) -> LiveLane:
    body = orjson.dumps({"model": "m", "messages": messages})
    return lanes.open(LOCAL, read_request(body, MessageCache()), {"x-session-id": "race"})


async def answered(lanes: Lanes, live: LiveLane, text: str = "It is.") -> LiveLane:
    message = {"role": "assistant", "content": text}
    turn = turn_of(Completed(message=message, finish_reason="stop"))
    await lanes.answer(live, turn, orjson.dumps(message))
    return live


def texts(lanes: Lanes, live: LiveLane) -> set[tuple[str, ...]]:
    """Return what each lane of a session shows, as its texts."""
    held = lanes.store.lanes(LOCAL, live.session.id)
    resumed = [lanes.resume(LOCAL, live.session, lane) for lane in held]
    return {tuple(m.text for m in each.context.messages) for each in resumed}


async def pinned_meanwhile(lanes: Lanes, live: LiveLane) -> LiveLane:
    """Return a person's view of a lane that is being answered, with a message pinned, unsaved."""
    await lanes.writer.settle(live)
    lane = lanes.store.lane(LOCAL, live.session.id, live.lane.id)
    assert lane is not None
    person = lanes.resume(LOCAL, live.session, lane)
    person.context.perform(Pin(places=(person.context.places[0],)), author="user")
    return person


BEGUN = ("Is it so?", "It is.")


@pytest.mark.parametrize("settled", [False, True])
def test_each_of_the_answers_to_one_message_is_on_a_lane(lanes: Lanes, settled: bool) -> None:
    async def main() -> None:
        await answered(lanes, opened(lanes, USER))
        tries = []
        for _ in range(4):
            tries.append(opened(lanes, USER, ANSWER, MORE))
            if settled:  # else each is opened before the one before it is written
                await lanes.writer.settle(tries[-1])
        await asyncio.gather(*(answered(lanes, live, f"{n}") for n, live in enumerate(tries)))
        assert len({live.lane.id for live in tries}) == 4
        assert texts(lanes, tries[0]) == {(*BEGUN, "And this?", f"{n}") for n in range(4)}
        heads = {lane.id: lane.node for lane in lanes.store.lanes(LOCAL, tries[0].session.id)}
        assert heads == {live.lane.id: live.node.id for live in tries}

    asyncio.run(main())


def test_a_talk_goes_on_from_each_of_the_answers(lanes: Lanes) -> None:
    async def main() -> None:
        await answered(lanes, opened(lanes, USER))
        tries = [opened(lanes, USER, ANSWER, MORE) for _ in range(2)]
        await asyncio.gather(*(answered(lanes, live, f"{n}") for n, live in enumerate(tries)))
        for number, live in enumerate(tries):
            said = {"role": "assistant", "content": f"{number}"}
            on = await answered(lanes, opened(lanes, USER, ANSWER, MORE, said, MORE), "end")
            assert on.lane.id == live.lane.id

    asyncio.run(main())


def test_the_same_answer_twice_makes_no_second_lane(lanes: Lanes) -> None:
    async def main() -> None:
        await answered(lanes, opened(lanes, USER))
        tries = []
        for _ in range(3):
            tries.append(opened(lanes, USER, ANSWER, MORE))
            await lanes.writer.settle(tries[-1])
        await asyncio.gather(*(answered(lanes, live, "same") for live in tries))
        assert len(lanes.store.lanes(LOCAL, tries[0].session.id)) == 1

    asyncio.run(main())


def test_two_messages_at_once_after_one_answer_part_ways(lanes: Lanes) -> None:
    async def main() -> None:
        await answered(lanes, opened(lanes, USER))
        asked = [{"role": "user", "content": text} for text in ("this?", "that?")]
        tries = [opened(lanes, USER, ANSWER, each) for each in asked]
        for live in tries:
            await lanes.writer.settle(live)
        assert texts(lanes, tries[0]) == {(*BEGUN, "this?"), (*BEGUN, "that?")}
        await asyncio.gather(*(answered(lanes, live, "yes") for live in tries))
        assert texts(lanes, tries[0]) == {(*BEGUN, "this?", "yes"), (*BEGUN, "that?", "yes")}

    asyncio.run(main())


def test_a_step_after_the_answer_of_another_leaves_that_on_its_lane(lanes: Lanes) -> None:
    async def main() -> None:
        await answered(lanes, opened(lanes, USER))
        quick, slow = (opened(lanes, USER, ANSWER, MORE) for _ in range(2))
        await answered(lanes, quick, "quick")
        step = Step(len(slow.context.messages) - 1, (make_message("assistant", "looking"),))
        slow.context.steps.append(step)
        await lanes.writer.keep(slow, step, None)
        assert texts(lanes, quick) == {(*BEGUN, "And this?", "quick"), (*BEGUN, "And this?")}
        await answered(lanes, slow, "slow")
        assert texts(lanes, quick) == {(*BEGUN, "And this?", said) for said in ("quick", "slow")}

    asyncio.run(main())


def test_what_a_person_does_meanwhile_takes_no_answer_away(lanes: Lanes) -> None:
    async def main() -> None:
        await answered(lanes, opened(lanes, USER))
        live = opened(lanes, USER, ANSWER, MORE)
        person = await pinned_meanwhile(lanes, live)
        await answered(lanes, live, "done")
        with pytest.raises(StaleHead):
            await lanes.save(person)
        assert texts(lanes, live) == {(*BEGUN, "And this?", "done")}

    asyncio.run(main())


def test_an_answer_follows_what_a_person_did_to_its_lane(lanes: Lanes) -> None:
    async def main() -> None:
        await answered(lanes, opened(lanes, USER))
        live = opened(lanes, USER, ANSWER, MORE)
        person = await pinned_meanwhile(lanes, live)
        await lanes.save(person)
        await answered(lanes, live, "done")
        (held,) = lanes.store.lanes(LOCAL, live.session.id)
        assert (held.node, held.version) == (live.node.id, person.context.version)

    asyncio.run(main())


def exported(server: Managed, session: str) -> list[dict[str, Any]]:
    answer = server.client.get(f"/api/sessions/{session}/export")
    lanes: list[dict[str, Any]] = answer.json()["lanes"]
    return lanes


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("admission", ["auto", "on"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_that_a_client_got_is_exported(
    kind: str, admission: str, stream: bool, tmp_path: Path
) -> None:
    samples = {f"sample {number}" for number in range(6)}
    name = {"x-session-id": "sampled"}
    file = tmp_path / "store.db" if kind == "sqlite" else None
    with SlowUpstream() as upstream:
        upstream.answers += [say("It is."), *map(say, sorted(samples))]
        given: dict[str, Any] = {
            "backend": "openai",
            "upstream": upstream.url,
            "admission": admission,
        }
        with managed(file=file, **given) as server:
            session = server.chat(USER, **name)
            body = {"model": "m", "messages": [USER, ANSWER, MORE], "stream": stream}

            def ask(_: object) -> bytes:
                url = "/v1/chat/completions"
                return server.client.post(url, json=body, headers=name).content

            with ThreadPoolExecutor(len(samples)) as pool:
                answers = list(pool.map(ask, samples))
            lanes = exported(server, session)
            assert server.store.verify() == []
    assert all(b"sampl" in answer for answer in answers)
    assert {lane["messages"][-1]["content"] for lane in lanes} == samples
    assert len(lanes) == len(samples)
    assert all(len(lane["messages"]) == 4 for lane in lanes)


class SlowUpstream(StubUpstream):
    """An upstream that thinks for a moment, so that requests sent at once are answered at once."""

    async def _chat(self, request: Any) -> Any:
        await asyncio.sleep(0.3)
        return await super()._chat(request)


def test_an_answer_to_a_session_that_was_deleted_meanwhile_is_not_stored(lanes: Lanes) -> None:
    async def main() -> None:
        live = opened(lanes, USER)
        await lanes.writer.settle(live)
        assert live.is_stored
        gone = DeleteSession(tenant=LOCAL, id=live.session.id)
        await asyncio.wrap_future(lanes.store.write([gone]))
        await answered(lanes, live)
        assert not live.is_stored
        assert lanes.store.session(LOCAL, live.session.id) is None

    asyncio.run(main())
