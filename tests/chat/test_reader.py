"""A streamed answer and a whole one are read to the same thing, repaired."""

from typing import Any

import pytest

from sculptor.chat import (
    ChunkReader,
    ExtraDelta,
    TextDelta,
    ToolCallDelta,
    parse_json,
    read_completion,
    read_usage,
)
from sculptor.errors import UpstreamBroken, UpstreamStatus

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chunk(delta: dict[str, Any], finish: str | None = None, **top: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "created": 7, "model": "m", "choices": [choice], **top}


def test_text_is_given_on_and_joined() -> None:
    reader = ChunkReader()
    assert reader.feed(chunk({"role": "assistant", "content": ""})) == []
    assert reader.feed(chunk({"content": "Hel"})) == [TextDelta(text="Hel")]
    assert reader.feed(chunk({"content": "lo"})) == [TextDelta(text="lo")]
    assert reader.feed(chunk({}, "stop", system_fingerprint="fp")) == []
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    reader.feed({"id": "c1", "choices": [], "usage": usage})
    done = reader.complete()
    assert done.message == {"role": "assistant", "content": "Hello"}
    assert (done.finish_reason, done.id, done.created, done.model) == ("stop", "c1", 7, "m")
    assert done.fields == {"system_fingerprint": "fp"}
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (5, 2)
    assert done.text == "Hello"


def test_usage_in_a_choice_chunk_and_the_last_one_wins() -> None:
    reader = ChunkReader()
    reader.feed(chunk({"content": "a"}, usage={"prompt_tokens": 5, "completion_tokens": 1}))
    reader.feed(chunk({"content": "b"}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 2}))
    assert reader.usage is not None
    assert reader.usage.completion_tokens == 2


@pytest.mark.parametrize("said", ["stop", "tool_calls", "function_call", "", None, "eos"])
def test_calls_make_the_finish_reason(said: str | None) -> None:
    reader = ChunkReader()
    reader.feed(chunk({"tool_calls": [{"index": 0, **CALL}]}, said))
    reader.done()
    assert reader.complete().finish_reason == "tool_calls"
    assert reader.complete().message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL],
    }


@pytest.mark.parametrize(
    ("said", "meant"),
    [("tool_calls", "stop"), ("length", "length"), ("max_tokens", "length"), ("eos", "stop")],
)
def test_without_calls_no_reason_claims_them(said: str, meant: str) -> None:
    reader = ChunkReader()
    reader.feed(chunk({"content": "x"}, said))
    assert reader.complete().finish_reason == meant


def test_a_cut_call_stays_cut() -> None:
    reader = ChunkReader()
    half = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x'}}
    reader.feed(chunk({"tool_calls": [half]}, "length"))
    assert reader.complete().finish_reason == "length"


def test_empty_arguments_are_owed_when_the_choice_ends() -> None:
    reader = ChunkReader()
    opening = {"index": 0, "id": "a", "function": {"name": "now", "arguments": ""}}
    assert reader.feed(chunk({"tool_calls": [opening]})) == [
        ToolCallDelta(index=0, id="a", name="now")
    ]
    assert reader.feed(chunk({}, "tool_calls")) == [ToolCallDelta(index=0, arguments="{}")]
    assert reader.done() == []
    assert reader.complete().tool_calls[0]["function"]["arguments"] == "{}"


def test_done_pays_them_where_no_finish_reason_came() -> None:
    reader = ChunkReader()
    reader.feed(chunk({"tool_calls": [{"id": "a", "function": {"name": "now"}}]}))
    assert reader.done() == [ToolCallDelta(index=0, arguments="{}")]


def test_function_call_becomes_a_tool_call() -> None:
    reader = ChunkReader()
    reader.feed(chunk({"function_call": {"name": "f", "arguments": '{"a"'}}))
    reader.feed(chunk({"function_call": {"arguments": ":1}"}}, "function_call"))
    done = reader.complete()
    assert done.finish_reason == "tool_calls"
    assert done.tool_calls[0]["function"] == {"name": "f", "arguments": '{"a":1}'}


def test_other_fields_are_verbatim_on_the_way_and_joined_at_the_end() -> None:
    reader = ChunkReader()
    deltas = [
        {"reasoning_content": "think ", "content": None},
        {"reasoning_content": "hard", "audio": {"id": "x", "data": "AA"}},
        {"content": "yes", "audio": {"id": "x", "data": "BB"}, "annotations": [{"n": 1}]},
        {"annotations": [{"n": 2}]},
    ]
    out = [event for delta in deltas for event in reader.feed(chunk(delta))]
    assert out == [
        ExtraDelta(fields={"reasoning_content": "think "}),
        ExtraDelta(fields={"reasoning_content": "hard", "audio": {"id": "x", "data": "AA"}}),
        TextDelta(text="yes"),
        ExtraDelta(fields={"audio": {"id": "x", "data": "BB"}, "annotations": [{"n": 1}]}),
        ExtraDelta(fields={"annotations": [{"n": 2}]}),
    ]
    reader.done()
    assert reader.complete().message == {
        "role": "assistant",
        "content": "yes",
        "reasoning_content": "think hard",
        "audio": {"id": "x", "data": "AABB"},
        "annotations": [{"n": 1}, {"n": 2}],
    }
    assert deltas[3] == {"annotations": [{"n": 2}]}, "what the upstream sent is not changed"


def test_logprobs_stay_with_their_text_and_add_up() -> None:
    reader = ChunkReader()
    for token in "ab":
        logprobs = {"content": [{"token": token}]}
        parsed = chunk({"content": token})
        parsed["choices"][0].update(logprobs=logprobs, stop_reason="w")
        beside = {"logprobs": logprobs, "stop_reason": "w"}
        assert reader.feed(parsed) == [TextDelta(text=token, choice=beside)]
    reader.done()
    assert reader.complete().choice == {
        "logprobs": {"content": [{"token": "a"}, {"token": "b"}]},
        "stop_reason": "w",
    }


