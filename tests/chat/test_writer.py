"""What is written reads back the same, and obeys the wire to the letter."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.chat import (
    DONE,
    ChunkReader,
    ChunkWriter,
    Completed,
    Delta,
    ExtraDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    format_completion,
    format_error_frame,
    read_completion,
)

USAGE = Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=1, raw={"cost": 0.1})


def writer(**settings: Any) -> ChunkWriter:
    return ChunkWriter(id="chatcmpl-1", created=7, model="asked-for", **settings)


def frames(written: bytes) -> list[dict[str, Any]]:
    assert written.endswith(b"\n\n")
    lines = written.split(b"\n\n")[:-1]
    assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
    return [orjson.loads(line[6:]) for line in lines]


texts = st.builds(TextDelta, text=st.text(min_size=1))
extras = st.builds(
    ExtraDelta, fields=st.fixed_dictionaries({"reasoning_content": st.text(min_size=1)})
)


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    deltas: list[Delta] = list(draw(st.lists(texts | extras, max_size=5)))
    for index in range(draw(st.integers(0, 3))):
        deltas.append(ToolCallDelta(index=index, id=f"c{index}", name="f", arguments='{"a":'))
        deltas.append(ToolCallDelta(index=index, arguments="1}"))
    return deltas


@given(deltas=answers(), asked=st.booleans())
def test_a_written_stream_obeys_the_wire(deltas: list[Delta], asked: bool) -> None:
    out = writer(include_usage=asked)
    written = b"".join(out.delta(delta) for delta in deltas)
    written += out.finish("stop") + out.usage(USAGE)
    chunks = frames(written)
    assert {(c["id"], c["created"], c["model"]) for c in chunks} == {("chatcmpl-1", 7, "asked-for")}
    choices = [c["choices"][0] for c in chunks if c["choices"]]
    roles = ["role" in choice["delta"] for choice in choices]
    assert roles == [True] + [False] * (len(roles) - 1)
    assert [c["finish_reason"] for c in choices[:-1]] == [None] * (len(choices) - 1)
    has_calls = any(isinstance(delta, ToolCallDelta) for delta in deltas)
    assert choices[-1]["finish_reason"] == ("tool_calls" if has_calls else "stop")
    assert choices[-1]["delta"] == {} or "role" in choices[-1]["delta"]
    if asked:
        assert [c["usage"] for c in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["total_tokens"] == 7
    else:
        assert all("usage" not in c for c in chunks)


@given(deltas=answers())
def test_reading_back_gives_the_same_answer(deltas: list[Delta]) -> None:
    out, reader = writer(), ChunkReader()
    for delta in deltas:
        for chunk in frames(out.delta(delta)):
            reader.feed(chunk)
    for chunk in frames(out.finish("stop")):
        reader.feed(chunk)
    message = reader.complete().message
    text = "".join(d.text for d in deltas if isinstance(d, TextDelta))
    assert (message["content"] or "") == text
    calls = [d for d in deltas if isinstance(d, ToolCallDelta) and d.id]
    assert [call["id"] for call in message.get("tool_calls", [])] == [c.id for c in calls]


def test_client_calls_have_dense_indexes_whatever_the_readers_were() -> None:
    out = writer()
    first = frames(out.tool_call(ToolCallDelta(index=2, id="a", name="f", arguments="{")))
    more = frames(out.tool_call(ToolCallDelta(index=2, arguments="}")))
    second = frames(out.tool_call(ToolCallDelta(index=5, id="b", name="g", arguments="{}")))
    assert first[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert first[1]["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}
    ]
    assert more[0]["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "function": {"arguments": "}"}}
    ]
    assert second[0]["choices"][0]["delta"]["tool_calls"][0]["index"] == 1


def test_an_index_used_again_in_a_later_step_is_another_call() -> None:
    out = writer()
    out.tool_call(ToolCallDelta(index=0, id="a", name="f"))
    again = frames(out.tool_call(ToolCallDelta(index=0, id="b", name="f")))
    assert again[0]["choices"][0]["delta"]["tool_calls"][0]["index"] == 1


def test_choice_fields_and_constant_fields_are_written() -> None:
    out = writer(fields={"system_fingerprint": "fp"})
    delta = TextDelta(text="x", choice={"logprobs": {"content": []}})
    chunk = frames(out.text(delta))[1]
    assert chunk["system_fingerprint"] == "fp"
    assert chunk["choices"][0]["logprobs"] == {"content": []}
    plain = frames(out.text(TextDelta(text="y")))[0]["choices"][0]
    assert plain == {"index": 0, "delta": {"content": "y"}, "logprobs": None, "finish_reason": None}


@pytest.mark.parametrize("asked", [True, False])
def test_fields_of_the_last_chunk_stand_there_alone(asked: bool) -> None:
    out = writer(include_usage=asked)
    assert "x_context" not in frames(out.text(TextDelta(text="x")))[-1]
    last = frames(out.finish("stop", fields={"x_context": {"billed": []}}))[-1]
    assert last["x_context"] == {"billed": []}
    assert ("usage" in last) is asked


def test_an_answer_without_any_delta_still_has_a_role() -> None:
    chunks = frames(writer().finish("stop"))
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[1]["choices"][0]["delta"] == {}


def test_a_whole_answer_reads_back() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    done = Completed(
        message={"role": "assistant", "content": "x", "tool_calls": calls, "reasoning": "r"},
        finish_reason="tool_calls",
        usage=USAGE,
        choice={"logprobs": {"content": [1]}},
        fields={"service_tier": "flex"},
    )
    wire = orjson.loads(
        format_completion(done, id="i", created=1, model="m", fields={"x_context": {}})
    )
    assert wire["object"] == "chat.completion"
    assert wire["choices"][0]["message"]["refusal"] is None
    assert wire["usage"]["cost"] == 0.1
    assert wire["x_context"] == {}
    back = read_completion(wire)
    assert back.message == {**done.message, "refusal": None}
    assert (back.choice, back.finish_reason) == (done.choice, "tool_calls")


def test_ends() -> None:
    assert DONE == b"data: [DONE]\n\n"
    assert format_error_frame(b'{"error":{}}') == b'data: {"error":{}}\n\n'


def test_fields_of_the_answer_stand_in_every_chunk_from_where_they_came() -> None:
    out = writer(include_usage=True)
    wire = out.text(TextDelta(text="a"))
    assert out.delta(ExtraDelta(fields={}, answer={"system_fingerprint": "fp"})) == b""
    wire += out.text(TextDelta(text="b"))
    wire += out.delta(ExtraDelta(fields={"reasoning": "r"}, answer={"tier": "x", "x_context": 1}))
    wire += out.text(TextDelta(text="c"))
    wire += out.finish("stop", fields={"x_context": 2})
    wire += out.usage(Usage(prompt_tokens=1, completion_tokens=1))
    assert wire.count(b'"x_context":1') == 2
    assert wire.count(b'"x_context"') == 3
    told = [
        {key: one.get(key) for key in ("system_fingerprint", "tier")}
        for one in map(orjson.loads, (line[6:] for line in wire.split(b"\n\n") if line))
    ]
    none, some = {"system_fingerprint": None, "tier": None}, {"system_fingerprint": "fp"}
    assert told[:2] == [none, none]
    assert told[2] == {**some, "tier": None}
    assert told[3:] == [{**some, "tier": "x"}] * 4
