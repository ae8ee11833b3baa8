"""What models in this process refuse is what OpenAI's description of the API forbids."""

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from sculptor.server.envelope import ApiError
from sculptor.server.request_rules import parse_request, stops_of
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server.openai_schemas import check
from tests.server.stub_upstream import StubUpstream

HELLO = {"role": "user", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "knock", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "c1"}
CALLED = [HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}]

KNOCK = {"type": "function", "function": {"name": "knock"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "f1"}}


def asking(**fields: Any) -> dict[str, Any]:
    return {"messages": [HELLO], **fields}


def formed(**json_schema: Any) -> dict[str, Any]:
    return asking(response_format={"type": "json_schema", "json_schema": json_schema})


GOOD: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": ""}]},
    {"messages": [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}]},
    {"messages": [*CALLED, {**RESULT, "content": ""}]},
    {"messages": [HELLO, {"role": "assistant", "tool_calls": [CALL]}]},
    {"messages": [HELLO, {"role": "assistant", "refusal": "No."}]},
    {"messages": [{"role": "function", "name": "f", "content": None}]},
    asking(stop=None),
    asking(stop="x"),
    asking(stop=list("abcd")),
    asking(n=None, stream=None, max_tokens=None, max_completion_tokens=None),
    asking(n=1, stream=False, max_tokens=1),
    asking(n=128, stream=True, max_completion_tokens=2**31 - 1),
    asking(tools=[KNOCK]),
    asking(response_format={"type": "text"}),
    asking(response_format={"type": "json_object"}),
    formed(name="door"),
    formed(name="door", schema={}),
]
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_value"),
    (
        {"messages": [HELLO, {"role": "user", "content": []}]},
        "messages[1].content",
        "invalid_value",
    ),
    ({"messages": [{"role": "system"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [*CALLED, RESULT]}, "messages[2].content", "missing_required_parameter"),
    (asking(stop=list("abcde")), "stop", "array_above_max_length"),
    (asking(model=7), "model", "invalid_type"),
    (asking(model=["scripted"]), "model", "invalid_type"),
    (asking(stream="yes"), "stream", "invalid_type"),
    (asking(stream=0), "stream", "invalid_type"),
    (asking(n=0), "n", "integer_below_min_value"),
    (asking(n=-1), "n", "integer_below_min_value"),
    (asking(n=129), "n", "integer_above_max_value"),
    (asking(n="2"), "n", "invalid_type"),
    (asking(n=True), "n", "invalid_type"),
    (asking(n=1.5), "n", "invalid_type"),
    (asking(max_tokens="many"), "max_tokens", "invalid_type"),
    (asking(max_completion_tokens=0.5), "max_completion_tokens", "integer_below_min_value"),
    (asking(max_completion_tokens=[5]), "max_completion_tokens", "invalid_type"),
    (asking(tools="knock"), "tools", "invalid_value"),
    (asking(tools={}), "tools", "invalid_value"),
    (asking(tools=["knock"]), "tools", "invalid_value"),
    (
        asking(tools=[{"function": KNOCK["function"]}]),
        "tools[0].type",
        "missing_required_parameter",
    ),
    (asking(tools=[KNOCK, {"type": "robot"}]), "tools[1].type", "invalid_value"),
    (
        asking(tools=[{"type": "function"}]),
        "tools[0].function",
        "missing_required_parameter",
    ),
    (
        asking(tools=[{"type": "function", "name": "knock", "function": None}]),
        "tools[0].function",
        "invalid_value",
    ),
    (
        asking(tools=[{"type": "function", "function": {}}]),
        "tools[0].function.name",
        "missing_required_parameter",
    ),
    (
        asking(tools=[{"type": "function", "function": {"name": 7}}]),
        "tools[0].function.name",
        "invalid_value",
    ),
    (asking(response_format="json"), "response_format", "invalid_type"),
    (asking(response_format={}), "response_format.type", "missing_required_parameter"),
    (asking(response_format={"type": "xml"}), "response_format.type", "invalid_value"),
    (asking(response_format={"type": ["text"]}), "response_format.type", "invalid_value"),
    (
        asking(response_format={"type": "json_schema"}),
        "response_format.json_schema",
        "missing_required_parameter",
    ),
    (
        asking(response_format={"type": "json_schema", "json_schema": "{}"}),
        "response_format.json_schema",
        "invalid_value",
    ),
    (formed(schema={}), "response_format.json_schema.name", "missing_required_parameter"),
    (formed(name=7, schema={}), "response_format.json_schema.name", "invalid_value"),
    (formed(name="door", schema=True), "response_format.json_schema.schema", "invalid_type"),
    (formed(name="door", schema="{}"), "response_format.json_schema.schema", "invalid_type"),
]
UNTOLD: list[tuple[dict[str, Any], str, str]] = [
    (asking(max_tokens=0), "max_tokens", "integer_below_min_value"),
    (asking(max_tokens=-5), "max_tokens", "integer_below_min_value"),
    (asking(max_tokens=2**31), "max_tokens", "integer_above_max_value"),
    (asking(max_completion_tokens=1e30), "max_completion_tokens", "integer_above_max_value"),
    (asking(max_tokens=5.0), "max_tokens", "invalid_type"),
    (
        asking(tools=[{"type": "custom", "custom": {"name": "shell"}}]),
        "tools[0].type",
        "invalid_value",
    ),
    (
        asking(tools=[{"type": "function", "function": {"name": ""}}]),
        "tools[0].function.name",
        "invalid_value",
    ),
    (formed(name="", schema={}), "response_format.json_schema.name", "invalid_value"),
]
"""Refused too, though OpenAI's description of the API does not tell of it."""


def body(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model": "scripted", **fields}


@pytest.mark.parametrize("fields", GOOD, ids=str)
def test_what_openai_allows_is_taken(fields: dict[str, Any]) -> None:
    check("CreateChatCompletionRequest", body(fields))
    stops_of(parse_request(orjson.dumps(body(fields))))


@pytest.mark.parametrize(("fields", "param", "code"), BAD, ids=str)
def test_what_is_refused_openai_forbids(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(AssertionError):
        check("CreateChatCompletionRequest", body(fields))


@pytest.mark.parametrize(("fields", "param", "code"), [*BAD, *UNTOLD], ids=str)
def test_a_refusal_says_what_to_give(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(ApiError, match=r"must be .*\.$|; give .*\.$") as caught:
        stops_of(parse_request(orjson.dumps(body(fields))))
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)
    assert caught.value.message.startswith(f"{param} ")


def test_a_number_past_every_range_is_told_the_range() -> None:
    raw = b'{"messages":[{"role":"user","content":"x"}],"max_tokens":1' + b"0" * 30 + b"}"
    with pytest.raises(ApiError) as caught:
        parse_request(raw)
    assert caught.value.message == "max_tokens must be a whole number from 1 to 2,147,483,647."


@pytest.mark.parametrize("admission", ["off", "on"])
@pytest.mark.parametrize("name", ["tools", "response_format", "tool_choice"])
def test_what_is_nested_too_deep_is_refused(scripted: str, name: str, admission: str) -> None:
    deep = '{"a":' * 400 + "1" + "}" * 400
    given = {
        "tools": f'[{{"type":"function","function":{{"name":"a","parameters":{deep}}}}}]',
        "response_format": deep,
        "tool_choice": deep,
    }
    raw = f'{{"messages":[{{"role":"user","content":"Hello"}}],"{name}":{given[name]}}}'
    headers = {"x-sculptor": admission}
    url = f"{scripted}/v1/chat/completions"
    response = httpx.post(url, content=raw.encode(), headers=headers, timeout=30)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["message"] == f"{name} is nested too deep; make its schemas flatter."


@pytest.mark.parametrize(
    "model", [{}, {"model": None}, {"model": ""}, {"model": "gpt-4o"}], ids=str
)
def test_a_server_of_one_model_needs_no_name_of_it(scripted: str, model: dict[str, Any]) -> None:
    response = httpx.post(f"{scripted}/v1/chat/completions", json=asking(**model), timeout=30)
    assert response.status_code == 200, response.text
    assert response.json()["model"] == "scripted"


@pytest.mark.parametrize("part", [PICTURE, SOUND, FILE], ids=lambda part: str(part["type"]))
def test_a_model_of_text_alone_refuses_other_parts(part: dict[str, Any]) -> None:
    content = [{"type": "text", "text": "Look:"}, part]
    request = orjson.dumps({"messages": [HELLO, {"role": "user", "content": content}]})
    assert parse_request(request)["messages"][1]["content"] == content
    with pytest.raises(ApiError, match="this model reads text alone; leave the part out") as caught:
        parse_request(request, text_only=True)
    assert (caught.value.status, caught.value.code) == (400, "invalid_value")
    assert caught.value.param == "messages[1].content[1].type"


@pytest.fixture(scope="module")
def scripted() -> Iterator[str]:
    settings = Settings(port=0, store="memory", backend="scripted", drain_seconds=0)
    url, stop = serve_in_thread(settings)
    yield url
    stop()


@pytest.fixture(scope="module")
def relayed() -> Iterator[tuple[str, StubUpstream]]:
    with StubUpstream() as upstream:
        settings = Settings(port=0, store="memory", upstream=upstream.url, drain_seconds=0)
        url, stop = serve_in_thread(settings)
        yield url, upstream
        stop()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fields", "param", "code"), [*BAD, *UNTOLD], ids=str)
def test_the_scripted_backend_refuses_it_on_the_wire(
    scripted: str, fields: dict[str, Any], param: str, code: str, stream: bool
) -> None:
    response = httpx.post(
        f"{scripted}/v1/chat/completions", json=body({"stream": stream, **fields}), timeout=30
    )
    assert response.status_code == 400, response.text
    check("ErrorResponse", response.json())
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


@pytest.mark.parametrize("admission", ["off", "on"])
@pytest.mark.parametrize(("fields", "param", "code"), [*BAD, *UNTOLD], ids=str)
def test_an_upstream_judges_for_itself(
    relayed: tuple[str, StubUpstream],
    fields: dict[str, Any],
    param: str,
    code: str,
    admission: str,
) -> None:
    url, upstream = relayed
    headers = {"x-sculptor": admission}
    sent = body(fields)
    response = httpx.post(f"{url}/v1/chat/completions", json=sent, headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    name = param.partition(".")[0].partition("[")[0]
    if admission == "off" or name not in ("messages", "tools"):
        assert upstream.seen[-1].value[name] == sent[name]
