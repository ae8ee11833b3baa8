"""The backend over real HTTP, with random weights: every answer is as the wire wants it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import OpenAI

from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.torch_model import TorchModel, load_torch
from sculptor.server.mom.asking import MOST_NAMED
from sculptor.server.mom.backend import MomBackend
from sculptor.server.mom.loading import load_model
from sculptor.server.mom.streams import Writer
from tests.server.managing import error_of
from tests.server.mom.builders import NAME, TOKENIZER, WINDOW_TOKENS
from tests.server.mom.conftest import Serve
from tests.server.openai_schemas import check
from tests.server.test_request_rules import BAD, FILE, PICTURE, SOUND, UNTOLD

QUESTION = [{"role": "user", "content": "Which colour has the third door?"}]
PAINT = {
    "type": "function",
    "function": {
        "name": "paint_door",
        "parameters": {
            "type": "object",
            "properties": {
                "colour": {"enum": ["red", "blue"]},
                "coats": {"type": "integer", "minimum": 1, "maximum": 3},
            },
            "required": ["colour", "coats"],
            "additionalProperties": False,
        },
    },
}
KNOCK = {"type": "function", "function": {"name": "knock", "parameters": {}}}
LIVELY = {"temperature": 1.0, "seed": 7}


def post(client: OpenAI, **fields: Any) -> httpx.Response:
    body = {"model": NAME, "messages": QUESTION, "max_tokens": 24, **fields}
    return httpx.post(f"{client.base_url}chat/completions", json=body, timeout=60)


def whole(client: OpenAI, **fields: Any) -> dict[str, Any]:
    """Return a valid answer."""
    response = post(client, **fields)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = orjson.loads(response.content)
    check("CreateChatCompletionResponse", answer)
    return answer


def streamed(client: OpenAI, **fields: Any) -> list[dict[str, Any]]:
    """Return the valid chunks of an answer."""
    response = post(client, stream=True, stream_options={"include_usage": True}, **fields)
    assert response.status_code == 200, response.text
    *frames, done, empty = response.text.split("\n\n")
    assert (done, empty) == ("data: [DONE]", "")
    chunks = [orjson.loads(frame.removeprefix("data: ")) for frame in frames if frame[0] != ":"]
    for chunk in chunks:
        check("CreateChatCompletionStreamResponse", chunk)
    return chunks


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that the chunks of a stream make."""
    text, calls = "", []
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        text += choice["delta"].get("content") or ""
        for piece in choice["delta"].get("tool_calls", ()):
            if "id" in piece:
                calls.append({"name": piece["function"]["name"], "arguments": ""})
            calls[piece["index"]]["arguments"] += piece["function"]["arguments"]
    return {"text": text, "calls": calls}


def said(answer: dict[str, Any]) -> dict[str, Any]:
    message = answer["choices"][0]["message"]
    listed = message.get("tool_calls") or ()
    calls = [dict(call["function"]) for call in listed]
    return {"text": message["content"] or "", "calls": calls}


