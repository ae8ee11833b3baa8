"""Bodies that our parser refuses and an upstream may take: they pass as they came."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from sculptor.server.bodies import parse_loosely
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server import hostile
from tests.server.hostile import HostileUpstream

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
LOOSE = {
    "half a character": b'{"model":"m","messages":[{"role":"user","content":"cut \\ud83d"}]}',
    "half a character in a key": b'{"\\ud83d":1,"model":"m",' + MESSAGES + b"}",
    "half a character in the model": b'{"model":"m\\ud83d",' + MESSAGES + b"}",
    "past every range": b'{"model":"m","temperature":1e400,' + MESSAGES + b"}",
    "no number": b'{"model":"m","temperature":NaN,' + MESSAGES + b"}",
    "byte-order mark": b"\xef\xbb\xbf" + b'{"model":"m","tools":[],' + MESSAGES + b"}",
}
WHOLE = hostile.answer(200, hostile.completion({"content": "taken"}))
STREAMED = hostile.TEXT_MANNERS[min(hostile.TEXT_MANNERS)]


def send(folder: Path, body: bytes, *, manner: Any = WHOLE, **settings: Any) -> Any:
    """Send a body through a proxy; return the answer and what the upstream saw."""

    async def main() -> tuple[httpx.Response, list[bytes]]:
        async with HostileUpstream(manner) as upstream:
            made = Settings.model_validate(
                {"port": 0, "store": "memory", "upstream": upstream.url, **settings}
            )
            url, stop = serve_in_thread(made)
            try:
                async with httpx.AsyncClient(timeout=20) as client:
                    answer = await client.post(f"{url}/v1/chat/completions", content=body)
            finally:
                stop()
            return answer, [exchange.body for exchange in upstream.exchanges]

    return asyncio.run(main())


@pytest.mark.parametrize("name", sorted(LOOSE))
def test_a_body_only_a_loose_reader_takes_passes_as_it_came(tmp_path: Path, name: str) -> None:
    answer, seen = send(tmp_path, LOOSE[name])
    assert answer.status_code == 200, answer.text
    assert seen == [LOOSE[name]]
    assert answer.headers["x-context-status"] == "bypassed; reason=json"
    assert answer.json()["choices"][0]["message"]["content"] == "taken"


@pytest.mark.parametrize("name", sorted(LOOSE))
def test_so_does_one_that_asks_for_a_stream(tmp_path: Path, name: str) -> None:
    body = LOOSE[name][:-1] + b',"stream":true}'
    answer, seen = send(tmp_path, body, manner=STREAMED)
    assert seen == [body]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":"\xff"}', b"[NaN]", b"NaN", b"[" * 9_999])
def test_what_no_reader_takes_is_refused(tmp_path: Path, body: bytes) -> None:
    answer, seen = send(tmp_path, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert seen == []


@pytest.mark.parametrize("settings", [{"strict": True}, {"upstream": "", "backend": "scripted"}])
def test_a_strict_server_and_a_model_here_refuse_it(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    answer, _ = send(tmp_path, LOOSE["no number"], **settings)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"


def test_counts_stay_counts() -> None:
    assert parse_loosely(b'{"n":2,"x":NaN}').get("n") == 2  # type: ignore[union-attr]
    assert parse_loosely(b'{"n":' + b"9" * 5_000 + b"}") == {"n": float("inf")}
