"""All that the proxy writes, to clients and upstreams, held against OpenAI's own description."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.tools import toolset
from tests.server import hostile
from tests.server.hostile import HostileUpstream, Manner
from tests.server.openai_schemas import check
from tests.server.stub_upstream import Answer, Message, StubUpstream, call, say

LONG = "\n".join(f"line {i}: the value of item {i} is {i * 7}" for i in range(600))
HEADERS = {"authorization": "Bearer sk-test-of-the-schemas"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
FOLD = call(("fragment_context", {"num_fragments": 8, "fold_except": [-1]}), text="Looking.")
SEARCH = call(("search_context", {"queries": ["item 5 is"]}))
ALL = {"fragment_ids": ["all"]}
Ask = Callable[..., httpx.Response]


def look_closer(body: dict[str, Any]) -> Message:
    """Open the first hit of the search just made, beside the summaries of all fragments."""
    (result,) = orjson.loads(body["messages"][-1]["content"])["results"]
    detail = ("get_search_detail", {"search_id": result["hits"][0]["id"]})
    return call(detail, ("summarize_fragment", {**ALL, "focus": "values"}))(body)


EVERY_TOOL: list[Answer] = [
    FOLD,
    SEARCH,
    look_closer,
    call(("restore_fragment", ALL), ("pin_fragment", ALL), ("fold_fragment", {"keep_last": 1})),
    call(("fold_fragment", {"fragment_ids": ["f00000"]}), ("undo", {"operation": "o1"})),
]


@pytest.fixture
def upstream() -> Iterator[StubUpstream]:
    """An upstream; whatever it was asked was a valid request."""
    with StubUpstream() as made:
        yield made
    for seen in made.seen:
        if "messages" in seen.value:
            check("CreateChatCompletionRequest", seen.value)


@pytest.fixture
def ask(upstream: StubUpstream) -> Iterator[Ask]:
    """Post to a proxy before the upstream."""
    url, stop = serve_in_thread(settings(upstream.url))

    def post(body: Any, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(f"{url}{path}", content=content, headers=HEADERS | named, timeout=30)

    yield post
    stop()


def settings(upstream: str, **changed: Any) -> Settings:
    key = SecretStr(HEADERS["authorization"].removeprefix("Bearer "))
    values = {"port": 0, "store": "memory", "upstream": upstream, "keys": {"local": key}}
    plain = {"drain_seconds": 0, "max_retries": 0, "summarizer": "extractive"}
    return Settings.model_validate(values | plain | changed)


def request(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-test", "messages": [{"role": "user", "content": text}], **fields}


def whole(response: httpx.Response) -> dict[str, Any]:
    """Return a valid answer that came whole."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    answer: dict[str, Any] = orjson.loads(response.content)
    check("CreateChatCompletionResponse", answer)
    return answer


def chunks(response: httpx.Response, *, usage: bool) -> list[dict[str, Any]]:
    """Return the valid chunks of a stream that ended well."""
    assert response.status_code == 200, response.text
    *frames, done, empty = response.text.split("\n\n")
    assert (done, empty) == ("data: [DONE]", "")
    made = [orjson.loads(frame.removeprefix("data: ")) for frame in frames if frame[0] != ":"]
    for chunk in made:
        check("CreateChatCompletionStreamResponse", chunk)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in made}) == 1
    assert [chunk.get("usage", "none") is None for chunk in made[:-1]] == [usage] * (len(made) - 1)
    assert (made[-1].get("usage") is not None) == usage
    assert (made[-1]["choices"] == []) == usage
    return made


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return a valid error."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    check("ErrorResponse", orjson.loads(response.content))
    found: dict[str, Any] = orjson.loads(response.content)["error"]
    return found


def test_a_plain_answer(ask: Ask, upstream: StubUpstream) -> None:
    upstream.answers.append(say("hello"))
    assert whole(ask(request("hi")))["choices"][0]["message"]["content"] == "hello"


def test_what_the_model_adds_to_its_message_stays_valid(ask: Ask, upstream: StubUpstream) -> None:
    cited = {"start_index": 0, "end_index": 5, "url": "https://example.org/a", "title": "A"}
    message = {
        "role": "assistant",
        "content": "hello",
        "refusal": None,
        "annotations": [{"type": "url_citation", "url_citation": cited}],
    }
    upstream.answers += [FOLD, lambda _: message]
    said = whole(ask(request(LONG)))["choices"][0]["message"]
    assert said["annotations"] == message["annotations"]