def test_content_that_comes_as_parts() -> None:
    reader = ChunkReader()
    assert reader.feed(chunk({"content": [{"type": "text", "text": "a"}]})) == [TextDelta(text="a")]
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}
    assert reader.feed(chunk({"content": [thinking]})) == [
        ExtraDelta(fields={"content": [thinking]})
    ]
    reader.feed(chunk({"content": "b"}, "stop"))
    assert reader.complete().message["content"] == [
        {"type": "text", "text": "a"},
        thinking,
        {"type": "text", "text": "b"},
    ]
    assert reader.complete().text == "ab"


def test_several_choices_do_not_disturb_the_first() -> None:
    reader = ChunkReader()
    two = {"choices": [{"index": i, "delta": {"content": str(i)}} for i in (0, 1)]}
    assert reader.feed(two) == [TextDelta(text="0")]
    reader.feed({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
    reader.feed({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    assert reader.complete().text == "0"


@pytest.mark.parametrize(
    "odd", [{}, {"choices": None}, {"choices": [None]}, {"choices": [{"delta": None}]}]
)
def test_odd_chunks_add_nothing(odd: dict[str, Any]) -> None:
    assert ChunkReader().feed(odd) == []


def test_an_early_end_is_an_error() -> None:
    reader = ChunkReader()
    reader.feed(chunk({"content": "half an ans"}))
    with pytest.raises(UpstreamBroken, match="ended before"):
        reader.complete()


def test_an_error_frame_is_raised() -> None:
    with pytest.raises(UpstreamBroken, match="out of memory"):
        ChunkReader().feed({"error": {"message": "out of memory", "code": None}})
    with pytest.raises(UpstreamStatus) as caught:
        ChunkReader().feed({"error": {"message": "slow down", "code": 429}})
    assert caught.value.status == 429
    with pytest.raises(UpstreamBroken, match="broke off"):
        ChunkReader().feed(chunk({}, "error"))


@pytest.mark.parametrize("garbage", [b"<html>", b"[1]", b'"x"', b'{"a":"\xff"}', b""])
def test_garbage_is_named_so(garbage: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        parse_json(garbage)


def body(message: dict[str, Any], finish: str = "stop", **top: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c1", "created": 7, "model": "m", "choices": [choice], **top}


def test_a_whole_answer_keeps_unknown_fields() -> None:
    message = {"role": "assistant", "content": "x", "refusal": None, "reasoning": "r"}
    done = read_completion(body(message, usage={"prompt_tokens": 3}, service_tier="flex"))
    assert done.message == message
    assert done.fields == {"service_tier": "flex"}
    assert done.usage is not None
    assert done.usage.prompt_tokens == 3


def test_a_whole_answer_is_repaired_like_a_streamed_one() -> None:
    calls = [
        {"function": {"name": "f", "arguments": ""}},
        {"id": "x", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "x", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]
    done = read_completion(body({"content": None, "tool_calls": calls}))
    assert done.finish_reason == "tool_calls"
    assert [call["id"] for call in done.tool_calls][1:] == ["x", "x_2"]
    assert all(call["function"]["arguments"] == "{}" for call in done.tool_calls)
    legacy = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    done = read_completion(body(legacy, "function_call"), new_call_id=lambda: "call_1")
    assert done.finish_reason == "tool_calls"
    assert "function_call" not in done.message
    assert done.tool_calls == [{**CALL, "id": "call_1"}]


@pytest.mark.parametrize(
    "bad", [{}, {"choices": []}, {"choices": [{}]}, {"choices": "x"}, {"error": "no"}]
)
def test_a_body_that_is_no_answer(bad: dict[str, Any]) -> None:
    with pytest.raises(UpstreamBroken):
        read_completion(bad)


def test_an_error_body_with_status_200_keeps_its_code() -> None:
    with pytest.raises(UpstreamStatus) as caught:
        read_completion({"error": {"message": "slow down", "code": 429}})
    assert (caught.value.status, b"slow down" in caught.value.body) == (429, True)


def test_cached_tokens_wherever_they_stand() -> None:
    for raw in (
        {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}},
        {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4},
        {"prompt_tokens": 9, "cached_tokens": 4, "prompt_tokens_details": None},
    ):
        usage = read_usage(raw)
        assert usage is not None
        assert usage.cached_tokens == 4
        assert usage.to_wire()["prompt_tokens_details"]["cached_tokens"] == 4
    assert read_usage(None) is None
    assert read_usage([1]) is None


def test_fields_of_the_answer_come_with_the_first_piece_and_when_they_change() -> None:
    reader = ChunkReader()
    assert reader.feed({**chunk({"role": "assistant"}), "system_fingerprint": "fp"}) == []
    assert reader.feed({**chunk({"content": "a"}), "system_fingerprint": "fp", "tier": "x"}) == [
        ExtraDelta(fields={}, answer={"system_fingerprint": "fp", "tier": "x"}),
        TextDelta(text="a"),
    ]
    assert reader.feed({**chunk({"content": "b"}), "system_fingerprint": "fp"}) == [
        TextDelta(text="b")
    ]
    assert reader.feed({**chunk({"content": "c"}), "tier": "y", "gone": None}) == [
        ExtraDelta(fields={}, answer={"tier": "y"}),
        TextDelta(text="c"),
    ]
    reader.feed({"choices": [], "citations": ["u"]})
    reader.done()
    assert reader.complete().fields == {
        "system_fingerprint": "fp",
        "tier": "y",
        "citations": ["u"],
    }
