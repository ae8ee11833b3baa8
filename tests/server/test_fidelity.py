"""What a client sends is stored as it came, and goes on with no byte changed but what must be."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.spans import elements, locate
from sculptor.store import SqliteStore
from sculptor.store.records import LOCAL
from tests.server.stub_upstream import StubUpstream, call, say

NUMBERS = rb'"n":18446744073709551617, "x" : 1.50e0'
USER = b'{"role":"user" ,"content":"caf\\u00e9?", %b}' % NUMBERS
CALL = (
    b'{"content":null, "role":"assistant","tool_calls":[{"id":"c1","type":"function",'
    b'"function":{"name":"look","arguments":%b}}], %b}'
)
RESULT = b'{"tool_call_id":"c1", "role":"tool","content":"19\\u00b0", %b}' % NUMBERS


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


def send(proxy: str, *messages: bytes, mode: str = "auto") -> httpx.Response:
    body = b'{"model":"m", "messages" : [%b]}' % b" ,".join(messages)
    headers = {"x-sculptor": mode, "x-session-id": "mine"}
    response = httpx.post(f"{proxy}/v1/chat/completions", content=body, headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    return response


def sent_up(upstream: StubUpstream) -> list[bytes]:
    """Return the bytes of each message of the newest request that reached the upstream."""
    body = upstream.seen[-1].body
    spans = elements(body, locate(body, ("messages",)).start)
    return [body[span.start : span.end] for span in spans]


def stored(settings: Settings) -> set[bytes]:
    store = SqliteStore(settings.store_path)
    assert store.verify() == []
    wires = {
        wire
        for totals in store.sessions(LOCAL)
        for lane in store.lanes(LOCAL, totals.session.id)
        for node in store.path(LOCAL, totals.session.id, lane.node)
        for wire in store.wires(LOCAL, [node.message]).values()
    }
    store.close()
    return wires


@pytest.mark.parametrize("mode", ["off", "auto", "on"])
def test_repairs_go_upstream_and_are_not_stored(
    settings: Settings, upstream: StubUpstream, mode: str
) -> None:
    upstream.answers += [say("done")]
    broken, whole = CALL % (b'""', NUMBERS), CALL % (b'"{ }"', NUMBERS)
    url, stop = serve_in_thread(settings)
    send(url, USER, whole, RESULT, broken, RESULT, USER, mode=mode)
    stop()
    mended = broken.replace(b'""', b'"{}"').replace(b'"c1"', b'"c1_2"')
    moved = RESULT.replace(b'"c1"', b'"c1_2"')
    assert sent_up(upstream) == [USER, whole, RESULT, mended, moved, USER]
    assert stored(settings) >= {USER, whole, RESULT, broken}
    assert stored(settings).isdisjoint({mended, moved})


def test_an_answer_with_empty_arguments_comes_back_as_itself(
    proxy: str, upstream: StubUpstream
) -> None:
    function = {"name": "look", "arguments": ""}
    made = {"id": "c1", "type": "function", "function": function}
    upstream.answers += [lambda _: {"role": "assistant", "tool_calls": [made]}, say("done")]
    first = httpx.post(
        f"{proxy}/v1/chat/completions", content=b'{"model":"m","messages":[%b]}' % USER
    )
    answer = orjson.dumps(first.json()["choices"][0]["message"])
    body = b'{"model":"m","messages":[%b,%b,%b]}' % (USER, answer, RESULT)
    second = httpx.post(f"{proxy}/v1/chat/completions", content=body)
    assert second.headers["x-session-id"] == first.headers["x-session-id"]
    assert orjson.loads(sent_up(upstream)[1])["tool_calls"][0]["function"]["arguments"] == "{}"


ASKED = b'{"role":"user","content":"Name it. ", "x":1.50}'
MORE = b'{"role":"user","content":"And?"}'
FIRST_FORMS = (
    ASKED,
    b'{"role":"user", "content":"Name it."}',
    b'{"role":"user","content":"Name it. ","name":"ann","n":18446744073709551617}',
)
ANSWER_FORMS = (
    b'{"content" : "pi\\u00b2", "role":"assistant"}',
    b'{"role":"assistant","content":"pi\\u00b2 ","reasoning_content":"hm"}',
    b'{"role":"assistant","content":[{"type":"text","text":"pi\\u00b2"}],"annotations":[]}',
)


def exported(proxy: str, session: str, lane: int = 0) -> list[bytes]:
    """Return the bytes of a lane's messages as the export shows them, the lane used last first."""
    body = httpx.get(f"{proxy}/api/sessions/{session}/export").content
    spans = elements(body, locate(body, ("lanes", lane, "messages")).start)
    return [body[span.start : span.end] for span in spans]


