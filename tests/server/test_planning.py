"""What the planner learns of an upstream's tokens, seen in what reaches the upstream."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server.stub_upstream import StubUpstream, say

NOTES = "\n".join(f"Item {number} is {number * 7}." for number in range(2_000))
"""About 12,000 tokens of our counting, in 33,000 bytes."""


@pytest.fixture
def upstream() -> Iterator[StubUpstream]:
    with StubUpstream(answers=[say("Noted."), say("It is 35.")]) as made:
        yield made


def sent(upstream: StubUpstream, *, model: str = "m", **changes: Any) -> list[list[dict[str, Any]]]:
    """Ask twice in one conversation and return the messages that reached the upstream."""
    values: dict[str, Any] = {"port": 0, "store": "memory", "drain_seconds": 1, "admission": "on"}
    settings = Settings(upstream=upstream.url, **values | changes)
    url, stop = serve_in_thread(settings)
    try:
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": NOTES},
            {"role": "assistant", "content": "Read."},
            {"role": "user", "content": "Keep it."},
        ]
        for question in ("Item 5?", "And 6?"):
            body = {"model": model, "messages": messages}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
            assert answer.status_code == 200, answer.text
            messages.append(answer.json()["choices"][0]["message"])
            messages.append({"role": "user", "content": question})
    finally:
        stop()
    return [seen.value["messages"] for seen in upstream.seen]


def is_folded(messages: list[dict[str, Any]]) -> bool:
    return "folded" in str(messages[0]["content"])


def test_a_model_whose_tokens_are_smaller_is_given_less(upstream: StubUpstream) -> None:
    upstream.bytes_per_token = 1
    first, second = sent(upstream, window_tokens=20_000)
    assert not is_folded(first)
    assert is_folded(second)


def test_reports_that_agree_change_nothing(upstream: StubUpstream) -> None:
    upstream.bytes_per_token = 3
    first, second = sent(upstream, window_tokens=20_000)
    assert not is_folded(first)
    assert not is_folded(second)


def test_an_upstream_that_reports_nothing_teaches_nothing(upstream: StubUpstream) -> None:
    upstream.bytes_per_token, upstream.tells_usage = 1, False
    first, second = sent(upstream, window_tokens=20_000)
    assert not is_folded(first)
    assert not is_folded(second)
