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
from tests.server.stub_upstream import StubUpstream, call, prompt_tokens, say

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
    first, second = sent(upstream, window_tokens=24_000)
    assert not is_folded(first)
    assert is_folded(second)


def test_reports_that_agree_change_nothing(upstream: StubUpstream) -> None:
    upstream.bytes_per_token = 3
    first, second = sent(upstream, window_tokens=24_000)
    assert not is_folded(first)
    assert not is_folded(second)


def test_an_upstream_that_reports_nothing_teaches_nothing(upstream: StubUpstream) -> None:
    upstream.bytes_per_token, upstream.tells_usage = 1, False
    first, second = sent(upstream, window_tokens=24_000)
    assert not is_folded(first)
    assert not is_folded(second)


def test_what_one_conversation_teaches_is_for_no_other(upstream: StubUpstream) -> None:
    """Tokens go by the script of a text too: a stranger's must not shorten anybody's views."""
    upstream.answers *= 2
    upstream.bytes_per_token = 1
    with proxy(upstream, window_tokens=24_000) as url:
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
    with proxy(upstream, window_tokens=6_000, admission="auto") as url:
        assert talk(url) == ["tools-on", "tools-on"]
    for seen in upstream.seen:
        assert is_folded(seen.value["messages"])
        assert len(seen.body) < 20_000
        assert "restore_fragment" in str(seen.value["tools"])


def test_a_window_below_the_threshold_decides(upstream: StubUpstream) -> None:
    told = NOTES[:8_000]
    with proxy(upstream, window_tokens=4_096, admission="auto") as url:
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


@pytest.mark.parametrize("window", [2_048, 4_096, 8_192])
def test_an_upstream_with_a_small_window_is_never_asked_too_much(
    upstream: StubUpstream, window: int
) -> None:
    """Neither by the view nor by the tools beside it; these stand down where they fill half."""
    upstream.window_tokens, upstream.answers = window, [say(f"Noted {n}.") for n in range(12)]
    messages: list[dict[str, Any]] = []
    became = set()
    with proxy(upstream, window_tokens=window, admission="auto") as url:
        for number in range(12):
            told = f"Part {number}. " + "The harbour was quiet in the morning. " * 45
            messages.append({"role": "user", "content": told})
            body = {"model": "m", "messages": messages, "max_tokens": 200}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
            assert answer.status_code == 200, answer.text
            became.add(answer.headers["x-context-status"])
            messages.append(answer.json()["choices"][0]["message"])
    assert upstream.refused == 0
    assert ("tools-on" in became) == (window >= 4_096)
    assert ("tools-off; reason=window" in became) == (window < 4_096)


@pytest.mark.parametrize("told", [True, False], ids=["told", "a guess"])
def test_what_our_tools_made_too_long_is_answered_without_them(
    upstream: StubUpstream, told: bool
) -> None:
    """Results that no window holds: the request fitted before them, and is answered as it came."""
    search = call(("search_context", {"queries": ["7"], "max_results": 50, "context_size": 300}))
    upstream.answers = [search, search, say("It is 35."), say("It is 35."), say("It is 35.")]
    upstream.window_tokens = 8_192
    content = NOTES[:11_000] + "\n\nItem 5?"
    messages = [{"role": "user", "content": content}]
    with proxy(upstream, window_tokens=8_192 if told else 100_000) as url:
        body = {"model": "m", "messages": messages}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "It is 35."
    assert prompt_tokens(upstream.seen[-1].value) <= 8_192


def test_the_same_calls_over_and_over_end_in_an_answer(upstream: StubUpstream) -> None:
    search = call(("search_context", {"queries": ["item 9"]}))
    upstream.answers = [search, search, search, say("I do not know.")]
    with proxy(upstream) as url:
        body = {"model": "m", "messages": [{"role": "user", "content": NOTES}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
    assert answer.json()["choices"][0]["message"]["content"] == "I do not know."
    assert ["tool_choice" in seen.value for seen in upstream.seen] == [False, False, False, True]


def test_short_requests_teach_too(upstream: StubUpstream) -> None:
    """What passes as it came is reported like any other, and the next may be long."""
    upstream.bytes_per_token = 1
    upstream.answers = [say("Noted.")] * 2
    short = {"role": "user", "content": NOTES[:6_000]}
    with proxy(upstream, window_tokens=30_000, admission="auto") as url:
        messages = [short, {"role": "assistant", "content": "Read."}]
        for said in ("First?", f"{NOTES}"):
            body = {"model": "m", "messages": [*messages, {"role": "user", "content": said}]}
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
            assert answer.status_code == 200
            messages = [*body["messages"], answer.json()["choices"][0]["message"]]
    assert answer.headers["x-context-status"] == "tools-on"
    assert is_folded(upstream.seen[1].value["messages"])
