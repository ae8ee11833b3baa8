"""A request in, stored, folded, rendered, answered, restored: over real HTTP at both ends."""

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from openai import OpenAI

from sculptor.loop import MessageCache, read_request
from sculptor.server.app import Server
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.store.memory import MemoryStore
from tests.server.stub_upstream import StubUpstream, call, say

LONG = "\n".join(f"line {i}: the value of item {i} is {i * 7}" for i in range(600))
QUESTION = "\n\nWhat is the value of item 5?"


@pytest.fixture
def upstream() -> Iterator[StubUpstream]:
    with StubUpstream() as made:
        yield made


@pytest.fixture
def server(upstream: StubUpstream) -> Server:
    settings = Settings(port=0, store="memory", upstream=upstream.url, drain_seconds=1)
    return Server(settings, MemoryStore())


@pytest.fixture
def proxy(server: Server) -> Iterator[str]:
    url, stop = serve_in_thread(server.settings, server=server)
    yield url
    stop()


def post(proxy: str, body: dict[str, Any] | bytes, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(
        f"{proxy}/v1/chat/completions",
        content=content,
        headers={"content-type": "application/json", **names},
        timeout=30,
    )


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_below_the_threshold_a_request_passes_byte_for_byte(
    proxy: str, upstream: StubUpstream
) -> None:
    upstream.answers.append(say("hello"))
    body = b'{ "model":"m", "x_new": 1.50,\n "messages":[ {"role":"user","content":"h\\u00e9"} ]}'
    response = post(proxy, body)
    assert response.status_code == 200, response.text
    assert upstream.seen[0].body == body
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    assert response.json()["model"] == "m"
    assert response.headers["x-context-status"] == "passthrough"
    assert "x_context" not in response.json()


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_what_nobody_asks_for_is_not_counted(proxy: str, server: Server, mode: str) -> None:
    body = orjson.dumps({"model": "m", "messages": [user(f"streamed, {mode}")], "stream": True})
    response = post(proxy, body, x_sculptor=mode)
    assert response.text.endswith("data: [DONE]\n\n")
    assert server.lanes.uncounted_bytes(read_request(body, MessageCache())) > 0


def test_where_the_upstream_tells_no_usage_the_client_gets_our_count_of_what_it_read(
    proxy: str, server: Server, upstream: StubUpstream
) -> None:
    upstream.tells_usage = False
    upstream.answers += [say("Yes, yes."), fold_most(), say("It is 35."), say("Yes.")]
    body = orjson.dumps({"model": "m", "messages": [user("Is it really?")]})
    short = post(proxy, body).json()["usage"]
    counted = server.lanes.count(read_request(body, MessageCache()))
    assert short["prompt_tokens"] == counted > 0
    assert short["completion_tokens"] == server.lanes.counter_of("m").count("Yes, yes.")
    managed = post(proxy, {"model": "m", "messages": [user(LONG + QUESTION)]}).json()
    told = managed["x_context"]["billed"][-1]["view_tokens"]
    assert managed["usage"]["prompt_tokens"] == told
    off = post(proxy, {"model": "m", "messages": [user(LONG + QUESTION)]}, x_sculptor="off").json()
    assert off["usage"]["prompt_tokens"] > 2 * told


def fold_most() -> Any:
    return call(("fragment_context", {"num_fragments": 8, "fold_except": [-1]}), text="Looking.")


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_folds_and_the_client_sees_only_the_answer(
    proxy: str, upstream: StubUpstream, stream: bool
) -> None:
    upstream.answers += [
        fold_most(),
        call(("search_context", {"queries": ["item 5 is"]})),
        say("It is 35."),
    ]
    client = OpenAI(base_url=f"{proxy}/v1", api_key="x", max_retries=0)
    text, reason = ask(client, stream, [user(LONG + QUESTION)])
    assert text == "Looking.\n\nIt is 35."
    assert reason == "stop"
    first, second, third = (seen.value for seen in upstream.seen)
    names = [tool["function"]["name"] for tool in first["tools"]]
    assert names[0] == "fragment_context"
    assert first["messages"] == [user(LONG + QUESTION)]
    assert len(upstream.seen[1].body) < len(upstream.seen[0].body) / 2
    assert second["messages"][0]["content"].endswith(QUESTION)
    assert "folded" in second["messages"][0]["content"]
    found = orjson.loads(third["messages"][-1]["content"])["results"][0]["hits"][0]
    assert "is 35" in found["text"]
    assert found["hidden"] == "folded"


def ask(client: OpenAI, stream: bool, messages: list[Any], **extra: Any) -> tuple[str, str | None]:
    if not stream:
        done = client.chat.completions.create(model="m", messages=messages, **extra)
        return done.choices[0].message.content or "", done.choices[0].finish_reason
    text, reason = "", None
    for chunk in client.chat.completions.create(model="m", messages=messages, stream=True, **extra):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
    return text, reason


def test_what_was_folded_stays_folded_in_the_next_turn(proxy: str, upstream: StubUpstream) -> None:
    upstream.answers += [fold_most(), say("35"), say("Yes.")]
    messages = [user(LONG + QUESTION)]
    first = post(proxy, {"model": "m", "messages": messages})
    answer = first.json()["choices"][0]["message"]
    messages += [{"role": "assistant", "content": answer["content"]}, user("Sure?")]
    second = post(proxy, {"model": "m", "messages": messages})
    assert second.headers["x-session-id"] == first.headers["x-session-id"]
    sent = upstream.seen[-1].value["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "user"]
    assert "folded" in sent[0]["content"]
    assert sent[1]["content"] == answer["content"]
    assert sent[2]["content"][0]["text"] == "Sure?"
    assert "ledger" in sent[2]["content"][1]["text"]
    assert upstream.seen[-1].value["tools"] == upstream.seen[0].value["tools"]


def test_two_people_who_begin_alike_never_share_state(proxy: str, upstream: StubUpstream) -> None:
    upstream.answers += [fold_most(), say("35"), say("other")]
    messages = [user(LONG + QUESTION)]
    first = post(proxy, {"model": "m", "messages": messages})
    second = post(proxy, {"model": "m", "messages": messages})
    assert first.headers["x-session-id"] != second.headers["x-session-id"]
    assert upstream.seen[-1].value["messages"] == messages


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_with_client_tools_beside_ours(
    proxy: str, upstream: StubUpstream, stream: bool
) -> None:
    weather = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    upstream.answers += [
        call(
            ("fold_fragment", {"keep_last": 0}),
            ("weather", {"city": "Oslo"}),
            ("fragment_context", {"num_fragments": 4}),
        ),
        call(("fold_fragment", {"keep_last": 1})),
        say("Cold."),
    ]
    messages: list[Any] = [user(LONG + QUESTION)]
    body = {"model": "m", "messages": messages, "tools": [weather], "stream": stream}
    calls = client_calls(post(proxy, body), stream)
    assert [c["function"]["name"] for c in calls] == ["weather"]
    assert calls[0]["id"] != "up_1"
    messages += [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "-3"},
    ]
    last = post(proxy, {"model": "m", "messages": messages, "tools": [weather]})
    assert last.json()["choices"][0]["message"]["content"] == "Cold."
    joined = upstream.seen[1].value["messages"]
    assert [c["function"]["name"] for c in joined[1]["tool_calls"]] == [
        "fold_fragment",
        "weather",
        "fragment_context",
    ]
    assert {m["tool_call_id"] for m in joined[2:]} == {c["id"] for c in joined[1]["tool_calls"]}
    assert "folded" in upstream.seen[2].value["messages"][0]["content"]


def test_a_new_try_within_a_turn_keeps_what_came_before_it_in_the_turn(
    proxy: str, upstream: StubUpstream
) -> None:
    search = ("search_context", {"queries": ["item 5 is"]})
    upstream.answers += [
        call(search, ("weather", {"city": "Oslo"})),
        call(("search_context", {"queries": ["item 6 is"]})),
        say("Cold."),
        say("Very cold."),
    ]
    weather = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    messages: list[Any] = [user(LONG + QUESTION)]
    calls = client_calls(
        post(proxy, {"model": "m", "messages": messages, "tools": [weather]}), False
    )
    messages += [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "-3"},
    ]
    body = {"model": "m", "messages": messages, "tools": [weather]}
    assert post(proxy, body).json()["choices"][0]["message"]["content"] == "Cold."
    assert post(proxy, body).json()["choices"][0]["message"]["content"] == "Very cold."
    asked, again = upstream.seen[1].value["messages"], upstream.seen[3].value["messages"]
    assert len(asked[1]["tool_calls"]) == 2
    assert again == asked


