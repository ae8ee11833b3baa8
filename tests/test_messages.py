"""Messages keep their bytes, and each of their names answers one question."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.errors import InvalidMessage
from sculptor.messages import chain_of, make_message, parse_message

TEXT = st.text(max_size=60)


def _parse(value: object) -> object:
    return parse_message(orjson.dumps(value))


@given(TEXT)
def test_a_string_and_a_list_of_one_text_have_one_key_and_link(text: str) -> None:
    plain = parse_message(orjson.dumps({"role": "user", "content": text}))
    listed = parse_message(
        orjson.dumps({"role": "user", "content": [{"type": "text", "text": text}]})
    )
    assert plain.key == listed.key
    assert plain.link == listed.link
    assert plain.hash != listed.hash


@given(TEXT, st.sampled_from(["", " ", "\n", "\t "]))
def test_space_at_the_ends_makes_another_key_but_the_same_link(text: str, space: str) -> None:
    first = make_message("user", text)
    second = make_message("user", text + space)
    assert first.link == second.link
    assert (first.key == second.key) == (not space)


def test_ids_names_and_cache_control_are_no_part_of_the_link() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1,"y":2}'}}
    other = {
        "id": "b",
        "type": "function",
        "function": {"name": "f", "arguments": '{ "y": 2, "x": 1 }'},
    }
    first = make_message("assistant", "", tool_calls=[call], reasoning_content="hm")
    second = make_message("assistant", "", tool_calls=[other], name="bot")
    assert first.link == second.link
    changed = {**other, "function": {"name": "f", "arguments": '{"x":2,"y":2}'}}
    assert make_message("assistant", "", tool_calls=[changed]).link != first.link


def test_images_tell_messages_apart() -> None:
    def seen(url: str) -> object:
        part = {"type": "image_url", "image_url": {"url": url}}
        return parse_message(orjson.dumps({"role": "user", "content": [part]})).link

    assert seen("data:a") != seen("data:b")


def test_each_part_keeps_its_wire_json() -> None:
    wire = (
        b'{"role":"user","content":[ {"type":"text","text":"a", "x_new":1.0},'
        b'{"type":"image_url","image_url":{"url":"u"}} ]}'
    )
    message = parse_message(wire)
    assert message.part_wire(0) == b'{"type":"text","text":"a", "x_new":1.0}'
    assert [part.kind for part in message.parts] == ["text", "image"]
    assert message.wire == wire


def test_system_text_is_not_in_the_chain() -> None:
    user = make_message("user", "hi")
    dated = [make_message("system", f"today is {day}") for day in (1, 2)]
    assert chain_of([dated[0], user], "t")[-1] == chain_of([dated[1], user], "t")[-1]
    assert chain_of([user], "t")[-1] != chain_of([user], "other")[-1]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "must be an object"),
        ({"role": "robot", "content": "x"}, "role is 'robot'"),
        ({"content": "x"}, "role is None"),
        ({"role": "user", "content": 3}, "string, a list of parts or null"),
        ({"role": "user", "content": ["x"]}, "content[0] must be an object"),
        ({"role": "user", "content": [{"type": "text"}]}, "text must be a string"),
        ({"role": "assistant", "tool_calls": [{"id": 1}]}, "tool_calls must be a list"),
        ({"role": "assistant", "tool_calls": {"id": "x"}}, "tool_calls must be a list"),
    ],
)
def test_a_malformed_message_is_refused_in_words(value: object, words: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        _parse(value)
    assert words in str(caught.value)
