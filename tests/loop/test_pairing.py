"""Calls and results belong together, and what can be repaired is repaired on both sides."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.errors import InvalidMessage
from sculptor.loop.pairing import check_shape, mend_arguments, pair_up
from sculptor.messages import Message, parse_message

from .scripted import message


def assistant(*ids: str, arguments: Any = "{}") -> Message:
    made = [
        {"id": name, "type": "function", "function": {"name": "f", "arguments": arguments}}
        for name in ids
    ]
    return message("assistant", None, tool_calls=made)


def result(call_id: str, text: str = "done") -> Message:
    return message("tool", text, tool_call_id=call_id)


def user(text: str = "hi") -> Message:
    return message("user", text)


def check_pairs(listed: list[Message] | tuple[Message, ...]) -> tuple[Message, ...]:
    return tuple(parse_message(wire) for wire in pair_up(listed))


def test_a_list_in_order_comes_back_as_the_same_objects() -> None:
    listed = [user(), assistant("a", "b"), result("b"), result("a"), user()]
    assert all(given.wire is kept for given, kept in zip(listed, pair_up(listed), strict=True))


def test_ids_that_come_twice_are_renamed_on_both_sides() -> None:
    listed = [user(), assistant("a"), result("a", "1"), assistant("a"), result("a", "2")]
    checked = check_pairs(listed)
    assert [m.call_ids for m in checked] == [(), ("a",), (), ("a_2",), ()]
    assert [m.result_for for m in checked] == [None, None, "a", None, "a_2"]
    assert [m.text for m in checked] == [m.text for m in listed]


def test_a_new_name_never_meets_one_that_is_there() -> None:
    listed = [assistant("a"), result("a"), assistant("a_2"), result("a_2"), assistant("a")]
    checked = check_pairs([user(), *listed, result("a")])
    names = [name for m in checked for name in m.call_ids]
    assert len(set(names)) == len(names)


def test_a_new_name_never_meets_a_later_one_of_the_same_message() -> None:
    listed = [user(), assistant("a"), result("a"), assistant("a", "a_2"), result("a_2", "second")]
    checked = check_pairs([*listed, result("a", "first")])
    assert checked[3].call_ids == ("a_3", "a_2")
    assert [m.text for m in checked if m.result_for == "a_3"] == ["first"]
    assert_paired(checked)


@pytest.mark.parametrize(
    ("listed", "param"),
    [
        ([user(), result("a")], "messages[1].tool_call_id"),
        ([user(), assistant("a"), user()], "messages[1]"),
        ([user(), assistant("a")], "messages[1]"),
        ([user(), assistant("a", "b"), result("a")], "messages[2]"),
        ([user(), assistant("a"), result("a"), result("a")], "messages[3].tool_call_id"),
        ([user(), assistant("a"), result("b")], "messages[2].tool_call_id"),
        ([user(), assistant("a", "a"), result("a")], "tool_calls"),
    ],
)
def test_an_orphan_on_either_side_is_refused_with_words(listed: list[Message], param: str) -> None:
    with pytest.raises(InvalidMessage) as raised:
        check_pairs(listed)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("sent", "mended"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("", "{}"),
        (None, "{}"),
        ('{"a": ', '{"_raw":"{\\"a\\": "}'),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_arguments_become_json_and_nothing_is_lost(sent: Any, mended: str) -> None:
    assert mend_arguments(sent) == mended
    (checked, _) = check_pairs([assistant("a", arguments=sent), result("a")])
    call = orjson.loads(checked.wire)["tool_calls"][0]
    assert call["function"]["arguments"] == mended


FIRST = (
    rb'{ "tool_calls" : [{"function":{"name":"f", "arguments":"{}" , "seed":18446744073709551617},'
    rb'"type":"function","id":"a"}], "content":null,"role":"assistant","cost":1.50e0, "\u00e9":1 }'
)


@pytest.mark.parametrize(
    ("literal", "mended"),
    [
        (rb'""', rb'"{}"'),
        (rb"null", rb'"{}"'),
        (rb'"{ \u007b"', rb'"{\"_raw\":\"{ {\"}"'),
        (rb'{ "n" : 18446744073709551617 }', rb'"{ \"n\" : 18446744073709551617 }"'),
    ],
)
def test_a_repair_replaces_literals_and_no_other_byte(literal: bytes, mended: bytes) -> None:
    broken = FIRST.replace(rb'"{}"', literal)
    answer = rb'{"content" : "1\u00b0",  "tool_call_id":"a", "role":"tool", "n":1.50e0}'
    listed = [FIRST, answer, broken, answer]
    first, kept, second, moved = pair_up([parse_message(wire) for wire in listed])
    assert (first, kept) == (FIRST, answer)
    assert second == FIRST.replace(rb'"{}"', mended).replace(b'"id":"a"', b'"id":"a_2"')
    assert moved == answer.replace(b'"a"', b'"a_2"')


def test_arguments_that_are_not_there_are_added() -> None:
    wire = FIRST.replace(b', "arguments":"{}" ', b"")
    (made, _) = pair_up([parse_message(wire), result("a")])
    assert made == wire.replace(b"617}", b'617,"arguments":"{}"}')


@pytest.mark.parametrize(
    ("listed", "param"),
    [
        ([result("a"), user()], "messages[0]"),
        ([message("function", "x", name="f")], "messages[0]"),
        ([user(), message("assistant", None)], "messages[1]"),
    ],
)
def test_a_list_that_no_upstream_takes_is_refused(listed: list[Message], param: str) -> None:
    with pytest.raises(InvalidMessage) as raised:
        check_shape(listed)
    assert raised.value.param == param


@pytest.mark.parametrize(
    "fields", [{"refusal": "no"}, {"audio": {"id": "a"}}, {"reasoning_content": "thought"}]
)
def test_an_assistant_message_may_be_empty_of_text_alone(fields: dict[str, Any]) -> None:
    check_shape([user(), message("assistant", None, **fields)])


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Draw histories in order, with ids that come again and arguments that are no JSON."""
    listed = [user("begin")]
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
            arguments = draw(st.sampled_from(["{}", '{"x":1}', "", "{broken", '"text"']))
            listed.append(assistant(*names, arguments=arguments))
            listed += [result(name, f"result {name}") for name in draw(st.permutations(names))]
        else:
            listed.append(draw(st.sampled_from([user("more"), message("assistant", "said")])))
    return listed


@given(histories())
def test_what_leaves_holds_every_invariant(listed: list[Message]) -> None:
    checked = check_pairs(listed)
    assert_paired(checked)
    assert [m.role for m in checked] == [m.role for m in listed]
    assert check_pairs(checked) == checked


@given(histories(), st.data())
def test_what_is_left_of_a_cut_history_is_refused_or_holds(
    listed: list[Message], data: st.DataObject
) -> None:
    kept = data.draw(st.lists(st.sampled_from(listed), max_size=len(listed)))
    try:
        checked = check_pairs(kept)
    except InvalidMessage:
        return
    assert_paired(checked)


def assert_paired(listed: tuple[Message, ...]) -> None:
    """Hold a list to the invariants, in words of their own."""
    waiting: set[str] = set()
    seen: set[str] = set()
    for each in listed:
        if each.role == "tool":
            assert each.result_for in waiting
            waiting.discard(each.result_for or "")
            continue
        assert not waiting
        assert seen.isdisjoint(each.call_ids)
        seen.update(each.call_ids)
        waiting = set(each.call_ids)
        for call in orjson.loads(each.wire).get("tool_calls") or ():
            orjson.loads(call["function"]["arguments"])
    assert not waiting