def test_an_answer_whole_and_streamed_is_the_same(serve: Serve) -> None:
    client = serve()
    answer = whole(client)
    chunks = streamed(client)
    assert said(answer) == joined(chunks)
    assert len(chunks) > 10
    assert answer["model"] == NAME
    assert answer["system_fingerprint"].startswith("mom_")
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 24
    assert answer["usage"]["prompt_tokens"] > len(TOKENIZER.encode(QUESTION[0]["content"]))
    first, again = answer["usage"], chunks[-1]["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert again["prompt_tokens_details"]["cached_tokens"] == again["prompt_tokens"]


def test_the_client_library_reads_it(serve: Serve) -> None:
    client = serve()
    completion = client.chat.completions.create(
        model=NAME, messages=QUESTION, max_completion_tokens=9, stop=None, top_p=0.9
    )
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 9
    with client.chat.completions.stream(model=NAME, messages=QUESTION, max_tokens=9) as events:
        text = "".join(event.delta for event in events if event.type == "content.delta")
    assert text == completion.choices[0].message.content
    (model,) = client.models.list().data
    assert (model.id, model.context_window) == (NAME, WINDOW_TOKENS)  # type: ignore[attr-defined]


def test_a_seed_repeats_and_another_differs(serve: Serve) -> None:
    client = serve()
    answers = [
        said(whole(client, temperature=1.5, seed=seed))["text"] for seed in (3, 3, 4, -3, -3)
    ]
    assert answers[0] == answers[1] != answers[2]
    assert answers[3] == answers[4]
    unseeded = {said(whole(client, temperature=2))["text"] for _ in range(3)}
    assert len(unseeded) > 1


def test_a_stop_is_found_over_the_borders_of_tokens(serve: Serve) -> None:
    client = serve()
    text = said(whole(client, max_tokens=60))["text"]
    for length in (1, 3, 9):
        stop = text[20 : 20 + length]
        expected = text[: text.index(stop)]
        answer = whole(client, max_tokens=60, stop=["never there", stop], logprobs=True)
        assert said(answer)["text"] == expected
        assert answer["choices"][0]["finish_reason"] == "stop"
        rows = answer["choices"][0]["logprobs"]["content"]
        told = bytes(value for row in rows for value in row["bytes"]).decode(errors="replace")
        assert told.startswith(expected)
        assert stop not in joined(streamed(client, max_tokens=60, stop=stop))["text"]


def test_logprobs_stand_beside_the_text_they_are_of(serve: Serve) -> None:
    client = serve()
    asked = {"logprobs": True, "top_logprobs": 3, "max_tokens": 30}
    answer = whole(client, **asked)
    rows = answer["choices"][0]["logprobs"]["content"]
    assert len(rows) == 30
    data = bytes(value for row in rows for value in row["bytes"])
    assert data.decode(errors="replace") == said(answer)["text"]
    for row in rows:
        best = row["top_logprobs"][0]
        assert len(row["top_logprobs"]) == 3
        assert (row["token"], row["logprob"]) == (best["token"], best["logprob"])
        assert all(entry["logprob"] <= best["logprob"] <= 0 for entry in row["top_logprobs"])
    seen = b""
    streamed_rows: list[Any] = []
    for chunk in streamed(client, **asked):
        for choice in chunk["choices"]:
            seen += (choice["delta"].get("content") or "").encode()
            beside = choice["logprobs"]
            streamed_rows += beside["content"] if beside else []
    assert streamed_rows == rows
    assert seen == said(answer)["text"].encode()
    assert whole(client)["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {}}])
def test_a_forced_call_is_made_and_its_arguments_fit(serve: Serve, choice: Any) -> None:
    client = serve()
    if isinstance(choice, dict):
        choice["function"]["name"] = "paint_door"
    asked = {"tools": [PAINT, KNOCK], "tool_choice": choice, "parallel_tool_calls": False}
    names = set()
    for seed in range(4):
        asked |= {"temperature": 1.0, "seed": seed, "max_tokens": 200}
        answer = whole(client, **asked)
        assert answer["choices"][0]["finish_reason"] == "tool_calls"
        (call,) = said(answer)["calls"]
        assert joined(streamed(client, **asked))["calls"] == [call]
        names.add(call["name"])
        arguments = orjson.loads(call["arguments"])
        if call["name"] == "paint_door":
            assert arguments["colour"] in ("red", "blue")
            assert arguments["coats"] in (1, 2, 3)
        else:
            assert arguments == {}
    assert names <= ({"paint_door"} if isinstance(choice, dict) else {"paint_door", "knock"})


def test_no_call_is_made_where_none_may_be(serve: Serve) -> None:
    client = serve()
    answer = whole(client, tools=[PAINT], tool_choice="none", max_tokens=80, **LIVELY)
    assert said(answer)["calls"] == []


def test_the_format_of_the_answer_is_held(serve: Serve) -> None:
    client = serve()
    schema = {
        "type": "object",
        "properties": {
            "open": {"type": "boolean"},
            "number": {"type": "integer", "minimum": 0, "maximum": 99},
        },
        "required": ["open", "number"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "door", "schema": schema}}
    for seed in range(3):
        asked = {"response_format": form, "temperature": 1.0, "seed": seed, "max_tokens": 100}
        answer = whole(client, **asked)
        assert answer["choices"][0]["finish_reason"] == "stop"
        value = orjson.loads(said(answer)["text"])
        assert set(value) == {"open", "number"}
        assert 0 <= value["number"] <= 99
        assert joined(streamed(client, **asked))["text"] == said(answer)["text"]
    loose = whole(client, response_format={"type": "json_object"}, max_tokens=8)
    assert said(loose)["text"].startswith("{")


def test_a_call_that_the_limit_cuts_stays_cut(serve: Serve) -> None:
    client = serve()
    asked = {"tools": [PAINT], "tool_choice": "required", "max_tokens": 14}
    answer = whole(client, **asked)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert joined(streamed(client, **asked)) == said(answer)


def test_messages_of_every_kind_are_read(serve: Serve) -> None:
    called = {"id": "c1", "type": "function", "function": {"name": "knock", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Look!"}] * 2},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "<end> ⟦f00000 folded⟧ 😀"},
        {"role": "user", "content": "Well?"},
    ]
    answer = whole(serve(), messages=messages, tools=[KNOCK], tool_choice="none")
    assert answer["usage"]["prompt_tokens"] > 30


def test_both_runtimes_write_the_same(weights: Path) -> None:
    loaded = load_model(weights)
    torch_model = TorchModel(load_torch(loaded.weights), rows=4)
    writers = [
        Writer(runtime, memory_bytes=1 << 20, width=4)
        for runtime in (CpuModel(loaded.weights), torch_model)
    ]
    body = orjson.dumps({"messages": QUESTION, "max_tokens": 40, "tools": [PAINT]})

    async def read(writer: Any) -> Any:
        backend = MomBackend(loaded, writer)
        answer = [event async for event in backend.answer(body)][-1]
        await backend.close()
        return answer.message

    on_cpu, on_torch = (asyncio.run(read(writer)) for writer in writers)
    assert on_cpu == on_torch


def test_several_answers_asked_for_are_one(serve: Serve) -> None:
    response = post(serve(admission="on"), n=3)
    assert len(response.json()["choices"]) == 1
    assert response.headers["x-context-status"] == "tools-off; reason=n"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"seed": 1.5}, "seed"),
        ({"stop": [1]}, "stop"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"logprobs": 1}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"tool_choice": {"type": "function", "function": {"name": "gone"}}}, "tool_choice"),
        *((fields, param) for fields, param, _ in [*BAD, *UNTOLD]),
    ],
)
def test_what_cannot_be_used_is_named(serve: Serve, fields: dict[str, Any], param: str) -> None:
    client = serve()
    for stream in (False, True):
        response = post(client, **{"stream": stream, **fields})
        error = error_of(response, 400)
        check("ErrorResponse", response.json())
        assert (error["type"], error["param"]) == ("invalid_request_error", param)
        assert error["message"].endswith(".")


