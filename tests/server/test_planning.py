"""What the planner learns of an upstream's tokens, seen in what reaches the upstream."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server.managing import managed
from tests.server.stub_upstream import StubUpstream, say

NOTES = "\n".join(f"Item {number} is {number * 7}." for number in range(2_000))
"""About 12,000 tokens of our counting, in 33,000 bytes."""


@pytest.fixture
def upstream() -> Iterator[StubUpstream]:
    with StubUpstream(answers=[say("Noted."), say("It is 35.")]) as made:
        yield made


@contextmanager
def proxy(upstream: StubUpstream, **changes: Any) -> Iterator[str]:
    """Serve before the upstream while the block runs; gives the address."""
    values: dict[str, Any] = {"port": 0, "store": "memory", "drain_seconds": 1, "admission": "on"}
    url, stop = serve_in_thread(Settings(upstream=upstream.url, **values | changes))
    try:
        yield url
    finally:
        stop()


def talk(url: str, *, told: str = NOTES, model: str = "m", **headers: str) -> list[str]:
    """Ask twice in one conversation and return what became of the tools."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": told},
        {"role": "assistant", "content": "Read."},
        {"role": "user", "content": "Keep it."},
    ]
    became = []
    for question in ("Item 5?", "And 6?"):
        body = {"model": model, "messages": messages}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        became.append(answer.headers["x-context-status"])
        messages.append(answer.json()["choices"][0]["message"])
        messages.append({"role": "user", "content": question})
    return became


def sent(upstream: StubUpstream, **changes: Any) -> list[list[dict[str, Any]]]:
    """Ask twice in one conversation and return the messages that reached the upstream."""
    with proxy(upstream, **changes) as url:
        talk(url)
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


def test_what_one_conversation_teaches_is_for_no_other(upstream: StubUpstream) -> None:
    """Tokens go by the script of a text too: a stranger's must not shorten anybody's views."""
    upstream.answers *= 2
    upstream.bytes_per_token = 1
    with proxy(upstream, window_tokens=20_000) as url:
        talk(url, **{"x-session-id": "dense"})
        upstream.bytes_per_token = 3
        talk(url, told=f"Of others:\n{NOTES}", **{"x-session-id": "other"})
    dense, other = upstream.seen[:2], upstream.seen[2:]
    assert [is_folded(seen.value["messages"]) for seen in dense] == [False, True]
    assert [is_folded(seen.value["messages"]) for seen in other] == [False, False]


def test_tools_nested_deeper_than_a_writer_goes_are_counted_as_they_came(
    upstream: StubUpstream,
) -> None:
    """A reader takes 1,000 levels, and a writer 254: nothing of a client's is written anew."""
    deep = '{"not":' * 400 + "{}" + "}" * 400
    tool = f'{{"type":"function","function":{{"name":"weather","parameters":{deep}}}}}'
    said = orjson.dumps([{"role": "user", "content": NOTES}]).decode()
    body = f'{{"model":"m","messages":{said},"tools":[{tool}]}}'
    with proxy(upstream, admission="auto") as url:
        answer = httpx.post(f"{url}/v1/chat/completions", content=body, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-context-status"] == "tools-on"
    assert deep.encode() in upstream.seen[0].body


def test_what_is_folded_to_fit_a_small_window_keeps_the_tools(upstream: StubUpstream) -> None:
    """The view is below the threshold, and what it hides must be within the model's reach."""
    with proxy(upstream, window_tokens=3_000, admission="auto") as url:
        assert talk(url) == ["tools-on", "tools-on"]
    for seen in upstream.seen:
        assert is_folded(seen.value["messages"])
        assert len(seen.body) < 30_000
        assert "restore_fragment" in str(seen.value["tools"])


def test_a_window_below_the_threshold_decides(upstream: StubUpstream) -> None:
    told = NOTES[:8_000]
    with proxy(upstream, window_tokens=2_000, admission="auto") as url:
        assert talk(url, told=told)[0] == "tools-on"
    upstream.answers = [say("Noted."), say("It is 35.")]
    with proxy(upstream, admission="auto") as url:
        assert talk(url, told=told) == ["passthrough", "passthrough"]


def test_a_short_view_in_which_something_is_hidden_says_so() -> None:
    with managed() as server:
        told = {"role": "user", "content": "Whales are large. " * 300}
        turns = [told, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "So?"}]
        session = server.chat(*turns)
        pieces = server.do(session, kind="fragment")["fragments"]
        server.do(session, kind="fold", fragment_ids=pieces)
        said = server.get(f"/{session}/view")["messages"][-1]
        turns += [said, {"role": "user", "content": "And now?"}]
        body = {"model": "scripted", "messages": turns}
        answer = server.client.post("/v1/chat/completions", json=body)
        assert answer.headers["x-session-id"] == session
        assert answer.headers["x-context-status"] == "view"