def held(settings: Settings) -> set[bytes]:
    """Return all messages that the store's file holds."""
    with sqlite3.connect(settings.store_path or "") as connection:
        wires = {wire for (wire,) in connection.execute("SELECT wire FROM message")}
    connection.close()
    return wires


@pytest.mark.parametrize("restarts", [False, True], ids=["warm", "restarted"])
def test_what_comes_in_other_bytes_is_stored_and_shown(
    settings: Settings, upstream: StubUpstream, restarts: bool
) -> None:
    upstream.answers += [say("pi\u00b2"), *(say(f"no. {n}") for n in range(3))]
    url, stop = serve_in_thread(settings)
    session = send(url, ASKED).headers["x-session-id"]
    history: list[bytes] = []
    for first, answer in zip(FIRST_FORMS, ANSWER_FORMS, strict=True):
        if restarts:
            stop()
            url, stop = serve_in_thread(settings)
        history = [first, answer, MORE]
        assert send(url, *history).headers["x-session-id"] == session
        assert sent_up(upstream) == history
        assert exported(url, session)[:3] == history
    seen = {*FIRST_FORMS, *ANSWER_FORMS, ASKED, MORE}
    stop()
    assert held(settings) >= seen
    store = SqliteStore(settings.store_path)
    assert store.verify() == []
    store.close()


def test_a_branch_shows_its_own_bytes(
    settings: Settings, proxy: str, upstream: StubUpstream
) -> None:
    upstream.answers += [say("pi\u00b2"), say("one"), say("two")]
    session = send(proxy, ASKED).headers["x-session-id"]
    first = [ASKED, ANSWER_FORMS[0], MORE]
    send(proxy, *first)
    second = [FIRST_FORMS[2], ANSWER_FORMS[1], MORE.replace(b"And", b"But")]
    send(proxy, *second)
    assert exported(proxy, session, 0)[:3] == second
    assert exported(proxy, session, 1)[:3] == first


def test_a_retry_with_another_system_text_shows_the_last(
    settings: Settings, upstream: StubUpstream
) -> None:
    upstream.answers += [say("pi\u00b2")] * 2
    systems = [b'{"role":"system","content":"It is %b."}' % day for day in (b"Monday", b"Friday")]
    url, stop = serve_in_thread(settings)
    for system in systems:
        session = send(url, system, ASKED).headers["x-session-id"]
    assert exported(url, session)[:2] == [systems[1], ASKED]
    stop()
    assert held(settings) >= set(systems)


def test_a_view_with_a_fold_is_made_of_the_newest_bytes(proxy: str, upstream: StubUpstream) -> None:
    long = orjson.dumps({"role": "user", "content": "A line of it.\n" * 400})
    fold = call(("fragment_context", {"num_fragments": 2, "fold_except": [-1]}))
    upstream.answers += [say("Read."), fold, say("one"), say("two")]
    read = b'{"role":"assistant","content":"Read."}'
    send(proxy, long)
    send(proxy, long, read, ASKED, mode="on")
    noted = b'{"content":"Read. " , "role":"assistant","tag":1.50}'
    moved = b'{"content":%b , "x":1.50, "role":"user"}' % orjson.dumps("A line of it.\n" * 400)
    last = [b'{"role":"assistant","content":"one"}', MORE]
    send(proxy, moved, noted, ASKED, *last)
    shown = sent_up(upstream)
    assert "folded" in orjson.loads(shown[0])["content"]
    assert shown[0].endswith(b' , "x":1.50, "role":"user"}')
    assert shown[1:4] == [noted, ASKED, last[0]]