@pytest.mark.parametrize("part", [PICTURE, SOUND, FILE], ids=lambda part: str(part["type"]))
def test_what_the_model_cannot_see_is_refused(serve: Serve, part: dict[str, Any]) -> None:
    content = [{"type": "text", "text": "What is this?"}, part]
    for admission in ("off", "on"):
        response = post(serve(admission=admission), messages=[{"role": "user", "content": content}])
        error = error_of(response, 400)
        assert error["param"] == "messages[0].content[1].type"
        assert error["message"] == (
            f"messages[0].content[1].type is {part['type']}, and this model reads text alone; "
            "leave the part out, or put it into words."
        )


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema, "minItems": 1}
    return schema


@pytest.mark.parametrize(("levels", "statuses"), [(40, [200]), (245, [200, 400]), (400, [400])])
def test_a_schema_of_many_levels_is_held_or_refused(
    serve: Serve, levels: int, statuses: list[int]
) -> None:
    client = serve()
    form = {"type": "json_schema", "json_schema": {"name": "deep", "schema": nested(levels)}}
    tool = tool_of({"properties": {"a": nested(levels)}})
    for fields in ({"response_format": form}, {"tools": [tool]}):
        response = post(client, **fields)
        assert response.status_code in statuses, response.text
        if response.status_code == 400:
            error = error_of(response, 400)
            assert error["param"] == next(iter(fields))
            assert error["message"].endswith("is nested too deep; make its schemas flatter.")


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_nothing_satisfies_is_refused(serve: Serve, stream: bool) -> None:
    client = serve()
    empty = {"properties": {"door": {"type": "string", "enum": []}}, "required": ["door"]}
    form = {"type": "json_schema", "json_schema": {"name": "door", "schema": {"not": {}}}}
    long = {"properties": {"door": {"enum": ["abcd"], "maxLength": 3}}, "required": ["door"]}
    cases = [
        (
            {"tools": [tool_of(long)]},
            "tools[0].function.parameters",
            "properties.door.enum",
        ),
        (
            {"tools": [KNOCK, tool_of(empty)]},
            "tools[1].function.parameters",
            "properties.door.enum",
        ),
        ({"response_format": form}, "response_format.json_schema.schema", "not"),
    ]
    for fields, param, keyword in cases:
        error = error_of(post(client, stream=stream, **fields), 400)
        assert error["param"] == param
        assert error["code"] in ("invalid_function_parameters", "invalid_json_schema")
        assert error["message"] == (
            f"{param} is one that nothing satisfies, because of {keyword}; mend it or leave it out."
        )


def test_schemas_that_name_too_much_are_refused_and_large_ones_are_not(serve: Serve) -> None:
    client = serve()
    values = [f"v{number}" for number in range(MOST_NAMED)]
    schema = {"type": "object", "properties": {"door": {"enum": values}}, "required": ["door"]}
    form = {"type": "json_schema", "json_schema": {"name": "door", "schema": schema}}
    for fields, param in (
        ({"response_format": form}, "response_format.json_schema.schema"),
        ({"tools": [KNOCK, tool_of(schema)]}, "tools"),
    ):
        error = error_of(post(client, **fields), 400)
        assert error["param"] == param
        assert error["message"].endswith("values and properties; 10,000 at most.")
    form["json_schema"]["schema"] = {"type": "object", "required": [*values, "door"]}
    assert error_of(post(client, response_format=form), 400)["message"].endswith("at most.")
    schema["properties"]["door"] = {"enum": values[:2_000], "examples": [{"enum": values}]}
    form["json_schema"]["schema"] = schema
    assert post(client, response_format=form, max_tokens=40).status_code == 200


def tool_of(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "open_door", "parameters": parameters}}


def test_the_client_library_raises_its_own_error(serve: Serve) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature must be a number from 0 to 2"):
        serve().chat.completions.create(model=NAME, messages=QUESTION, temperature=9)
