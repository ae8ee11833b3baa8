"""What a client sends is stored as it came, and goes on with no byte changed but what must be."""

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
from tests.server.stub_upstream import StubUpstream, say

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
