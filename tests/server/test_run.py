"""Starting, draining and stopping, with real processes and signals."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sculptor.errors import SettingsError, StoreError, StoreLocked
from sculptor.server.app import Server, server_secret
from sculptor.server.expiry import expire
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.store import LOCAL, SqliteStore
from tests.server.stub_upstream import StubUpstream, say

SCRIPT = """
import sys
from sculptor.server.run import serve
from sculptor.server.settings import Settings
settings = Settings(port=0, store=sys.argv[1], upstream=sys.argv[2], drain_seconds=20)
serve(settings, started=lambda address: print(address, flush=True))
"""


def start(store: Path, upstream: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(store), upstream],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ask(url: str, text: str) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)


def finish(process: subprocess.Popen[str]) -> int:
    code = process.wait(30)
    assert process.stdout is not None
    process.stdout.close()
    return code


def test_a_killed_server_loses_nothing_it_answered(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite3"
    with StubUpstream() as upstream:
        process, url = start(store, upstream.url)
        for number in range(10):
            assert ask(url, f"remark {number}").status_code == 200
        process.kill()
        finish(process)
    kept = SqliteStore(store)
    assert kept.verify() == []
    rows = kept.sessions(LOCAL)
    assert len(rows) == 10
    assert all(row.messages == 2 for row in rows)
    kept.close()


def test_at_the_first_signal_what_runs_may_end(tmp_path: Path) -> None:
    release = threading.Event()

    def slowly(body: dict[str, object]) -> dict[str, object]:
        release.wait(20)
        return say("late")(body)

    with StubUpstream() as upstream:
        upstream.answers.append(slowly)
        process, url = start(tmp_path / "s.sqlite3", upstream.url)
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(ask(url, "wait for it")))
        asking.start()
        while not upstream.seen:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        while httpx.get(f"{url}/readyz").status_code != 503:
            time.sleep(0.01)
        assert ask(url, "me too").status_code == 503
        release.set()
        asking.join(20)
        assert finish(process) in (0, -signal.SIGTERM)
    assert answers[0].status_code == 200
    assert answers[0].json()["choices"][0]["message"]["content"] == "late"


def test_one_server_to_a_store_file(tmp_path: Path) -> None:
    settings = Settings(port=0, store=str(tmp_path / "s.sqlite3"), backend="scripted")
    _, stop = serve_in_thread(settings)
    with pytest.raises(StoreLocked):
        Server(settings)
    stop()
    Server(settings).store.close()
    assert oct((tmp_path / "s.sqlite3").stat().st_mode & 0o777) == "0o600"


def test_servers_made_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "s.sqlite3"), backend="scripted")
    gate = threading.Barrier(8)

    def make(_: int) -> bytes:
        gate.wait()
        return server_secret(settings)

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(make, range(8)))
    (secret,) = tmp_path.iterdir()
    assert len(made) == 1
    assert secret.stat().st_mode & 0o777 == 0o600


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        settings = Settings(port=held.getsockname()[1], store="memory", backend="scripted")
        with pytest.raises(SettingsError, match="cannot be bound"):
            serve_in_thread(settings)


def test_sessions_unused_for_long_are_deleted() -> None:
    with StubUpstream() as upstream:
        server = Server(Settings(port=0, store="memory", upstream=upstream.url))
        url, stop = serve_in_thread(server.settings, server=server)
        ask(url, "hello")
        now = time.time()
        assert expire(server.store, [LOCAL], days=30, now=now) == 0
        assert expire(server.store, [LOCAL], days=30, now=now + 31 * 86_400) == 1
        assert server.store.sessions(LOCAL) == []
        stop()


def test_models_and_health_without_an_upstream() -> None:
    url, stop = serve_in_thread(Settings(port=0, store="memory", backend="scripted"))
    listed = httpx.get(f"{url}/v1/models").json()["data"]
    name = listed[0]["id"]
    assert name.startswith("scripted")
    assert httpx.get(f"{url}/v1/models/{name}").json()["id"] == name
    assert httpx.get(f"{url}/models").status_code == 200
    assert httpx.get(f"{url}/v1/models/nope").status_code == 404
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert httpx.head(url).status_code == 200
    assert "sculptor_requests" in httpx.get(f"{url}/metrics").text
    missing = httpx.get(f"{url}/v1/files")
    assert missing.status_code == 404
    assert "--upstream" in missing.json()["error"]["message"]
    stop()


def test_a_store_that_cannot_be_opened_leaves_no_socket(tmp_path: Path) -> None:
    broken = tmp_path / "s.sqlite3"
    broken.write_bytes(b"This is no database." * 100)
    with pytest.raises(StoreError):
        serve_in_thread(Settings(port=0, store=str(broken), backend="scripted"))
