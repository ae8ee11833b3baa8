"""The scripted model on the wire: names, limits, usage, forced choices, ordinary messages."""

import asyncio
import json
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.chat import Completed, TextDelta, ToolCallDelta
from sculptor.loop import ModelRequest
from sculptor.server.envelope import ApiError
from sculptor.server.scripted import ScriptedModel
from sculptor.server.scripted.introduction import INTRODUCTION
from sculptor.server.scripted.samples import sample
from sculptor.summaries import SummaryJob, format_jobs, parse_summaries
from sculptor.tokens import TokenCounter
from sculptor.tools import toolset
from tests.server.scripted_turns import answer, user

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}


def request_of(body: dict[str, Any] | bytes) -> ModelRequest:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return ModelRequest(body=raw, messages=(), tools=(), value={}, stream=False)


def complete(text: str = "Hello", **fields: Any) -> Completed:
    return ScriptedModel().complete(request_of({"messages": [user(text)], **fields}))


def call_of(completed: Completed) -> tuple[str, Any]:
    function = completed.tool_calls[0]["function"]
    return function["name"], json.loads(function["arguments"])


def test_an_ordinary_message_is_told_what_this_is() -> None:
    completed = complete("What is the capital of Norway?", model="gpt-4o")
    assert completed.text == INTRODUCTION
    assert "not a language model" in completed.text
    assert "sculptor serve --upstream URL --upstream-key-env NAME" in completed.text
    assert completed.model == "scripted"
    assert completed.finish_reason == "stop"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("scripted", "scripted"),
        ("scripted-paper", "scripted-paper"),
        ("sculptor/scripted-paper", "scripted-paper"),
        ("gpt-5", "scripted"),
        ("", "scripted"),
    ],
)
def test_every_answer_s_model_name_begins_with_scripted(asked: str, named: str) -> None:
    assert complete(model=asked).model == named


def test_the_answer_comes_in_several_deltas_and_one_end() -> None:
    async def collect() -> list[Any]:
        body = {"messages": [user("call weather {} and clock {}")], "tools": [WEATHER, CLOCK]}
        said = [event async for event in ScriptedModel().stream(request_of({"messages": []}))]
        called = [event async for event in ScriptedModel().stream(request_of(body))]
        return [said, called]

    said, called = asyncio.run(collect())
    assert len(said) > 5
    assert [type(event) for event in said[:-1]] == [TextDelta] * (len(said) - 1)
    assert "".join(event.text for event in said[:-1]) == said[-1].text == INTRODUCTION
    assert [(e.index, e.name) for e in called[:-1] if isinstance(e, ToolCallDelta) and e.id] == [
        (0, "weather"),
        (1, "clock"),
    ]
    assert called[-1].finish_reason == "tool_calls"
    blocking = list(ScriptedModel().events(request_of({"messages": []})))
    assert blocking == said


def test_a_large_request_is_answered_the_same_way() -> None:
    request = request_of({"messages": [user("x" * 200_000)]})

    async def last() -> Any:
        return [event async for event in ScriptedModel().stream(request)][-1]

    assert asyncio.run(last()) == ScriptedModel().complete(request)


def test_the_same_request_is_always_answered_with_the_same_bytes() -> None:
    fields = {"tools": [WEATHER], "tool_choice": "required"}
    assert complete(**fields) == complete(**fields)
    assert (
        complete("a", **fields).tool_calls[0]["id"] != complete("b", **fields).tool_calls[0]["id"]
    )


def test_usage_is_counted_with_the_shipped_tokenizer() -> None:
    counter = TokenCounter()
    plain = complete("Hello there").usage
    offered = complete("Hello there", tools=[WEATHER]).usage
    assert plain is not None
    assert offered is not None
    assert plain.prompt_tokens == 4 + counter.count("Hello there")
    assert plain.completion_tokens == counter.count(INTRODUCTION)
    assert offered.prompt_tokens - plain.prompt_tokens == counter.count(
        json.dumps([WEATHER], separators=(",", ":"))
    )


def test_a_stop_sequence_ends_the_text_before_it() -> None:
    assert complete(stop="program").text == INTRODUCTION.split("program")[0]
    assert complete(stop=["nowhere", ", a", "program"]).text == INTRODUCTION.split(", a")[0]
    assert complete(stop=[""]).text == INTRODUCTION
    assert complete(stop="program").finish_reason == "stop"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_token_limit_cuts_the_text(field: str) -> None:
    completed = complete(**{field: 7})
    assert completed.finish_reason == "length"
    assert TokenCounter().count(completed.text) == 7
    assert INTRODUCTION.startswith(completed.text)
    assert complete(**{field: 4000}).finish_reason == "stop"


def test_calls_are_not_made_without_leave() -> None:
    asked = "call weather {}"
    assert complete(asked, tools=[WEATHER], tool_choice="none").tool_calls == []
    refused = complete(asked, tools=[CLOCK])
    assert refused.tool_calls == []
    assert refused.text == "No tool called weather may be called in this request; offered: clock."


