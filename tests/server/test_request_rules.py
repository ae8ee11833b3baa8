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

HELLO = {"role": "user", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "knock", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "c1"}
CALLED = [HELLO, {"role": "assistant", "content": None, "tool_calls": [CALL]}]

GOOD: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": ""}]},
    {"messages": [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}]},
    {"messages": [*CALLED, {**RESULT, "content": ""}]},
    {"messages": [HELLO, {"role": "assistant", "tool_calls": [CALL]}]},
    {"messages": [HELLO, {"role": "assistant", "refusal": "No."}]},
    {"messages": [{"role": "function", "name": "f", "content": None}]},
    {"messages": [HELLO], "stop": None},
    {"messages": [HELLO], "stop": "x"},
    {"messages": [HELLO], "stop": list("abcd")},
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
    ({"messages": [HELLO], "stop": list("abcde")}, "stop", "array_above_max_length"),
]


def body(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model": "scripted", **fields}


@pytest.mark.parametrize("fields", GOOD, ids=str)
def test_what_openai_allows_is_taken(fields: dict[str, Any]) -> None:
    check("CreateChatCompletionRequest", body(fields))
    stops_of(parse_request(orjson.dumps(body(fields))))


@pytest.mark.parametrize(("fields", "param", "code"), BAD, ids=str)
def test_what_openai_forbids_is_refused(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(AssertionError):
        check("CreateChatCompletionRequest", body(fields))
    with pytest.raises(ApiError, match="; give ") as caught:
        stops_of(parse_request(orjson.dumps(body(fields))))
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.fixture(scope="module")
def scripted() -> Iterator[str]:
    settings = Settings(port=0, store="memory", backend="scripted", drain_seconds=0)
    url, stop = serve_in_thread(settings)
    yield url
    stop()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fields", "param", "code"), BAD, ids=str)
def test_the_scripted_backend_refuses_it_on_the_wire(
    scripted: str, fields: dict[str, Any], param: str, code: str, stream: bool
) -> None:
    response = httpx.post(
        f"{scripted}/v1/chat/completions", json=body({**fields, "stream": stream}), timeout=30
    )
    assert response.status_code == 400, response.text
    check("ErrorResponse", response.json())
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
