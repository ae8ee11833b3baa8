import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.reply import (
    ArgumentsPiece,
    CallClosed,
    CallOpened,
    Event,
    ReplyReader,
    TextPiece,
    TurnEnded,
)
from sculptor.mom.language.template import render_turn
from sculptor.mom.language.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer()
names = st.sampled_from(["fold_fragment", "get_weather", "größe"])
arguments = st.dictionaries(
    st.text(max_size=5) | st.sampled_from(["query", "role"]),
    st.text(max_size=8) | st.lists(st.text(max_size=3), max_size=3) | st.integers(),
    max_size=3,
)


def read(tokens: list[int]) -> list[Event]:
    """Return all events of a turn that may have been cut off."""
    reader = ReplyReader(tokenizer=TOKENIZER)
    return [event for token in tokens for event in reader.feed(token)] + reader.finish()


def message_of(events: list[Event]) -> tuple[str, list[tuple[str, str]]]:
    """Return the text and the calls that events tell of."""
    text, calls = "", []
    for event in events:
        match event:
            case TextPiece(text=piece):
                text += piece
            case CallOpened(index=index, name=name):
                assert index == len(calls)
                calls.append((name, ""))
            case ArgumentsPiece(index=index, text=piece):
                calls[index] = (calls[index][0], calls[index][1] + piece)
            case CallClosed(index=index):
                assert index == len(calls) - 1
            case TurnEnded():
                assert event == events[-1]
    return text, calls


@given(st.text(), st.lists(st.tuples(names, arguments), max_size=3))
def test_what_was_rendered_is_read(text: str, calls: list[tuple[str, Any]]) -> None:
    compact = [
        (name, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        for name, value in calls
    ]
    functions = [{"function": {"name": name, "arguments": value}} for name, value in compact]
    turn = {"role": "assistant", "content": text, "tool_calls": functions}
    events = read(render_turn(turn, tokenizer=TOKENIZER))
    assert message_of(events) == (text, compact)
    assert events[-1] == TurnEnded()


@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=60))
def test_any_tokens_can_be_read_and_every_opened_call_is_closed(tokens: list[int]) -> None:
    events = read(tokens)
    message_of(events)
    opened = [event.index for event in events if isinstance(event, CallOpened)]
    closed = [event.index for event in events if isinstance(event, CallClosed)]
    assert opened == closed


def test_a_character_comes_whole() -> None:
    reader = ReplyReader(tokenizer=TOKENIZER)
    tokens = TOKENIZER.encode_bytes("🙂".encode())
    assert len(tokens) > 1
    assert [reader.feed(token) for token in tokens] == [
        *[[]] * (len(tokens) - 1),
        [TextPiece(text="🙂")],
    ]


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    assert read(TOKENIZER.encode_bytes("a🙂".encode()[:-1])) == [
        TextPiece(text="a"),
        TextPiece(text="�"),
    ]


def test_nothing_is_read_after_the_end() -> None:
    reader = ReplyReader(tokenizer=TOKENIZER)
    assert reader.feed(Protocol.END) == [TurnEnded()]
    assert reader.feed(TOKENIZER.encode("x")[0]) == []
    assert reader.finish() == []


def test_a_role_that_the_model_writes_ends_its_turn() -> None:
    assert read([*TOKENIZER.encode("a"), Protocol.USER, *TOKENIZER.encode("b")]) == [
        TextPiece(text="a"),
        TurnEnded(),
    ]


def test_a_call_cut_off_is_closed() -> None:
    assert read([Protocol.CALL, *TOKENIZER.encode("x")]) == [
        CallOpened(index=0, name="x"),
        CallClosed(index=0),
    ]
