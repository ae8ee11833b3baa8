"""A store that takes no writes: the answer goes on, nobody is told otherwise, all see why."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sculptor.server.app import Server
from sculptor.server.health import StoreHealth
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.store import LOCAL, SqliteStore
from tests.server.stub_upstream import Answer, StubUpstream, call, say

LONG = "\n".join(f"line {i}: the value of item {i} is {i * 7}" for i in range(600))
FOLD = call(("fragment_context", {"num_fragments": 60, "fold_except": []}))
NO_LIMIT = 4_294_967_294


class Disk:
    """What a store's file may grow to."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def fill(self) -> None:
        self._limit(1)  # SQLite takes the present size for a limit below it

    def free(self) -> None:
        self._limit(NO_LIMIT)

    def _limit(self, pages: int) -> None:
        def work(cursor: sqlite3.Cursor) -> None:
            cursor.execute(f"PRAGMA max_page_count = {pages}")

        self._store._writer.submit(work).result(10)


class Served:
    """A proxy over a file, and its disk."""

    def __init__(self, url: str, server: Server, upstream: StubUpstream) -> None:
        assert isinstance(server.store, SqliteStore)
        self.url, self.store, self.upstream = url, server.store, upstream
        self.disk = Disk(server.store)

    def ask(self, *texts: str, **fields: Any) -> httpx.Response:
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
        body = {"model": "m", "messages": messages, **fields}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=30)

    def ready(self) -> httpx.Response:
        return httpx.get(f"{self.url}/readyz")


@contextmanager
def served(folder: Path, *answers: Answer, **settings: Any) -> Iterator[Served]:
    with StubUpstream() as upstream:
        upstream.answers += answers
        made = Settings.model_validate(
            {"port": 0, "store": str(folder / "s.sqlite3"), "upstream": upstream.url, **settings}
        )
        server = Server(made)
        url, stop = serve_in_thread(made, server=server)
        try:
            yield Served(url, server, upstream)
        finally:
            stop()


def status(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-context-status"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_that_cannot_be_stored_says_so(tmp_path: Path, stream: bool) -> None:
    with served(tmp_path, FOLD, say("35")) as proxy:
        proxy.disk.fill()
        answer = proxy.ask(LONG, "ok", "Item 5?", stream=stream)
        assert status(answer) == "tools-on; not-stored"
        assert '"stored":false' in answer.text
        assert "35" in answer.text


def test_a_request_that_passes_says_so_too(tmp_path: Path) -> None:
    with served(tmp_path, say("one"), say("two")) as proxy:
        assert status(proxy.ask("Hi")) == "passthrough"
        proxy.disk.fill()
        assert status(proxy.ask("Hi again. " * 500)) == "passthrough; not-stored"


def test_while_writes_fail_requests_pass_as_they_came(tmp_path: Path) -> None:
    with served(tmp_path, say("a"), say("b"), FOLD, say("c")) as proxy:
        proxy.disk.fill()
        assert status(proxy.ask(LONG)) == "tools-on; not-stored"
        assert status(proxy.ask(LONG)) == "bypassed; reason=store"
        assert b"fragment_context" not in proxy.upstream.seen[-1].body
        proxy.disk.free()
        assert status(proxy.ask(LONG, "ok", "Item 5?")) == "tools-on"
        assert proxy.store.verify() == []
        assert [row.operations for row in proxy.store.sessions(LOCAL)] == [1]


def test_a_turn_that_failed_halfway_leaves_a_whole_store(tmp_path: Path) -> None:
    """What came after a lost step would stand on what is missing, so it is not written either."""
    with served(tmp_path) as proxy:

        def filling(body: dict[str, Any]) -> dict[str, Any]:
            proxy.disk.fill()
            return FOLD(body)

        def freeing(body: dict[str, Any]) -> dict[str, Any]:
            proxy.disk.free()
            return call(("restore_fragment", {"fragment_ids": ["all"]}))(body)

        proxy.upstream.answers += [filling, freeing, say("done")]
        assert status(proxy.ask(LONG, "ok", "Item 5?")) == "tools-on; not-stored"
        proxy.upstream.answers.append(say("on we go"))
        assert status(proxy.ask(LONG, "ok", "Item 5?", "done", "And 6?")) == "tools-on"
        assert proxy.store.verify() == []


def test_a_strict_server_answers_only_what_it_can_store(tmp_path: Path) -> None:
    with served(tmp_path, say("kept"), strict=True) as proxy:
        proxy.disk.fill()
        refused = proxy.ask(LONG)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "context_unavailable"
        assert proxy.upstream.seen == []
        proxy.disk.free()
        assert status(proxy.ask(LONG)) == "tools-on"


def test_readiness_follows_the_store(tmp_path: Path) -> None:
    with served(tmp_path, say("a"), say("b")) as proxy:
        assert proxy.ready().json() == {"status": "ready"}
        proxy.disk.fill()
        proxy.ask(LONG)
        unready = proxy.ready()
        assert unready.status_code == 503
        assert unready.json()["status"] == "unready"
        assert "Free space" in unready.json()["reason"]
        proxy.disk.free()
        assert proxy.ready().json() == {"status": "ready"}
        assert proxy.store.sessions(LOCAL) == []


def test_an_operation_that_cannot_be_stored_is_refused_in_words(tmp_path: Path) -> None:
    with served(tmp_path, say("a")) as proxy:
        session = proxy.ask(LONG, "ok", "Item 5?").headers["x-session-id"]
        proxy.disk.fill()
        path = f"{proxy.url}/api/sessions/{session}/operations"
        refused = httpx.post(path, json={"kind": "fragment", "num_fragments": 500, "messages": [0]})
        error = refused.json()["error"]
        assert refused.status_code == 503
        assert error["code"] == "store_unavailable"
        assert "The store cannot be written" in error["message"]
        assert "Free space on its disk" in error["message"]
        assert proxy.ready().status_code == 503


def test_a_healthy_store_is_not_tried(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite3")
    health = StoreHealth(store)
    store.close()
    assert health.check() == ""
    health.failed(sqlite3.OperationalError("disk I/O error"))
    assert "closed" in health.check()