@pytest.mark.parametrize("usage", [False, True], ids=["no usage", "usage"])
@pytest.mark.parametrize("before", [[], EVERY_TOOL], ids=["plain", "managed"])
def test_a_streamed_answer(
    ask: Ask, upstream: StubUpstream, before: list[Answer], usage: bool
) -> None:
    upstream.answers += [*before, say("It is 35.")]
    options = {"stream_options": {"include_usage": True}} if usage else {}
    made = chunks(ask(request(LONG, stream=True, **options), x_sculptor="auto"), usage=usage)
    text = "".join(c["delta"].get("content") or "" for chunk in made for c in chunk["choices"])
    assert text.endswith("It is 35.")
    assert len(upstream.seen) == len(before) + 1
    assert sum("x_context" in chunk for chunk in made) == 1


def test_a_managed_answer_with_every_tool(ask: Ask, upstream: StubUpstream) -> None:
    upstream.answers += [*EVERY_TOOL, say("It is 35.")]
    answer = whole(ask(request(LONG)))
    assert answer["x_context"]["steps"] == len(EVERY_TOOL)
    assert len(answer["x_context"]["billed"]) == len(EVERY_TOOL) + 1
    assert answer["usage"]["total_tokens"] > answer["usage"]["completion_tokens"] > 7
    ours = upstream.seen[0].value["tools"]
    assert {tool["function"]["name"] for tool in ours} == toolset("full").names
    called = [m for m in upstream.seen[-1].value["messages"] if m["role"] == "tool"]
    assert ["error" in orjson.loads(m["content"]) for m in called] == [False] * 7 + [True] * 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_client_calls_beside_ours_and_the_turns_after(
    ask: Ask, upstream: StubUpstream, stream: bool
) -> None:
    mixed = call(("fold_fragment", {"keep_last": 1}), ("weather", {}), ("weather", {"a": 1}))
    upstream.answers += [FOLD, mixed, SEARCH, say("Cold."), say("Yes.")]
    body = request(LONG, tools=[WEATHER])
    first = ask({**body, "stream": stream})
    calls = joined_calls(chunks(first, usage=False)) if stream else whole_calls(whole(first))
    assert [item["function"]["name"] for item in calls] == ["weather", "weather"]
    body["messages"] += [
        {"role": "assistant", "content": "Looking.", "tool_calls": calls},
        *({"role": "tool", "tool_call_id": item["id"], "content": "-3"} for item in calls),
    ]
    answer = whole(ask(body))["choices"][0]["message"]
    body["messages"] += [
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
    ]
    assert whole(ask(body))["choices"][0]["message"]["content"] == "Yes."
    assert len(upstream.seen) == 5


def whole_calls(answer: dict[str, Any]) -> list[dict[str, Any]]:
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    found: list[dict[str, Any]] = answer["choices"][0]["message"]["tool_calls"]
    return found


def joined_calls(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pieces = [
        piece
        for chunk in made
        for choice in chunk["choices"]
        for piece in choice["delta"].get("tool_calls", ())
    ]
    assert [piece["index"] for piece in pieces if "id" in piece] == [0, 1]
    return [{k: v for k, v in piece.items() if k != "index"} for piece in pieces]


@pytest.mark.parametrize("fields", [{"n": 2}, {"tool_choice": "none"}, {"tool_choice": "required"}])
def test_requests_where_our_tools_stand_down(
    ask: Ask, upstream: StubUpstream, fields: dict[str, Any]
) -> None:
    upstream.answers.append(lambda _: {"role": "assistant", "content": "ok", "refusal": None})
    response = ask(request(LONG, **fields))
    assert len(whole(response)["choices"]) == fields.get("n", 1)
    assert response.headers["x-context-status"].startswith("tools-off")


def test_an_upstream_request_for_summaries(upstream: StubUpstream) -> None:
    url, stop = serve_in_thread(settings(upstream.url, summarizer="model"))
    summarize = call(("summarize_fragment", {**ALL, "focus": "values"}))
    cut = call(("fragment_context", {"num_fragments": 4}))
    upstream.answers += [cut, summarize, say("[1] Lines."), say("Done.")]
    response = httpx.post(
        f"{url}/v1/chat/completions", json=request(LONG), headers=HEADERS, timeout=30
    )
    stop()
    whole(response)
    assert "tools" not in upstream.seen[2].value


def say_too_much(_: dict[str, Any]) -> Message:
    return {"role": "assistant", "content": "hi", "tool_calls": []}


def test_an_empty_list_of_calls_is_not_handed_on(ask: Ask, upstream: StubUpstream) -> None:
    upstream.answers.append(say_too_much)
    assert whole(ask(request("hi")))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("body", "path", "headers", "status"),
    [
        (b"{", "/v1/chat/completions", {}, 400),
        (b'{"messages":[]}', "/v1/chat/completions", {}, 400),
        (request("hi") | {"messages": [{"role": "robot"}]}, "/v1/chat/completions", {}, 400),
        (request("hi"), "/v1/chat/completions", {"x_sculptor": "maybe"}, 400),
        (request("hi"), "/v1/chat/completions", {"content_encoding": "rot13"}, 415),
        (request("hi"), "/v1/chat/completions", {"authorization": "Bearer wrong"}, 401),
        (request("hi"), "/v1/chat/completions", {"x_api_key": "another"}, 401),
        (request("hi"), "/nowhere", {}, 404),
        (request("hi"), "/api/nowhere", {}, 404),
        (b" " * (33 * 1024 * 1024), "/v1/chat/completions", {}, 413),
    ],
)
def test_refusals(ask: Ask, body: Any, path: str, headers: dict[str, str], status: int) -> None:
    assert error(ask(body, path, **headers), status)["message"]


