"""What a hostile client or page sends: refused in words, nothing leaked, no conversation stuck."""

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from sculptor.server.app import Server
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.store import LOCAL, MemoryStore
from tests.server.stub_upstream import StubUpstream, call, say

LONG = "\n".join(f"line {i}: the value of item {i} is {i * 7}" for i in range(600))
SEARCH = call(("search_context", {"queries": ["item 5 is"]}))


@pytest.fixture
def upstream() -> Iterator[StubUpstream]:
    with StubUpstream() as made:
        yield made


@pytest.fixture
def server(upstream: StubUpstream) -> Server:
    settings = Settings(port=0, store="memory", upstream=upstream.url, drain_seconds=1, max_steps=3)
    return Server(settings, MemoryStore())


@pytest.fixture
def proxy(server: Server) -> Iterator[str]:
    url, stop = serve_in_thread(server.settings, server=server)
    yield url
    stop()


def ask(proxy: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return httpx.post(f"{proxy}/v1/chat/completions", json=body, headers=headers, timeout=30)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    "message",
    [
        {"role": ["user"], "content": "x"},
        {"role": {"a": 1}, "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": ["function"]}]},
        {"role": "tool", "tool_call_id": ["a"], "content": "x"},
    ],
)
def test_a_field_of_an_odd_type_is_the_client_s_mistake(
    proxy: str, message: dict[str, Any]
) -> None:
    response = ask(proxy, {"model": "m", "messages": [user("hi"), message]})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("extra", [{"tools": [{"type": ["x"]}]}, {"stream_options": "usage"}])
def test_odd_options_are_the_upstream_s_to_judge(proxy: str, extra: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [user(LONG)], **extra}
    assert ask(proxy, body).status_code == 200


def test_a_part_nested_deep_is_carried(proxy: str) -> None:
    nested: Any = {}
    for _ in range(300):
        nested = {"a": nested}
    part = {"type": "image_url", "image_url": {"url": "u", "x": nested}}
    response = ask(proxy, {"model": "m", "messages": [{"role": "user", "content": [part]}]})
    assert response.status_code == 200


def test_a_spent_budget_leaves_an_answer_that_can_be_sent_back(
    proxy: str, upstream: StubUpstream
) -> None:
    upstream.answers += [SEARCH] * 4
    first = ask(proxy, {"model": "m", "messages": [user(LONG)]})
    answer = first.json()["choices"][0]["message"]
    assert answer["content"] == ""
    upstream.answers.append(say("on we go"))
    history = [user(LONG), {"role": "assistant", "content": answer["content"]}, user("and?")]
    assert ask(proxy, {"model": "m", "messages": history}).status_code == 200


def test_a_new_try_at_a_finished_turn_begins_anew(proxy: str, upstream: StubUpstream) -> None:
    upstream.answers += [SEARCH, say("35"), say("again")]
    body = {"model": "m", "messages": [user(LONG)]}
    ask(proxy, body, **{"x-session-id": "regen"})
    ask(proxy, body, **{"x-session-id": "regen"})
    assert upstream.seen[-1].value["messages"] == [user(LONG)]


def test_a_session_deleted_while_it_answers_stays_deleted(
    proxy: str, server: Server, upstream: StubUpstream
) -> None:
    def late(body: dict[str, Any]) -> dict[str, Any]:
        for row in server.store.sessions(LOCAL):
            assert httpx.delete(f"{proxy}/api/sessions/{row.session.id}").status_code < 300
        return say("too late")(body)

    upstream.answers += [SEARCH, late]
    assert ask(proxy, {"model": "m", "messages": [user(LONG)]}).status_code == 200
    assert server.store.sessions(LOCAL) == []
    assert server.store.verify() == []


def test_foreign_pages_cannot_use_the_operator_s_key(proxy: str, upstream: StubUpstream) -> None:
    body = {"model": "m", "messages": [user("hi")]}
    assert ask(proxy, body, host="evil.example").status_code == 403
    assert ask(proxy, body, origin="http://evil.example").status_code == 403
    assert httpx.get(f"{proxy}/v1/files", headers={"host": "evil.example"}).status_code == 403
    assert upstream.seen == []
    assert ask(proxy, body, **{"x-forwarded-for": "1.2.3.4"}).status_code == 200


