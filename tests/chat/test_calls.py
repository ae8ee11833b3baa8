"""Every way of addressing fragments that is seen in the wild leads to the same calls."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.chat.calls import CallAssembler, mint_call_id
from sculptor.errors import UpstreamBroken

Fragment = dict[str, Any]
Call = tuple[str, str, str]

arguments = st.dictionaries(st.text(max_size=4), st.integers(-9, 9), max_size=3).map(
    lambda value: orjson.dumps(value).decode()
)
names = st.sampled_from(["find", "read", "write"])


@st.composite
def calls(draw: st.DrawFn) -> list[tuple[Call, list[str]]]:
    """Calls with unique ids, each with its arguments cut into pieces."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        text = draw(arguments)
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        made.append(((f"call_{number}", draw(names), text), pieces))
    return made


def proper(made: list[tuple[Call, list[str]]]) -> list[Fragment]:
    fragments: list[Fragment] = []
    for index, ((call_id, name, _), pieces) in enumerate(made):
        first = {"name": name, "arguments": ""}
        fragments.append({"index": index, "id": call_id, "type": "function", "function": first})
        fragments += [{"index": index, "function": {"arguments": piece}} for piece in pieces]
    return fragments


def without_index(made: list[tuple[Call, list[str]]]) -> list[Fragment]:
    return [{k: v for k, v in f.items() if k != "index"} for f in proper(made)]


def index_always_zero(made: list[tuple[Call, list[str]]]) -> list[Fragment]:
    return [{**f, "index": 0} for f in proper(made)]


def id_and_name_in_each(made: list[tuple[Call, list[str]]]) -> list[Fragment]:
    return [
        {"index": 0, "id": call_id, "function": {"name": name, "arguments": piece}}
        for (call_id, name, _), pieces in made
        for piece in pieces
    ]


def whole_in_one(made: list[tuple[Call, list[str]]]) -> list[Fragment]:
    return [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}
        for (call_id, name, text), _ in made
    ]


def interleaved(made: list[tuple[Call, list[str]]]) -> list[Fragment]:
    by_index = [[f for f in proper(made) if f["index"] == index] for index in range(len(made))]
    mixed = []
    while any(by_index):
        mixed += [fragments.pop(0) for fragments in by_index if fragments]
    return mixed


def read(fragments: list[Fragment]) -> tuple[list[Call], list[Call]]:
    """The calls as accumulated, and as a client would build them from the deltas."""
    assembler = CallAssembler()
    deltas = [delta for f in fragments if (delta := assembler.feed(f)) is not None]
    deltas += assembler.close()
    seen: dict[int, list[str]] = {}
    for delta in deltas:
        if delta.index not in seen:
            assert delta.id
            assert delta.name
            seen[delta.index] = [delta.id, delta.name, ""]
        else:
            assert delta.id is None
            assert delta.name is None
        seen[delta.index][2] += delta.arguments
    assert list(seen) == list(range(len(seen)))
    wire = [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in assembler.to_wire()
    ]
    return wire, [(call[0], call[1], call[2]) for call in seen.values()]


STYLES = [proper, without_index, index_always_zero, id_and_name_in_each, whole_in_one, interleaved]


@pytest.mark.parametrize("style", STYLES)
@given(made=calls())
def test_each_style_gives_the_same_calls(style: Any, made: list[tuple[Call, list[str]]]) -> None:
    expected = [call for call, _ in made]
    assert read(style(made)) == (expected, expected)


def test_call_without_arguments_gets_an_empty_object() -> None:
    wire, seen = read([{"index": 0, "id": "a", "function": {"name": "now", "arguments": ""}}])
    assert wire == seen == [("a", "now", "{}")]


def test_missing_ids_are_minted_and_equal_ids_told_apart() -> None:
    wire, _ = read(
        [
            {"index": 0, "function": {"name": "f", "arguments": "{}"}},
            {"index": 1, "id": "x", "function": {"name": "f", "arguments": "{}"}},
            {"index": 2, "id": "x", "function": {"name": "f", "arguments": "{}"}},
        ]
    )
    ids = [call[0] for call in wire]
    assert ids[0].startswith("call_")
    assert ids[1:] == ["x", "x_2"]


def test_without_ids_and_index_a_new_name_opens_a_call() -> None:
    wire, _ = read(
        [
            {"function": {"name": "f", "arguments": '{"a":1}'}},
            {"function": {"name": "g", "arguments": '{"b"'}},
            {"function": {"arguments": ":2}"}},
            {"function": {"name": "g", "arguments": '{"b":3}'}},
        ]
    )
    assert [call[1:] for call in wire] == [("f", '{"a":1}'), ("g", '{"b":2}'), ("g", '{"b":3}')]


def test_name_repeated_in_each_fragment_without_id_is_one_call() -> None:
    pieces = ['{"a', '":[1', "]}", ""]
    wire, _ = read([{"index": 0, "function": {"name": "f", "arguments": p}} for p in pieces])
    assert [call[1:] for call in wire] == [("f", '{"a":[1]}')]


def test_id_or_name_that_comes_late_belongs_to_the_open_call() -> None:
    wire, seen = read(
        [
            {"index": 0, "id": "a", "function": {"name": "", "arguments": ""}},
            {"index": 0, "function": {"name": "f", "arguments": "{"}},
            {"index": 0, "id": "a", "function": {"arguments": "}"}},
            {"index": 1, "function": {"name": "g", "arguments": "{"}},
            {"index": 1, "id": "b", "function": {"arguments": "}"}},
        ]
    )
    assert wire == seen
    assert wire[0] == ("a", "f", "{}")
    assert wire[1][1:] == ("g", "{}")


def test_arguments_sent_as_an_object_become_text() -> None:
    wire, _ = read([{"id": "a", "function": {"name": "f", "arguments": {"a": [1]}}}])
    assert wire == [("a", "f", '{"a":[1]}')]


def test_custom_calls_and_unknown_fields_are_kept() -> None:
    assembler = CallAssembler()
    first = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "l"}}
    assembler.feed({**first, "extra_content": {"signature": "s"}})
    assembler.feed({"index": 0, "custom": {"input": "s"}})
    assert assembler.close() == []
    assert assembler.to_wire() == [
        {
            "id": "a",
            "type": "custom",
            "custom": {"name": "sh", "input": "ls"},
            "extra_content": {"signature": "s"},
        }
    ]


def test_a_call_that_never_gets_a_name_is_refused() -> None:
    assembler = CallAssembler()
    assert assembler.feed({"index": 0, "id": "a", "function": {"arguments": "{}"}}) is None
    assert assembler.close() == []
    with pytest.raises(UpstreamBroken, match="without a name"):
        assembler.to_wire()


def test_minted_ids_differ() -> None:
    assert len({mint_call_id() for _ in range(100)}) == 100
