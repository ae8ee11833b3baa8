"""Conversations that read alike word for word: ids that we wrote tell them apart."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server.stub_upstream import StubUpstream, call, say

LONG = "\n".join(f"line {i}: the value of item {i} is {i * 7}" for i in range(600))
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {}}}
FOLD = call(("fragment_context", {"num_fragments": 8, "fold_except": [-1]}))
ASK_WEATHER = call(("weather", {"city": "Oslo"}))
NAMED = {"x-session-id": "mine"}
Message = dict[str, Any]


@pytest.fixture
def upstream() -> Iterator[StubUpstream]:
    with StubUpstream() as made:
        yield made


@pytest.fixture
def proxy(upstream: StubUpstream) -> Iterator[str]:
    settings = Settings(port=0, store="memory", upstream=upstream.url, drain_seconds=1)
    url, stop = serve_in_thread(settings)
    yield url
    stop()


def ask(
    proxy: str, messages: list[Message], headers: dict[str, str], **fields: str
) -> httpx.Response:
    body = {"model": "m", "messages": messages, "tools": [WEATHER], **fields}
    response = httpx.post(f"{proxy}/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    return response


def until_the_call(proxy: str, headers: dict[str, str]) -> tuple[list[Message], httpx.Response]:
    """Begin the one conversation; return it with the model's call and the tool's result."""
    start = [{"role": "user", "content": LONG}]
    response = ask(proxy, start, headers)
    answer = response.json()["choices"][0]["message"]
    (made,) = answer["tool_calls"]
    called = {"role": "assistant", "content": None, "tool_calls": [made]}
    result = {"role": "tool", "tool_call_id": made["id"], "content": "-3"}
    return [*start, called, result], response


@pytest.mark.parametrize("headers", [{}, NAMED], ids=["two sessions", "two branches of one"])
def test_an_id_we_wrote_beats_a_longer_match_elsewhere(
    proxy: str, upstream: StubUpstream, headers: dict[str, str]
) -> None:
    upstream.answers += [FOLD, ASK_WEATHER, say("Cold."), FOLD, ASK_WEATHER, say("Cold.")]
    first, _ = until_the_call(proxy, headers)
    ask(proxy, first, headers)
    second, begun = until_the_call(proxy, headers)
    last = ask(proxy, second, headers)
    assert last.headers["x-session-id"] == begun.headers["x-session-id"]
    assert last.headers["x-context-status"] == "tools-on"
    sent = upstream.seen[-1].value["messages"]
    assert sent[-2]["tool_calls"][0]["id"] == second[1]["tool_calls"][0]["id"]
    assert sent[-1]["tool_call_id"] == second[2]["tool_call_id"]


def test_a_branch_from_a_folded_place_keeps_the_tools(proxy: str, upstream: StubUpstream) -> None:
    upstream.answers += [FOLD, say("ok"), say("one"), say("two")]
    start = [{"role": "user", "content": LONG}]
    ask(proxy, start, NAMED)
    start.append({"role": "assistant", "content": "ok"})
    for question in ("question A", "question B"):
        response = ask(proxy, [*start, {"role": "user", "content": question}], NAMED)
        assert response.headers["x-context-status"] == "tools-on"
        assert "folded" in str(upstream.seen[-1].value["messages"][0]["content"])


def alike(
    proxy: str, upstream: StubUpstream, *keys: str
) -> tuple[list[Message], list[httpx.Response]]:
    """Have as many people as keys begin alike and be answered alike; return what all of them see.

    An empty key is none.
    """
    start: list[Message] = [{"role": "user", "content": LONG}]
    begun = []
    for key in keys:
        upstream.answers += [FOLD, say("Cut.")]
        begun.append(ask(proxy, start, {}, **_keyed(key)))
    return [*start, {"role": "assistant", "content": "Cut."}], begun


def go_on(proxy: str, history: list[Message], text: str, key: str = "") -> httpx.Response:
    return ask(proxy, [*history, {"role": "user", "content": text}], {}, **_keyed(key))


def session(response: httpx.Response) -> str:
    return response.headers["x-session-id"]


def _keyed(key: str) -> dict[str, str]:
    return {"prompt_cache_key": key} if key else {}


@pytest.mark.parametrize("key", ["", "one key for all"])
def test_two_people_answered_alike_never_meet(proxy: str, upstream: StubUpstream, key: str) -> None:
    history, begun = alike(proxy, upstream, key, key)
    upstream.answers += [say("one"), say("two"), say("three")]
    ann = go_on(proxy, history, "I am Ann.", key)
    bob = go_on(proxy, history, "I am Bob.", key)
    assert len({session(each) for each in (*begun, ann, bob)}) == 4
    assert upstream.seen[-1].value["messages"][0]["content"] == LONG
    said = [{"role": "user", "content": "I am Bob."}, {"role": "assistant", "content": "two"}]
    again = go_on(proxy, [*history, *said], "Who am I?", key)
    assert session(again) == session(bob)


def test_nor_where_the_second_says_what_the_first_said(proxy: str, upstream: StubUpstream) -> None:
    history, begun = alike(proxy, upstream, "")
    upstream.answers.append(say("one"))
    assert session(go_on(proxy, history, "Go on.")) == session(begun[0])
    _, late = alike(proxy, upstream, "")
    upstream.answers.append(say("another"))
    assert session(go_on(proxy, history, "Go on.")) not in {session(begun[0]), session(late[0])}


def test_a_cache_key_tells_those_apart_who_read_alike(proxy: str, upstream: StubUpstream) -> None:
    history, begun = alike(proxy, upstream, "ann", "bob", "")
    for key, first in (("bob", begun[1]), ("ann", begun[0])):
        upstream.answers.append(say(f"Hello {key}."))
        assert session(go_on(proxy, history, f"I am {key}.", key)) == session(first)
        assert "folded" in upstream.seen[-1].value["messages"][0]["content"]


def test_a_new_try_stays_in_its_session(proxy: str, upstream: StubUpstream) -> None:
    history, begun = alike(proxy, upstream, "")
    upstream.answers += [say("one"), say("one"), say("two")]
    tries = [session(go_on(proxy, history, "Go on.")) for _ in range(3)]
    assert tries == [session(begun[0])] * 3
