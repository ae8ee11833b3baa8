"""The whole proxy in front of a hostile upstream: repaired as specified, or a clear error."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.store import LOCAL, SqliteStore
from tests.server import hostile
from tests.server.hostile import HostileUpstream, Manner

LONG = "\n".join(f"line {i}: the value of item {i} is {i * 7}" for i in range(600))
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MANAGED = {"model": "m", "messages": [{"role": "user", "content": LONG + "\nItem 5?"}]}


@contextmanager
def proxy(upstream: HostileUpstream, folder: Path, **settings: Any) -> Iterator[str]:
    defaults = {
        "port": 0,
        "store": str(folder / "s.sqlite3"),
        "upstream": upstream.url,
        "drain_seconds": 0,
        "max_retries": 0,
        "first_byte_timeout": 1,
        "idle_timeout": 1,
    }
    url, stop = serve_in_thread(Settings.model_validate(defaults | settings))
    try:
        yield url
    finally:
        stop()


async def ask(
    url: str, body: dict[str, Any], *, stream: bool = False, **headers: str
) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(
            f"{url}/v1/chat/completions", json=body | {"stream": stream}, headers=headers
        )


def run(
    folder: Path,
    *script: Manner,
    body: dict[str, Any] = BODY,
    stream: bool = False,
    **settings: Any,
) -> tuple[httpx.Response, list[bytes]]:
    """Send one request through a proxy to a hostile upstream, and return what came of it."""

    async def main() -> tuple[httpx.Response, list[bytes]]:
        async with HostileUpstream(*script) as upstream:
            with proxy(upstream, folder, **settings) as url:
                response = await ask(url, body, stream=stream)
            return response, [exchange.body for exchange in upstream.exchanges]

    result = asyncio.run(main())
    store = SqliteStore(folder / "s.sqlite3")
    try:
        assert store.verify() == []
        assert kept_messages(store) >= {orjson.dumps(message) for message in body["messages"]}
    finally:
        store.close()
    return result


def kept_messages(store: SqliteStore) -> set[bytes]:
    """Return every client message that the store holds, parsed and written anew."""
    kept: set[bytes] = set()
    for row in store.sessions(LOCAL):
        for lane in store.lanes(LOCAL, row.session.id):
            for node in store.path(LOCAL, row.session.id, lane.node):
                names = [node.message, *(name for _, name in node.instructions)]
                wires = store.wires(LOCAL, names).values()
                kept |= {orjson.dumps(orjson.loads(wire)) for wire in wires}
    return kept


def frames(response: httpx.Response) -> list[Any]:
    lines = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    return ["[DONE]" if line == "[DONE]" else orjson.loads(line) for line in lines]


@pytest.mark.parametrize("body", [BODY, MANAGED], ids=["plain", "managed"])
@pytest.mark.parametrize("name", sorted(hostile.TEXT_MANNERS))
def test_odd_streams_of_text_arrive_whole(tmp_path: Path, name: str, body: dict[str, Any]) -> None:
    response, _ = run(tmp_path, hostile.TEXT_MANNERS[name], body=body, stream=True)
    seen = frames(response)
    assert seen[-1] == "[DONE]"
    assert seen.count("[DONE]") == 1
    choices = [choice for chunk in seen[:-1] for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert text == hostile.TEXT_SAID
    assert len({(c["id"], c["created"], c["model"]) for c in seen[:-1]}) == 1
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert all("usage" not in chunk for chunk in seen[:-1])


@pytest.mark.parametrize("name", sorted(hostile.TOOL_MANNERS))
def test_odd_streams_of_tool_calls_are_repaired(tmp_path: Path, name: str) -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {}}}
        for _, name, _ in hostile.TWO_CALLS
    ]
    body = {**MANAGED, "tools": tools}
    response, _ = run(tmp_path, hostile.TOOL_MANNERS[name], body=body, stream=True)
    calls: dict[int, list[str]] = {}
    names: dict[int, str] = {}
    for chunk in frames(response)[:-1]:
        for choice in chunk["choices"]:
            for item in choice["delta"].get("tool_calls", []):
                calls.setdefault(item["index"], []).append(item["function"].get("arguments", ""))
                if "name" in item["function"]:
                    assert item["index"] not in names
                    assert item["id"]
                    names[item["index"]] = item["function"]["name"]
    made = [(names[i], orjson.loads("".join(calls[i]) or "{}")) for i in sorted(calls)]
    assert made == [(name, orjson.loads(text)) for _, name, text in hostile.TWO_CALLS]
    assert frames(response)[-2]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("body", [BODY, MANAGED], ids=["plain", "managed"])
@pytest.mark.parametrize("name", sorted(hostile.BROKEN_STREAMS))
def test_a_broken_stream_ends_in_an_error_and_no_done(
    tmp_path: Path, name: str, body: dict[str, Any]
) -> None:
    response, _ = run(tmp_path, hostile.BROKEN_STREAMS[name], body=body, stream=True)
    if response.status_code == 200:
        seen = frames(response)
        assert "[DONE]" not in seen
        assert seen[-1]["error"]["type"] in ("upstream_error", "timeout_error", "server_error")
    else:
        assert response.status_code in (502, 504)
        assert response.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", sorted(hostile.BAD_ANSWERS))
def test_a_bad_answer_is_a_clear_error(tmp_path: Path, name: str, stream: bool) -> None:
    response, _ = run(tmp_path, hostile.BAD_ANSWERS[name], stream=stream)
    assert response.status_code >= 500
    error = response.json()["error"]
    assert error["message"]
    assert error["type"] in ("upstream_error", "timeout_error", "server_error")
    assert response.headers["x-request-id"]


def test_an_upstream_s_complaint_about_the_request_keeps_its_words(tmp_path: Path) -> None:
    told = {"message": "bad temperature", "type": "invalid_request_error", "param": "temperature"}
    response, _ = run(tmp_path, hostile.answer(400, {"error": {**told, "code": "x"}}))
    assert response.status_code == 400
    assert response.json()["error"] == {**told, "code": "x"}


def test_an_upstream_s_key_trouble_is_not_the_client_s(tmp_path: Path) -> None:
    response, _ = run(tmp_path, hostile.answer(401, {"error": {"message": "bad sk-abcdefghijkl"}}))
    assert response.status_code == 502
    assert "sk-abcdefghijkl" not in response.text


def test_a_context_too_long_for_the_upstream_is_folded_and_tried_again(tmp_path: Path) -> None:
    message = "This model's maximum context length is 3000 tokens. However, you sent more."
    told = {"error": {"message": message, "code": "context_length_exceeded"}}
    long = {
        "model": "m",
        "messages": [
            {"role": "user", "content": LONG},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": "Item 5?"},
        ],
    }
    response, bodies = run(
        tmp_path, hostile.answer(400, told), hostile.well_behaved("35"), body=long
    )
    assert response.status_code == 200, response.text
    assert len(bodies[1]) < len(bodies[0]) / 2
    assert "folded" in orjson.loads(bodies[1])["messages"][0]["content"]


def test_a_view_longer_than_the_window_is_folded_first(tmp_path: Path) -> None:
    long = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": LONG},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": "Item 5?"},
        ],
    }
    response, bodies = run(
        tmp_path, hostile.well_behaved("35"), body=long, window_tokens=4000, admission="auto"
    )
    assert response.status_code == 200
    sent = orjson.loads(bodies[0])["messages"]
    assert [m["role"] for m in sent] == [m["role"] for m in long["messages"]]
    assert sent[0] == long["messages"][0]
    assert "folded" in sent[1]["content"]


PHASES: dict[str, tuple[Manner, bool]] = {
    "waiting for the head": (hostile.hang_before_head, True),
    "streaming": (hostile.hang_mid_stream, True),
    "not streamed": (hostile.hang_before_head, False),
}


@pytest.mark.parametrize("body", [BODY, MANAGED], ids=["plain", "managed"])
@pytest.mark.parametrize("phase", sorted(PHASES))
def test_a_client_that_leaves_takes_the_upstream_call_with_it(
    tmp_path: Path, phase: str, body: dict[str, Any]
) -> None:
    manner, stream = PHASES[phase]

    async def main() -> None:
        async with HostileUpstream(manner) as upstream:
            with proxy(upstream, tmp_path, first_byte_timeout=60, idle_timeout=60) as url:
                task = asyncio.create_task(ask(url, body, stream=stream))
                await asyncio.wait_for(upstream.asked.wait(), 10)
                await asyncio.sleep(0.4)
                task.cancel()
                await asyncio.wait_for(upstream.exchanges[0].dropped.wait(), 5)

    asyncio.run(main())


def test_a_client_that_leaves_loses_nothing_of_what_it_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with HostileUpstream(hostile.hang_before_head, hostile.well_behaved()) as upstream:
            with proxy(upstream, tmp_path, first_byte_timeout=60) as url:
                task = asyncio.create_task(ask(url, BODY))
                await asyncio.wait_for(upstream.asked.wait(), 10)
                await asyncio.sleep(0.3)
                task.cancel()
                await asyncio.wait_for(upstream.exchanges[0].dropped.wait(), 5)
                again = await ask(url, BODY)
                assert again.status_code == 200

    asyncio.run(main())
    store = SqliteStore(tmp_path / "s.sqlite3")
    assert store.verify() == []
    store.close()


def test_a_body_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with HostileUpstream(hostile.well_behaved()) as upstream:
            with proxy(upstream, tmp_path, body_limit_bytes=100_000) as url:
                big = {"model": "m", "messages": [{"role": "user", "content": "x" * 200_000}]}
                refused = await ask(url, big)
                assert refused.status_code == 413
                assert (await ask(url, BODY)).status_code == 200

    asyncio.run(main())
