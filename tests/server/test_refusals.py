"""An upstream that takes no tools: the client's own request is answered all the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server.stub_upstream import Seen, StubUpstream, call, prompt_tokens, say

Refusal = tuple[int, str]
VLLM = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
REFUSED = "tools-off; reason=refused"
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "\n".join(f"Item {n} is {n * 7}." for n in range(2_000))},
    {"role": "assistant", "content": "noted"},
    {"role": "user", "content": "go"},
]
OWN = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def names(body: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]


def offers_ours(body: dict[str, Any]) -> bool:
    return "fragment_context" in names(body)


@dataclass
class Choosy(StubUpstream):
    """Refuses what ``refuses`` says, before anything else."""

    refuses: Callable[[dict[str, Any]], Refusal | None] = lambda _: None

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        refusal = self.refuses(orjson.loads(body))
        if refusal is None:
            return await super()._chat(request)
        self.seen.append(Seen(body, dict(request.headers)))
        status, message = refusal
        return web.json_response({"error": {"message": message}}, status=status)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [seen.value for seen in self.seen]


def no_tools(status: int = 400, message: str = VLLM) -> Callable[[Any], Refusal | None]:
    return lambda body: (status, message) if body.get("tools") else None


@pytest.fixture
def upstream() -> Iterator[Choosy]:
    made = Choosy(answers=[say("Done.") for _ in range(4)], refuses=no_tools())
    with made:
        yield made


@contextmanager
def proxy(upstream: Choosy, **changes: Any) -> Iterator[str]:
    values: dict[str, Any] = {
        "port": 0,
        "store": "memory",
        "drain_seconds": 1,
        "max_retries": 0,
        "admission": "auto",
    }
    url, stop = serve_in_thread(Settings(upstream=upstream.url, **values | changes))
    try:
        yield url
    finally:
        stop()


def ask(url: str, messages: list[dict[str, Any]] = TALK, **fields: Any) -> httpx.Response:
    body = {"model": "m", "messages": messages, **fields}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)


def said(response: httpx.Response) -> str:
    """Return the text of a whole answer, streamed or not."""
    assert response.status_code == 200, response.text
    if not response.headers["content-type"].startswith("text/event-stream"):
        return str(response.json()["choices"][0]["message"]["content"])
    lines = frames(response)
    assert lines.pop() == "[DONE]"
    return text_of(lines)


def frames(response: httpx.Response) -> list[str]:
    return [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]


def text_of(lines: list[str]) -> str:
    choices = [choice for line in lines for choice in orjson.loads(line)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@STREAMED
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, VLLM),
        (400, "registry.ollama.ai/library/x does not support tools"),
        (404, "No endpoints found that support tool use"),
        (405, "no"),
        (422, "tools: extra fields not permitted"),
        (501, "tools is not supported"),
        (500, "tools param requires --jinja flag"),
    ],
)
def test_the_clients_request_is_answered_without_our_tools(
    upstream: Choosy, stream: bool, status: int, message: str
) -> None:
    upstream.refuses = no_tools(status, message)
    with proxy(upstream) as url:
        response = ask(url, stream=stream)
    assert said(response) == "Done."
    assert response.headers["x-context-status"] == REFUSED
    assert response.headers["x-session-id"]
    first, second = upstream.bodies
    assert offers_ours(first)
    assert second["messages"] == TALK
    assert not second.keys() & {"tools", "tool_choice"}


@STREAMED
def test_the_conversation_goes_on_and_is_not_asked_twice_each_time(
    upstream: Choosy, stream: bool
) -> None:
    with proxy(upstream) as url:
        first = ask(url, stream=stream)
        longer = [
            *TALK,
            {"role": "assistant", "content": said(first)},
            {"role": "user", "content": "And?"},
        ]
        second = ask(url, longer, stream=stream)
        assert said(second) == "Done."
        assert second.headers["x-context-status"] == REFUSED
        assert second.headers["x-session-id"] == first.headers["x-session-id"]
        assert [offers_ours(body) for body in upstream.bodies] == [True, False, False]
        upstream.refuses = lambda _: None
        other = ask(url, longer, stream=stream, model="another")
        assert other.headers["x-context-status"] == "tools-on", "another model may take them"


@STREAMED
def test_a_refusal_of_the_clients_own_request_is_the_clients(
    upstream: Choosy, stream: bool
) -> None:
    upstream.refuses = lambda body: (400, "ours" if body.get("tools") else "bad temperature")
    with proxy(upstream) as url:
        for _ in range(2):
            response = ask(url, stream=stream, temperature=9)
            assert response.status_code == 400
            assert response.json()["error"]["message"] == "bad temperature"
    assert [offers_ours(body) for body in upstream.bodies] == [True, False] * 2


def test_what_does_not_speak_of_tools_is_not_remembered(upstream: Choosy) -> None:
    upstream.refuses = no_tools(400, "bad request")
    with proxy(upstream) as url:
        assert ask(url).headers["x-context-status"] == REFUSED
        upstream.refuses = lambda _: None
        assert ask(url).headers["x-context-status"] == "tools-on"


def test_other_errors_are_handed_on_at_once(upstream: Choosy) -> None:
    with proxy(upstream) as url:
        for status in (403, 429, 500, 503):
            upstream.refuses = no_tools(status, "out of order")
            assert ask(url).status_code >= 400
    assert all(offers_ours(body) for body in upstream.bodies)
    assert len(upstream.seen) == 4


def test_the_clients_own_tools_stay(upstream: Choosy) -> None:
    upstream.refuses = lambda body: (400, "too many tools") if len(names(body)) > 1 else None
    with proxy(upstream) as url:
        for _ in range(2):
            response = ask(url, tools=[OWN], tool_choice="auto")
            assert said(response) == "Done."
            assert response.headers["x-context-status"] == REFUSED
    assert upstream.bodies[1]["tools"] == [OWN]
    assert upstream.bodies[1]["tool_choice"] == "auto"
    assert [offers_ours(body) for body in upstream.bodies] == [True, False] * 2, "not remembered"


@pytest.mark.parametrize("several", [{}, {"n": 2}], ids=["one", "several"])
def test_definitions_that_stand_there_for_the_cache_alone_are_left_out_too(
    upstream: Choosy, several: dict[str, Any]
) -> None:
    with proxy(upstream) as url:
        response = ask(url, tool_choice="none", **several)
    assert said(response) == "Done."
    assert response.headers["x-context-status"] == REFUSED
    assert [offers_ours(body) for body in upstream.bodies] == [True, False]
    assert upstream.bodies[1] == {"model": "m", "messages": TALK, "tool_choice": "none", **several}


@STREAMED
def test_a_refusal_after_a_call_of_ours(upstream: Choosy, stream: bool) -> None:
    """What our tools said is left out with them, and an upstream that called one does take them."""

    def refuses(body: dict[str, Any]) -> Refusal | None:
        return (400, "no role tool") if body["messages"][-1]["role"] == "tool" else None

    upstream.refuses = refuses
    search = call(("search_context", {"queries": ["item 9"]}))
    upstream.answers = [search, say("Done."), say("Again.")]
    with proxy(upstream) as url:
        response = ask(url, stream=stream)
        assert said(response) == "Done."
        assert response.headers["x-context-status"] == REFUSED
        assert ask(url).headers["x-context-status"] == "tools-on"
    assert upstream.bodies[2]["messages"] == TALK
    assert not offers_ours(upstream.bodies[2])


def test_after_text_was_streamed_an_error_stays_one(upstream: Choosy) -> None:
    upstream.refuses = lambda body: (400, "no") if body["messages"][-1]["role"] == "tool" else None
    search = call(("search_context", {"queries": ["item 9"]}), text="Let me look.")
    upstream.answers = [search, say("Done.")]
    with proxy(upstream) as url:
        response = ask(url, stream=True)
    lines = frames(response)
    assert orjson.loads(lines.pop())["error"]["message"] == "no"
    assert text_of(lines) == "Let me look."
    assert len(upstream.seen) == 2


@STREAMED
def test_no_tools_and_a_small_window(upstream: Choosy, stream: bool) -> None:
    """The tools are refused first, and the view that then is too long is still folded to fit."""
    upstream.window_tokens = 5_000
    with proxy(upstream) as url:
        response = ask(url, stream=stream)
    assert said(response) == "Done."
    assert response.headers["x-context-status"] == REFUSED
    assert "folded" in upstream.bodies[-1]["messages"][0]["content"]
    assert prompt_tokens(upstream.bodies[-1]) <= 5_000
    assert [offers_ours(body) for body in upstream.bodies] == [True, False, False]
