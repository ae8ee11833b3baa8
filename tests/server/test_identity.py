"""Conversations that read alike word for word: ids that we wrote, and names, tell them apart."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sculptor.server.identity import Identity
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.store import MemoryStore
from sculptor.store.records import Session, SessionId, TenantId
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


KEYS = {"ann": "sk-key-of-ann", "ben": "sk-key-of-ben"}
HELLO = {"role": "user", "content": "Hello."}
LONG_NAME = "run-" * 1_000


def begin(url: str, headers: dict[str, bytes], **fields: Any) -> str:
    """Begin a conversation under a name, with header bytes as they are; return its session."""
    sent = [(name.encode(), value) for name, value in headers.items()]
    body = {"model": "m", "messages": [HELLO], **fields}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=sent, timeout=30)
    assert answer.status_code == 200, answer.text
    return session(answer)


@pytest.mark.parametrize("header", ["x-session-id", "thread-id", "x-some-session-id"])
@pytest.mark.parametrize(
    "names",
    [
        ("会话一".encode(), "会话二".encode()),
        ("ümlaut".encode("latin-1"), "Ümlaut".encode("latin-1")),
        (f"{LONG_NAME}1".encode(), f"{LONG_NAME}2".encode()),
        (b"a\tb", b"a b"),
    ],
    ids=["utf-8", "latin-1", "long", "a tab within"],
)
def test_any_name_keeps_its_conversation(
    proxy: str, upstream: StubUpstream, header: str, names: tuple[bytes, bytes]
) -> None:
    upstream.answers += [say("Hi.")] * 4
    first, second = (begin(proxy, {header: name}) for name in names)
    assert first != second
    said = [HELLO, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "More."}]
    for name, known in zip(names, (first, second), strict=True):
        assert begin(proxy, {header: name}, messages=said) == known


def test_a_name_reads_alike_in_utf8_in_latin1_and_between_spaces(
    proxy: str, upstream: StubUpstream
) -> None:
    upstream.answers += [say("Hi.")] * 4
    spellings = ["ümlaut".encode(), "ümlaut".encode("latin-1"), "\u00a0ümlaut\u3000".encode()]
    assert len({begin(proxy, {"x-session-id": name}) for name in spellings}) == 1
    padded = begin(proxy, {}, session_id=" ümlaut\n")
    assert padded == begin(proxy, {"x-session-id": spellings[0]})


@pytest.mark.parametrize("name", ["my-run", "会话一", "ümlaut", "Ã¼", LONG_NAME, "a|b"])
@pytest.mark.parametrize(
    "field",
    [
        lambda name: {"session_id": name},
        lambda name: {"metadata": {"session_id": name}},
        lambda name: {"metadata": {"conversation_id": name}},
        lambda name: {"metadata": {"user_id": f"user_x_session_{name}"}},
        lambda name: {"metadata": {"user_id": f'{{"session_id": "{name}"}}'}},
    ],
    ids=["session_id", "metadata", "conversation_id", "user_id", "user_id of JSON"],
)
def test_a_name_means_one_session_in_our_header_and_in_a_body_field(
    proxy: str, upstream: StubUpstream, name: str, field: Callable[[str], dict[str, Any]]
) -> None:
    upstream.answers += [say("Hi.")] * 4
    told = begin(proxy, {}, **field(name))
    assert begin(proxy, {"x-session-id": name.encode()}) == told
    assert begin(proxy, {}, **field(name)) == told
    assert begin(proxy, {"thread-id": name.encode()}) != told


@pytest.mark.parametrize("name", ["", "\u2003", "\u3000\u00a0"])
def test_a_name_of_spaces_is_none(proxy: str, upstream: StubUpstream, name: str) -> None:
    upstream.answers += [say("Hi.")] * 3
    found = {begin(proxy, {"x-session-id": name.encode()}) for _ in range(2)}
    found.add(begin(proxy, {}, session_id=name))
    assert len(found) == 3


def test_a_session_that_a_body_field_began_by_its_own_name_stays_known() -> None:
    store, tenant = MemoryStore(), TenantId("ann")
    identity = Identity(store, b"secret")
    before = SessionId(identity.key(tenant, "body.session_id", "diary"))
    store.write([Session(tenant=tenant, id=before, seed=b"", created=1.0, used=1.0)]).result()
    for name, known in (("diary", True), ("other", False)):
        placed = identity.place(tenant, [], headers={}, body={"session_id": name}, now=2.0)
        assert (placed.session.id == before) is known


def test_two_tenants_of_one_name_never_meet(upstream: StubUpstream) -> None:
    settings = Settings(port=0, store="memory", upstream=upstream.url, drain_seconds=1, keys=KEYS)
    upstream.answers += [say("Hi.")] * 16
    url, stop = serve_in_thread(settings)
    try:
        for name in ("会话一", "ümlaut", LONG_NAME):
            mine: dict[str, set[str]] = {}
            for tenant, key in KEYS.items():
                bearer = {"authorization": f"Bearer {key}".encode()}
                mine[tenant] = {
                    begin(url, {**bearer, "x-session-id": name.encode()}),
                    begin(url, bearer, session_id=name),
                }
            hers, his = mine["ann"], mine["ben"]
            assert len(hers) == len(his) == 1
            assert not hers & his
            (stolen,) = hers
            bearer = {"authorization": f"Bearer {KEYS['ben']}".encode()}
            assert begin(url, {**bearer, "x-session-id": stolen.encode()}) != stolen
            assert begin(url, bearer, session_id=stolen) != stolen
    finally:
        stop()