def client_calls(response: httpx.Response, stream: bool) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    if not stream:
        choice = response.json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        return choice["message"]["tool_calls"]
    calls: dict[int, dict[str, Any]] = {}
    for line in response.text.splitlines():
        if not line.startswith("data: {"):
            continue
        for choice in orjson.loads(line[6:])["choices"]:
            for item in choice["delta"].get("tool_calls", []):
                made = calls.setdefault(item["index"], {"function": {"name": "", "arguments": ""}})
                made["id"] = item.get("id") or made.get("id")
                made["type"] = "function"
                made["function"]["name"] += item["function"].get("name") or ""
                made["function"]["arguments"] += item["function"].get("arguments") or ""
    return [calls[index] for index in sorted(calls)]


def test_our_tools_stand_down_instead_of_an_error(proxy: str, upstream: StubUpstream) -> None:
    ours = {"type": "function", "function": {"name": "undo", "parameters": {}}}
    choice = {"type": "function", "function": {"name": "undo"}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"n": 2}, "n"),
        ({"tools": [ours]}, "tool_name"),
        ({"tool_choice": "none"}, "tool_choice"),
        ({"tools": [{**ours, "function": {"name": "x"}}], "tool_choice": choice}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ]
    for extra, reason in cases:
        upstream.answers.append(say("ok"))
        response = post(proxy, {"model": "m", "messages": [user(LONG + QUESTION)], **extra})
        assert response.status_code == 200, response.text
        assert response.headers["x-context-status"] == f"tools-off; reason={reason}"