def through(manner: Manner, body: dict[str, Any]) -> httpx.Response:
    """Ask a proxy before a hostile upstream."""

    async def main() -> httpx.Response:
        async with HostileUpstream(manner) as bad:
            quick = {"first_byte_timeout": 0.3, "idle_timeout": 0.3}
            url, stop = serve_in_thread(settings(bad.url, **quick))
            try:
                async with httpx.AsyncClient(timeout=30, headers=HEADERS) as client:
                    return await client.post(f"{url}/v1/chat/completions", json=body)
            finally:
                await asyncio.to_thread(stop)

    return asyncio.run(main())


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_what_the_upstream_refuses(status: int) -> None:
    told = {"error": {"message": "no", "type": "t", "param": None, "code": 7}}
    response = through(hostile.answer(status, told), request("hi"))
    expected = {401: 502, 500: 502}.get(status, status)
    assert error(response, expected)["code"]


@pytest.mark.parametrize("name", sorted(hostile.BAD_ANSWERS))
def test_answers_that_are_none(name: str) -> None:
    response = through(hostile.BAD_ANSWERS[name], request("hi"))
    error(response, 504 if name == "hang" else 502)


@pytest.mark.parametrize("name", sorted(hostile.BROKEN_STREAMS))
def test_streams_that_break(name: str) -> None:
    response = through(hostile.BROKEN_STREAMS[name], request("hi", stream=True))
    *frames, last, empty = response.text.split("\n\n")
    assert empty == ""
    for frame in frames:
        if not frame.startswith(":"):
            check("CreateChatCompletionStreamResponse", orjson.loads(frame.removeprefix("data: ")))
    check("ErrorResponse", orjson.loads(last.removeprefix("data: ")))


@pytest.mark.parametrize("name", sorted(hostile.TEXT_MANNERS | hostile.TOOL_MANNERS))
def test_streams_that_are_mended(name: str) -> None:
    manners = hostile.TEXT_MANNERS | hostile.TOOL_MANNERS
    chunks(through(manners[name], request("hi", stream=True)), usage=False)


def test_the_list_of_models() -> None:
    url, stop = serve_in_thread(Settings(port=0, store="memory", backend="scripted"))
    listed = httpx.get(f"{url}/v1/models").json()
    answered = httpx.post(f"{url}/v1/chat/completions", json=request("hi"), timeout=30)
    missing = httpx.get(f"{url}/v1/models/no-such-model")
    stop()
    check("ListModelsResponse", listed, strict=False)
    whole(answered)
    error(missing, 404)


def test_the_schemas_can_fail() -> None:
    good = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    check("CreateChatCompletionStreamResponse", {**good, "usage": None})
    for bad in ({**good, "usages": None}, {**good, "usage": {}}, {**good, "object": "chunk"}):
        with pytest.raises(AssertionError):
            check("CreateChatCompletionStreamResponse", bad)
    for bad in ({"model": "m"}, {**request("hi"), "unheard_of": 1}, {**request("hi"), "n": "2"}):
        with pytest.raises(AssertionError):
            check("CreateChatCompletionRequest", bad)