def test_a_named_tool_is_called_with_arguments_of_its_schema() -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    fields = {"tools": [CLOCK, WEATHER], "tool_choice": choice}
    assert call_of(complete(**fields)) == ("weather", {"city": "scripted", "unit": "C"})
    spelled = complete('call clock {} then weather {"city": "Oslo"}', **fields)
    assert call_of(spelled) == ("weather", {"city": "Oslo"})


def test_a_required_call_goes_through_the_client_s_tools_and_ends() -> None:
    ours = [orjson.loads(wire) for wire in toolset("full").wire]
    tools = [WEATHER, CLOCK, *ours]
    messages: list[Any] = [user("Hello")]
    called = []
    for number in range(3):
        body = {"messages": messages, "tools": tools, "tool_choice": "required"}
        completed = ScriptedModel().complete(request_of(body))
        if not completed.tool_calls:
            break
        called.append(call_of(completed)[0])
        messages.append(completed.message)
        name = completed.tool_calls[0]["id"]
        messages.append({"role": "tool", "tool_call_id": name, "content": f"result {number}"})
    assert called == ["weather", "clock"]
    assert completed.text == "clock answered: result 1"


def test_a_required_call_with_our_tools_alone_is_one_search() -> None:
    ours = [orjson.loads(wire) for wire in toolset("full").wire]
    name, arguments = call_of(complete(tools=ours, tool_choice="required"))
    assert name == "search_context"
    schema = next(tool["function"] for tool in ours if tool["function"]["name"] == name)
    jsonschema.validate(arguments, schema["parameters"])


def test_a_response_format_is_kept_to() -> None:
    schema = {
        "type": "object",
        "properties": {
            "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 2}
        },
        "required": ["steps"],
        "$defs": {
            "step": {
                "type": "object",
                "properties": {"n": {"minimum": 3, "type": "integer"}},
                "required": ["n"],
            }
        },
    }
    shaped = complete(
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    )
    assert json.loads(shaped.text) == {"steps": [{"n": 3}, {"n": 3}]}
    anything = complete(response_format={"type": "json_object"})
    assert json.loads(anything.text) == {"message": INTRODUCTION}


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 12},
        {"type": "string", "maxLength": 3},
        {"type": "integer", "minimum": 2, "maximum": 9},
        {"type": "number", "exclusiveMinimum": 0.5},
        {"type": "integer", "maximum": -4},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["integer", "null"]},
        {"enum": ["a", 1]},
        {"const": {"x": 1}},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"$ref": "#/$defs/named"},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda item, n: {"type": "array", "items": item, "minItems": n},
            inner,
            st.integers(0, 3),
        ),
        st.dictionaries(st.sampled_from("abc"), inner).map(
            lambda members: {
                "type": "object",
                "properties": members,
                "required": sorted(members)[:2],
            }
        ),
    ),
    max_leaves=8,
)


@given(SCHEMAS)
def test_samples_meet_their_schema(schema: dict[str, Any]) -> None:
    schema = {**schema, "$defs": {"named": {"type": "string"}}}
    jsonschema.validate(sample(schema), schema)


def test_a_schema_without_end_does_not_hang() -> None:
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert sample(endless)["next"]["next"]


def test_summaries_are_written_where_the_server_asks_for_them() -> None:
    texts = [
        "\n".join(f"The {word} number {i} is {i * 7}." for i in range(80))
        for word in ("red", "blue")
    ]
    jobs = [
        SummaryJob(fragment_id=f"f0000{n}", text=text, focus="numbers", tokens=700)
        for n, text in enumerate(texts)
    ]
    completed = ScriptedModel().complete(request_of({"messages": format_jobs(jobs)}))
    found = parse_summaries(completed.text, jobs)
    assert found.keys() == {"f00000", "f00001"}
    assert "red" in found["f00000"]
    assert "blue" in found["f00001"]
    assert all(len(found[job.fragment_id]) < len(job.text) / 2 for job in jobs)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"messages": "x"}',
        b"\xff",
        b'{"messages": ["odd", 3, null]}',
        b'{"messages": [{"role": "user"}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "stop": ["a", "b", "c", "d", "e"]}',
    ],
)
def test_what_is_no_request_is_refused_like_a_provider_does(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        ScriptedModel().complete(request_of(body))
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}, "odd"]}],
        [
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "a", "type": "custom", "custom": {"name": "n", "input": "i"}}
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "x"},
        ],
        [{"role": "tool", "tool_call_id": "nowhere", "content": "x"}],
    ],
    ids=str,
)
def test_odd_messages_are_survived(messages: list[Any]) -> None:
    completed = ScriptedModel().complete(request_of({"messages": messages}))
    assert completed.text
    assert completed.finish_reason == "stop"


def test_a_loop_whose_budget_is_spent_still_gets_an_answer() -> None:
    steps = " then ".join(f'search_context {{"queries": ["x{number}"]}}' for number in range(30))
    answered = answer([user(f"call {steps}")])
    assert len(answered.requests) == 21
    assert len(answered.calls()) == 20
    assert answered.turn.answer.finish_reason == "stop"
    assert answered.text