def test_the_header_turns_the_tools_on_and_off(proxy: str, upstream: StubUpstream) -> None:
    upstream.answers += [say("a"), say("b")]
    on = post(proxy, {"model": "m", "messages": [user("hi")]}, x_sculptor="on")
    off = post(proxy, {"model": "m", "messages": [user(LONG)]}, x_sculptor="off")
    assert on.headers["x-context-status"] == "tools-on"
    assert "tools" in upstream.seen[0].value
    assert off.headers["x-context-status"] == "off"
    assert "tools" not in upstream.seen[1].value
    bad = post(proxy, {"model": "m", "messages": [user("hi")]}, x_sculptor="maybe")
    assert bad.status_code == 400
    assert "off, auto or on" in bad.json()["error"]["message"]


def test_a_slash_at_the_end_of_the_path_leads_no_request_past_us(
    proxy: str, upstream: StubUpstream
) -> None:
    upstream.answers.append(say("a"))
    body = {"model": "m", "messages": [user("hi")]}
    answer = httpx.post(f"{proxy}/v1/chat/completions/", json=body)
    assert answer.headers["x-context-status"] == "passthrough"
    assert upstream.seen[-1].value["messages"] == body["messages"]


def test_other_paths_are_relayed_untouched(proxy: str, upstream: StubUpstream) -> None:
    body = b'{"input":"x","encoding_format":"base64"}'
    response = httpx.post(f"{proxy}/v1/embeddings?a=1", content=body)
    assert response.json() == {"path": "/v1/embeddings?a=1", "size": len(body)}
    assert upstream.seen[-1].body == body


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"messages":[]}', "at least one"),
        (b'{"messages":"x"}', "list"),
        (b'{"messages":[{"role":"robot","content":"x"}]}', "robot"),
        (b'{"messages":[{"role":"tool","tool_call_id":"a","content":"x"}]}', "tool result"),
        (
            b'{"messages":[{"role":"user","content":"x"},'
            b'{"role":"tool","tool_call_id":"a","content":"x"}]}',
            "no such call",
        ),
        (b'{"messages":[{"role":"user","content":"\xff"}]}', "UTF-8"),
    ],
)
def test_bad_input_is_refused_in_words(proxy: str, body: bytes, words: str) -> None:
    response = post(proxy, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert words.lower() in error["message"].lower()
    assert error["type"] == "invalid_request_error"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_are_all_relayed(proxy: str, upstream: StubUpstream, stream: bool) -> None:
    upstream.answers.append(say("pick me"))
    body = {"model": "m", "messages": [user("hi")], "n": 3, "stream": stream}
    response = post(proxy, body)
    assert response.status_code == 200
    if stream:
        lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
        chunks = [orjson.loads(line) for line in lines]
        seen = [choice for chunk in chunks for choice in chunk["choices"]]
        texts = {
            i: "".join(c["delta"].get("content") or "" for c in seen if c["index"] == i)
            for i in range(3)
        }
    else:
        chunks = [response.json()]
        texts = {c["index"]: c["message"]["content"] for c in chunks[0]["choices"]}
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert all(chunk["id"].startswith("chatcmpl-") for chunk in chunks)
    assert {chunk["model"] for chunk in chunks} == {"m"}
    assert texts == {0: "pick me", 1: "pick me", 2: "pick me"}
    follow = [user("hi"), {"role": "assistant", "content": "pick me"}, user("so?")]
    again = post(proxy, {"model": "m", "messages": follow})
    assert again.headers["x-session-id"] == response.headers["x-session-id"]


def test_semantic_search_asks_the_upstream_for_vectors(upstream: StubUpstream) -> None:
    settings = Settings(
        port=0,
        store="memory",
        upstream=upstream.url,
        drain_seconds=1,
        embeddings_model="emb",
    )
    url, stop = serve_in_thread(settings)
    search = call(("search_context", {"queries": ["item 5"], "mode": "semantic"}))
    upstream.answers += [search, say("done")]
    response = post(url, {"model": "m", "messages": [user(LONG + QUESTION)]})
    stop()
    assert response.status_code == 200
    asked = next(seen.value for seen in upstream.seen if "input" in seen.value)
    assert asked["model"] == "emb"
    assert asked["input"][0] == "item 5"
    row = orjson.loads(upstream.seen[-1].value["messages"][-1]["content"])["results"][0]
    assert row["hits"][0]["text"]


def test_a_summary_is_made_from_the_original_and_paid_for_in_the_receipt(
    proxy: str, upstream: StubUpstream
) -> None:
    def shorten(body: dict[str, Any]) -> dict[str, Any]:
        assert "tools" not in body
        assert "item 17" in str(body["messages"])
        name = next(iter(made))
        return {"role": "assistant", "content": f"{name}: items are multiples of seven"}

    made: dict[str, None] = {}

    def summarize(body: dict[str, Any]) -> dict[str, Any]:
        table = orjson.loads(body["messages"][-1]["content"])["fragments"]
        made[table[0]["id"]] = None
        arguments = {"fragment_ids": [table[0]["id"]], "focus": "the rule"}
        return call(("summarize_fragment", arguments))(body)

    upstream.answers += [
        call(("fragment_context", {"num_fragments": 4})),
        summarize,
        shorten,
        say("done"),
    ]
    response = post(proxy, {"model": "m", "messages": [user(LONG + QUESTION)]})
    assert response.status_code == 200
    sent = upstream.seen[-1].value["messages"]
    told = orjson.loads(sent[-1]["content"])
    assert told["cost_tokens"] > 0, told
    assert "multiples of seven" in sent[0]["content"]
    assert "summary (focus: the rule)" in sent[0]["content"]
