"""Which conversation a request belongs to: headers, ids, chains, lanes, branches, tenants."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.store import SqliteStore
from tests.server.stub_upstream import StubUpstream, call, say

LONG = "\n".join(f"line {i}: the value of item {i} is {i * 7}" for i in range(600))
KEYS = {"ann": "sk-key-of-ann", "ben": "sk-key-of-ben"}


@pytest.fixture
def upstream() -> Iterator[StubUpstream]:
    with StubUpstream() as made:
        yield made


@pytest.fixture
def settings(upstream: StubUpstream, tmp_path: Path) -> Settings:
    return Settings(
        port=0, store=str(tmp_path / "s.sqlite3"), upstream=upstream.url, drain_seconds=1
    )


@pytest.fixture
def proxy(settings: Settings) -> Iterator[str]:
    url, stop = serve_in_thread(settings)
    yield url
    stop()


def ask(proxy: str, messages: list[Any], /, key: str = "k", **extra: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", **extra.pop("headers", {})}
    body = {"model": "m", "messages": messages, **extra}
    response = httpx.post(f"{proxy}/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    return response


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


FOLD = call(("fragment_context", {"num_fragments": 8, "fold_except": [-1]}))


def is_folded(upstream: StubUpstream) -> bool:
    return any("folded" in str(m["content"]) for m in upstream.seen[-1].value["messages"])


def session(response: httpx.Response) -> str:
    return response.headers["x-session-id"]


def test_a_restart_loses_nothing(settings: Settings, upstream: StubUpstream) -> None:
    upstream.answers += [FOLD, say("35"), say("still")]
    url, stop = serve_in_thread(settings)
    first = ask(url, [user(LONG), bot("ok"), user("item 5?")])
    stop()
    url, stop = serve_in_thread(settings)
    second = ask(url, [user(LONG), bot("ok"), user("item 5?"), bot("35"), user("sure?")])
    stop()
    assert session(first) == session(second)
    assert is_folded(upstream)
    store = SqliteStore(settings.store_path)
    assert store.verify() == []
    store.close()


def test_white_space_a_client_strips_does_not_lose_the_session(
    proxy: str, upstream: StubUpstream
) -> None:
    upstream.answers += [say("  hello\n"), say("b")]
    first = ask(proxy, [user("hi")])
    second = ask(proxy, [user("hi"), bot("hello"), user("more")])
    assert session(first) == session(second)


def test_a_retry_is_a_branch_and_leaves_the_other_alone(proxy: str, upstream: StubUpstream) -> None:
    upstream.answers += [say("ok"), FOLD, say("one"), FOLD, say("two"), say("end")]
    start = [user(LONG), bot("ok")]
    base = ask(proxy, start[:1])
    first = ask(proxy, [*start, user("question A")])
    second = ask(proxy, [*start, user("question B")])
    assert session(base) == session(first) == session(second)
    third = ask(proxy, [*start, user("question A"), bot("one"), user("and?")])
    assert session(third) == session(first)
    assert is_folded(upstream)


def test_a_header_names_the_session_even_where_nothing_matches(
    proxy: str, upstream: StubUpstream
) -> None:
    upstream.answers += [say("ok"), FOLD, say("x"), say("y")]
    named = {"x-session-affinity": "abc"}
    history = [user(LONG), bot("ok"), user("first question, a long one"), bot("fine")]
    first = ask(proxy, history[:1], headers=named)
    ask(proxy, [*history, user("q")], headers=named)
    rewritten = [*history[2:], user("q"), bot("x"), user("again")]
    second = ask(proxy, rewritten, headers=named)
    assert session(first) == session(second)
    other = ask(proxy, rewritten, headers={"x-session-affinity": "abd"})
    assert session(other) != session(first)


def test_a_client_that_drops_its_oldest_messages_keeps_its_folds(
    proxy: str, upstream: StubUpstream
) -> None:
    named = {"x-session-id": "mine"}
    upstream.answers += [say("a1"), FOLD, say("a2"), say("a3")]
    history = [user("an early remark"), bot("a1"), user(LONG), bot("kept"), user("item 5?")]
    ask(proxy, history[:1], headers=named)
    ask(proxy, history, headers=named)
    ask(proxy, [*history[2:], bot("a2"), user("and now?")], headers=named)
    assert is_folded(upstream)


def test_ids_we_wrote_identify_alone(proxy: str, upstream: StubUpstream) -> None:
    weather = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    upstream.answers += [FOLD, call(("weather", {"city": "Oslo"})), say("cold")]
    first = ask(proxy, [user(LONG), bot("ok"), user("weather?")], tools=[weather])
    made = first.json()["choices"][0]["message"]
    compacted = [
        user("a summary that the client wrote itself"),
        {"role": "assistant", "content": None, "tool_calls": made["tool_calls"]},
        {"role": "tool", "tool_call_id": made["tool_calls"][0]["id"], "content": "-3"},
    ]
    second = ask(proxy, compacted, tools=[weather])
    assert session(second) == session(first)


def test_a_cache_key_alone_is_not_believed(proxy: str, upstream: StubUpstream) -> None:
    first = ask(proxy, [user("hi there")], prompt_cache_key="app")
    second = ask(proxy, [user("something else")], prompt_cache_key="app")
    assert session(first) != session(second)


def test_one_person_is_not_one_conversation(proxy: str) -> None:
    first = ask(proxy, [user("hi there")], user="u1", safety_identifier="u1")
    second = ask(proxy, [user("something else")], user="u1", safety_identifier="u1")
    assert session(first) != session(second)


@pytest.fixture
def tenants(settings: Settings) -> Iterator[str]:
    values = settings.model_dump() | {"keys": KEYS}
    url, stop = serve_in_thread(Settings.model_validate(values))
    yield url
    stop()


def test_two_tenants_never_meet(tenants: str, upstream: StubUpstream) -> None:
    upstream.answers += [FOLD, say("35"), say("35"), say("x")]
    messages = [user(LONG), bot("ok"), user("item 5?")]
    named = {"x-session-id": "same"}
    ann = ask(tenants, messages, key=KEYS["ann"], headers=named)
    ben = ask(tenants, messages, key=KEYS["ben"], headers=named)
    assert session(ann) != session(ben)
    assert not is_folded(upstream)
    going_on = [*messages, bot("35"), user("sure?")]
    stolen = ask(tenants, going_on, key=KEYS["ben"], headers={"x-session-id": session(ann)})
    assert session(stolen) != session(ann)
    assert not is_folded(upstream)


def test_a_wrong_key_is_refused(tenants: str) -> None:
    for headers in (
        {},
        {"authorization": "Bearer nope"},
        {"authorization": f"Bearer {KEYS['ann']}", "x-api-key": KEYS["ben"]},
    ):
        response = httpx.post(
            f"{tenants}/v1/chat/completions",
            json={"messages": [user("x")]},
            headers=headers,
        )
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"


def test_originals_are_stored_byte_for_byte(
    proxy: str, settings: Settings, upstream: StubUpstream
) -> None:
    body = b'{"model":"m","messages":[ {"role":"user", "x":1.0, "content":"\\u00e9\xe2\x9f\xa6"} ]}'
    response = httpx.post(f"{proxy}/v1/chat/completions", content=body)
    assert response.status_code == 200
    reader = settings.store_path
    assert reader is not None
    with sqlite3.connect(reader) as connection:
        wires = [bytes(row[0]) for row in connection.execute("SELECT wire FROM message")]
    connection.close()
    assert b'{"role":"user", "x":1.0, "content":"\\u00e9\xe2\x9f\xa6"}' in wires


def test_instructions_may_change_every_request(proxy: str, upstream: StubUpstream) -> None:
    upstream.answers += [FOLD, say("35"), say("x")]

    def dated(day: int) -> dict[str, Any]:
        return {"role": "system", "content": f"Today is day {day}."}

    first = ask(proxy, [dated(1), user(LONG), bot("ok"), user("item 5?")])
    second = ask(
        proxy, [dated(2), user(LONG), bot("ok"), user("item 5?"), bot("35"), user("sure?")]
    )
    assert session(first) == session(second)
    assert upstream.seen[-1].value["messages"][0] == dated(2)
    assert is_folded(upstream)
