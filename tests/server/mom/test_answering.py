from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sculptor.chat import ExtraDelta, TextDelta, ToolCallDelta
from sculptor.mom.engine.sampling import Choice
from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.template import render_turn
from sculptor.server.mom.answering import AnswerWriter
from tests.server.mom.builders import TOKENIZER, calls, text

ANY_TOKENS = st.lists(
    st.one_of(
        st.sampled_from([Protocol.CALL, Protocol.ARGUMENTS, Protocol.CALL_END, Protocol.END]),
        st.integers(0, TOKENIZER.vocab_size - 1),
    ),
    max_size=40,
)


def write(
    tokens: list[int],
    *,
    stops: list[str] | None = None,
    logprobs: bool = True,
    limit: int = 10**6,
    hidden: frozenset[str] = frozenset(),
) -> tuple[list[Any], Any]:
    """Return the deltas of an answer and the whole of it."""
    writer = AnswerWriter(
        tokenizer=TOKENIZER, stops=stops or [], logprobs=logprobs, limit=limit, hidden=hidden
    )
    deltas: list[Any] = []
    for token in tokens:
        deltas += writer.feed(Choice(token=token, logprob=-1.0))
        if writer.is_ended or writer.is_full:
            break
    deltas += writer.finish()
    whole = writer.completed(
        "stop", prompt_tokens=3, cached_tokens=2, model="m", fingerprint="mom_0"
    )
    return deltas, whole


@given(tokens=ANY_TOKENS, stops=st.lists(st.text("ab c", min_size=1, max_size=3), max_size=2))
def test_the_pieces_are_the_whole_whatever_is_written(tokens: list[int], stops: list[str]) -> None:
    deltas, whole = write(tokens, stops=stops)
    said = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    assert said == whole.text
    assert not any(stop in said for stop in stops)
    arguments: dict[int, str] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            assert (delta.id is None) == (delta.index in arguments)
            arguments[delta.index] = arguments.get(delta.index, "") + delta.arguments
    made = [call["function"]["arguments"] for call in whole.tool_calls]
    assert list(arguments.values()) == made
    assert whole.finish_reason == ("tool_calls" if made else "stop")
    rows = [
        row
        for delta in deltas
        if isinstance(delta, TextDelta | ExtraDelta) and delta.choice
        for row in delta.choice["logprobs"]["content"]
    ]
    assert rows == whole.choice["logprobs"]["content"]


@given(st.text(max_size=60))
def test_any_text_comes_out_with_a_row_for_each_token(content: str) -> None:
    content = content.encode("utf-8", "replace").decode()
    tokens = render_turn(text(content), tokenizer=TOKENIZER)
    deltas, whole = write(tokens)
    assert whole.text == content
    rows = whole.choice["logprobs"]["content"]
    assert len(rows) == len(tokens) - 1
    assert bytes(value for row in rows for value in row["bytes"]).decode() == content
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert whole.usage.completion_tokens == len(tokens)


def test_half_a_character_at_the_limit_is_not_shown() -> None:
    whole_bytes = TOKENIZER.encode_bytes("a\U0001f600".encode())
    assert len(whole_bytes) > 2
    _, cut = write(whole_bytes[:-1])
    assert cut.text == "a"
    assert [row["token"] for row in cut.choice["logprobs"]["content"]] == ["a"]
    assert cut.usage.completion_tokens == len(whole_bytes) - 1
    begun = [Protocol.CALL, *TOKENIZER.encode("knock"), Protocol.ARGUMENTS, *whole_bytes[:-1]]
    _, call = write([int(token) for token in begun])
    assert call.tool_calls[0]["function"]["arguments"] == "a"


def test_calls_have_ids_of_their_own_and_no_rows() -> None:
    turn = {**calls(("knock", '{"times":2}'), ("undo", '{"operation":"o1"}')), "content": "First:"}
    _, whole = write(render_turn(turn, tokenizer=TOKENIZER))
    assert whole.text == "First:"
    assert [call["function"] for call in whole.tool_calls] == [
        {"name": "knock", "arguments": '{"times":2}'},
        {"name": "undo", "arguments": '{"operation":"o1"}'},
    ]
    assert len({call["id"] for call in whole.tool_calls}) == 2
    rows = whole.choice["logprobs"]["content"]
    assert "".join(row["token"] for row in rows) == "First:"


def test_a_token_that_is_no_text_is_named_among_the_likely_ones() -> None:
    writer = AnswerWriter(tokenizer=TOKENIZER, stops=[], logprobs=True, limit=10**6)
    token = TOKENIZER.encode("a")[0]
    top = ((token, -0.1), (int(Protocol.END), -2.0), (int(Protocol.CALL), -3.0))
    (delta,) = writer.feed(Choice(token=token, logprob=-0.1, top=top))
    assert isinstance(delta, TextDelta)
    assert delta.choice is not None
    (row,) = delta.choice["logprobs"]["content"]
    assert [entry["token"] for entry in row["top_logprobs"]] == ["a", "<end>", "<call>"]
    assert [entry["bytes"] for entry in row["top_logprobs"]] == [[97], None, None]
    assert np.isclose(row["logprob"], -0.1)


TWO_CALLS = {**calls(("undo", '{"operation":"o1"}'), ("knock", '{"times":2}')), "content": "First:"}


def test_a_limit_binds_what_the_client_sees_and_no_hidden_call() -> None:
    tokens = render_turn(TWO_CALLS, tokenizer=TOKENIZER)
    undo = tokens.index(Protocol.CALL_END) + 1 - tokens.index(Protocol.CALL)
    seen = len(tokens) - 1 - undo
    hidden = frozenset({"undo"})
    _, whole = write(tokens, limit=seen + 1, hidden=hidden)
    assert [call["function"]["name"] for call in whole.tool_calls] == ["undo", "knock"]
    assert whole.usage.completion_tokens == len(tokens), "what is written is what is billed"
    _, cut = write(tokens, limit=seen - 2, hidden=hidden)
    first, second = [call["function"]["arguments"] for call in cut.tool_calls]
    assert first == '{"operation":"o1"}'
    assert second != '{"times":2}'
    assert '{"times":2}'.startswith(second)
    _, plain = write(tokens, limit=undo)
    assert plain.usage.completion_tokens == undo, "nothing is hidden, so everything counts"


@given(limit=st.integers(1, 12))
def test_a_limit_ends_text_at_its_token(limit: int) -> None:
    tokens = render_turn(text("one two three four five six"), tokenizer=TOKENIZER)
    _, whole = write(tokens, limit=limit, hidden=frozenset({"undo"}))
    assert whole.usage.completion_tokens == min(limit, len(tokens))
    assert TOKENIZER.decode(tokens[:limit]).startswith(whole.text)
