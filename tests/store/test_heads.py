"""Writers at one place: a lane's head moves on from where each found it, and nothing is lost."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from sculptor.errors import StaleHead
from sculptor.messages import make_message
from sculptor.operations import VersionId
from sculptor.store import LOCAL, Store
from sculptor.store.records import LaneId, MoveHead, Node, Record

from .builders import Talk, stored

MAIN = LaneId("main")


def test_of_two_answers_the_second_does_not_take_the_place_of_the_first(store: Store) -> None:
    talk = Talk()
    store.write(talk.opening("Hi")).result()
    asked = talk.lane()
    first, second = (replace(talk, messages=list(talk.messages)) for _ in range(2))
    store.write(
        [*first.say("one", "assistant"), MoveHead(lane=first.lane(), expected=asked.head)]
    ).result()
    late = [*second.say("two", "assistant"), MoveHead(lane=second.lane(), expected=asked.head)]
    with pytest.raises(StaleHead, match="main"):
        store.write(late).result()
    assert store.lane(LOCAL, talk.id, MAIN) == first.lane()
    assert store.node(LOCAL, talk.id, second.head) is None


def test_a_head_never_goes_back_to_where_another_moved_it_from(store: Store) -> None:
    talk = Talk()
    store.write(talk.opening("Hi")).result()
    asked = talk.lane()
    answer = talk.say("one", "assistant")
    store.write([*answer, MoveHead(lane=talk.lane(), expected=asked.head)]).result()
    with pytest.raises(StaleHead):
        store.write([MoveHead(lane=asked, expected=asked.head)]).result()
    assert store.lane(LOCAL, talk.id, MAIN) == talk.lane()


def test_a_head_may_be_moved_to_where_it_stands_by_now(store: Store) -> None:
    talk = Talk()
    store.write(talk.opening("Hi")).result()
    start = talk.lane().head
    said = talk.say("It is so", "assistant")
    for used in (5.0, 7.0):
        move = MoveHead(lane=talk.lane(used=used), expected=start)
        store.write([*said, move]).result()
    assert store.lane(LOCAL, talk.id, MAIN) == talk.lane(used=7.0)
    elsewhere = start._replace(version=VersionId("1" * 32))
    with pytest.raises(StaleHead):
        store.write([MoveHead(lane=talk.lane(), expected=elsewhere)]).result()


def test_of_many_writers_at_once_one_moves_the_head(store: Store) -> None:
    talk, count = Talk(), 8
    store.write(talk.opening("Hi")).result()
    start, gate = talk.lane().head, Barrier(count)

    def answer(number: int) -> Exception | None:
        own = replace(talk, messages=list(talk.messages))
        records = own.say(f"answer {number}", "assistant")
        gate.wait(10)
        write = store.write([*records, MoveHead(lane=own.lane(), expected=start)])
        return write.exception(10)  # type: ignore[return-value]

    with ThreadPoolExecutor(count) as pool:
        errors = list(pool.map(answer, range(count)))
    assert [type(error) for error in errors if error is not None] == [StaleHead] * (count - 1)
    (kept,) = store.children(LOCAL, talk.id, start.node)
    held = store.lane(LOCAL, talk.id, MAIN)
    assert held is not None
    assert held.node == kept.id
    assert store.verify() == []


def test_a_node_brought_twice_at_once_keeps_what_came_with_either(store: Store) -> None:
    talk = Talk()
    systems = [make_message("system", text) for text in ("one", "two", "three")]
    placed = [(0, message.hash) for message in systems]
    _, node = talk.say("Hi", instructions=(placed[0],), respelled=(placed[0],))
    assert isinstance(node, Node)
    brought: list[Record] = [talk.opened(), *map(stored, systems), stored(talk.messages[0])]
    more = (placed[1], placed[2])
    other = replace(node, instructions=more, respelled=(placed[1],))
    bare = replace(node, instructions=(), respelled=())
    for each in (node, other, node, bare, other, replace(node, instructions=more[:1])):
        store.write([*brought, each]).result()
    held = store.node(LOCAL, talk.id, node.id)
    assert held == replace(node, instructions=(placed[0], *more), respelled=tuple(placed[:2]))
    assert store.verify() == []
