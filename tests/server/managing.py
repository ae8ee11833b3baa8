"""A server in a thread with conversations in it, for tests of the management API."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from sculptor.server.app import Server
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from sculptor.store import MemoryStore, SqliteStore, Store

WHALES = "Whale number %d is large and eats krill in the cold sea. "
LONG = "".join(WHALES % n for n in range(200)) + "\n\nThe code is ⟦f12345 folded⟧ or 鲸鱼 🐋."


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """A client of a running server, and the store behind it."""

    client: httpx.Client
    store: Store

    def chat(self, *messages: Any, **headers: str) -> str:
        """Send a chat request, each message an object or its bytes; return the session."""
        listed = b",".join(m if isinstance(m, bytes) else orjson.dumps(m) for m in messages)
        body = b'{"model":"scripted","messages":[' + listed + b"]}"
        answer = self.client.post("/v1/chat/completions", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-session-id"]

    def talk(self, **headers: str) -> str:
        """Make a session with a long first message."""
        return self.chat(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": LONG},
            {"role": "assistant", "content": "Noted."},
            {"role": "user", "content": "Thank you."},
            **headers,
        )

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a route that must work."""
        answer = self.client.get(f"/api/sessions{path}", params=query)
        assert answer.status_code == 200, answer.text
        assert len(answer.headers["x-request-id"]) == 32
        return answer.json()

    def try_to(self, session: str, **body: Any) -> httpx.Response:
        """Ask for an operation."""
        return self.client.post(f"/api/sessions/{session}/operations", json=body)

    def do(self, session: str, **body: Any) -> Any:
        """Do an operation that must work."""
        answer = self.try_to(session, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def managed(
    store: Store | None = None, *, file: Path | None = None, **settings: Any
) -> Iterator[Managed]:
    """Serve while the block runs, from a store, or from the one in a file and its secret."""
    store = store or (MemoryStore() if file is None else SqliteStore(file))
    place = "memory" if file is None else str(file)
    given = {"store": place, "port": 0, "backend": "scripted", **settings}
    made = Settings.model_validate(given)
    url, stop = serve_in_thread(made, server=Server(made, store))
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield Managed(client=client, store=store)
    finally:
        stop()


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the error of an answer that must be one envelope with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert list(answer.json()) == ["error"]
    error: dict[str, Any] = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    return error