def test_metrics_need_a_key_where_there_are_keys(upstream: StubUpstream) -> None:
    settings = Settings.model_validate(
        {"port": 0, "store": "memory", "upstream": upstream.url, "keys": {"ann": "sk-ann-123"}}
    )
    url, stop = serve_in_thread(settings)
    assert httpx.get(f"{url}/metrics").status_code == 401
    assert httpx.get(f"{url}/metrics", headers={"x-api-key": "sk-ann-123"}).status_code == 200
    stop()


def test_after_everything_is_restored_the_client_s_bytes_go_up(
    proxy: str, upstream: StubUpstream
) -> None:
    upstream.answers += [
        call(("fragment_context", {"fold_except": []})),
        call(("restore_fragment", {"fragment_ids": ["all"]})),
        say("done"),
        say("yes"),
    ]
    ask(
        proxy,
        {"model": "m", "messages": [user(LONG), {"role": "assistant", "content": "ok"}, user("q")]},
    )
    last = b'{"role":"user","content":"sure?","big":123456789012345678901234567890}'
    messages = [user(LONG), {"role": "assistant", "content": "ok"}, user("q")]
    history = [*messages, {"role": "assistant", "content": "done"}]
    listed = b",".join([*(orjson.dumps(m) for m in history), last])
    body = b'{"model":"m","messages":[' + listed + b"]}"
    response = httpx.post(f"{proxy}/v1/chat/completions", content=body, timeout=30)
    assert response.status_code == 200
    assert last in upstream.seen[-1].body


@pytest.mark.parametrize("searches", [0, 1])
def test_what_a_person_does_during_an_answer_stays_in_force(
    proxy: str, server: Server, upstream: StubUpstream, searches: int
) -> None:
    start = [user(LONG), {"role": "assistant", "content": "ok"}]

    def meanwhile(body: dict[str, Any]) -> dict[str, Any]:
        order = {"kind": "fold", "fragment_ids": ["all"]}
        done = httpx.post(f"{proxy}/api/sessions/{name}/operations", json=order)
        assert done.status_code == 200, done.text
        return (SEARCH if searches else say("slow"))(body)

    upstream.answers += [call(("fragment_context", {})), say("cut")]
    first = ask(proxy, {"model": "m", "messages": [*start, user("cut it")]})
    name = first.headers["x-session-id"]
    upstream.answers += [meanwhile, *[say("slow")] * searches, say("end")]
    history = [*start, user("cut it"), {"role": "assistant", "content": "cut"}, user("slowly")]
    ask(proxy, {"model": "m", "messages": history})
    history += [{"role": "assistant", "content": "slow"}, user("and now?")]
    last = ask(proxy, {"model": "m", "messages": history})
    assert last.headers["x-session-id"] == name
    assert "folded" in upstream.seen[-1].value["messages"][0]["content"]
    assert len(server.store.lanes(LOCAL, server.store.sessions(LOCAL)[0].session.id)) == 1
    assert server.store.verify() == []


@pytest.mark.parametrize("stream", [False, True])
def test_calls_of_our_tools_never_reach_a_client(
    proxy: str, upstream: StubUpstream, stream: bool
) -> None:
    weather = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    forced = {"type": "function", "function": {"name": "weather"}}
    upstream.answers.append(
        call(("fold_fragment", {"keep_last": 1}), ("weather", {"city": "Oslo"}))
    )
    body = {"model": "m", "messages": [user(LONG)], "tools": [weather], "tool_choice": forced}
    both = ask(proxy, {**body, "stream": stream})
    assert both.status_code == 200
    assert "weather" in both.text
    assert "fold_fragment" not in both.text
    upstream.answers.append(call(("fold_fragment", {"keep_last": 1})))
    none = ask(proxy, {**body, "tool_choice": "none", "stream": stream})
    assert "fold_fragment" not in none.text
    assert '"finish_reason":"stop"' in none.text
