import asyncio
import json
import logging
import socket
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest

from sculptor.evals.runs import client as clients
from sculptor.evals.runs.client import Answer, Billed, ChatClient, RequestFailed, retry_after_s
from sculptor.evals.runs.plan import Endpoint
from tests.evals.mock_upstream import MockUpstream, Reply, say


def ask(upstream: MockUpstream, *, mode: str = "off", **changes: Any) -> Answer:
    async def one() -> Answer:
        endpoint = Endpoint(**{"base_url": upstream.url, **changes})
        async with ChatClient(endpoint, connections=1) as client:
            return await client.chat({"model": "m", "messages": []}, mode=mode)

    return asyncio.run(one())


def test_retry_after_in_seconds_or_as_a_date() -> None:
    assert retry_after_s("3") == 3
    assert retry_after_s("-3") == retry_after_s(None) == retry_after_s("soon") == 0
    assert retry_after_s("1e9") == retry_after_s("inf") == 120
    assert retry_after_s("nan") == 0
    assert 50 < retry_after_s(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert retry_after_s(formatdate(time.time() - 60, usegmt=True)) == 0


def test_headers_and_base_urls() -> None:
    seen: list[Mapping[str, str]] = []

    def answer(body: Any, headers: Mapping[str, str]) -> Reply:
        seen.append({name.lower(): value for name, value in headers.items()})
        return say("x")

    with MockUpstream(answer) as upstream:
        for url in (upstream.url, upstream.url.removesuffix("/v1"), f"{upstream.url}/"):
            ask(upstream, base_url=url, mode="on", key="secret")
    assert {each["x-sculptor"] for each in seen} == {"on"}
    assert {each["authorization"] for each in seen} == {"Bearer secret"}


def test_usage_of_one_call_and_of_several() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 7}}
    several = [
        {"prompt_tokens": 20, "cached_tokens": 5, "completion_tokens": 1, "view_tokens": 18},
        {"prompt_tokens": None, "cached_tokens": None, "completion_tokens": None, "view_tokens": 9},
    ]

    def answer(body: Any, headers: Mapping[str, str]) -> Reply:
        status, names, content = say("x")
        value = json.loads(content)
        if headers["x-sculptor"] == "on":
            value["x_context"] = {"billed": several}
        else:
            value["usage"] |= details
        return status, names, json.dumps(value).encode()

    with MockUpstream(answer) as upstream:
        plain, managed = ask(upstream), ask(upstream, mode="on")
    assert plain.billed == (Billed(input_tokens=10, cached_tokens=7, output_tokens=2),)
    assert managed.billed == (
        Billed(input_tokens=20, cached_tokens=5, output_tokens=1),
        Billed(input_tokens=9, cached_tokens=0, output_tokens=0),
    )


def test_content_in_parts_is_joined_and_null_is_empty() -> None:
    def answer(content: Any) -> Reply:
        return 200, {}, json.dumps({"choices": [{"message": {"content": content}}]}).encode()

    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    for content, text in ((parts, "ab"), (None, "")):
        with MockUpstream(lambda body, headers, given=content: answer(given)) as upstream:
            assert ask(upstream).text == text


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"choices": []}',
        b'{"error": "x"}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}',
        b'{"choices": [{"message": {"content": "a"}}], "usage": [1]}',
        b'{"choices": [{"message": {"content": "a"}}], "x_context": "off"}',
    ],
)
def test_what_is_no_completion_is_refused(body: bytes) -> None:
    with (
        MockUpstream(lambda asked, headers: (200, {}, body)) as upstream,
        pytest.raises(RequestFailed, match="no chat completion"),
    ):
        ask(upstream)


def test_it_gives_up_after_the_last_sending() -> None:
    with (
        MockUpstream(lambda body, headers: (503, {"retry-after": "0.01"}, b"busy")) as upstream,
        pytest.raises(RequestFailed, match="3 times in vain: 503: busy"),
    ):
        ask(upstream, max_retries=2)
    assert len(upstream.bodies) == 3


def test_a_server_out_of_reach_is_told_once_and_again_when_it_answers(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_FIRST_WAIT_S", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    body = {"model": "m", "messages": []}
    endpoint = Endpoint(base_url=f"http://127.0.0.1:{port}/v1", max_retries=12)

    async def wait_for_three() -> list[Answer]:
        told = asyncio.Event()
        monkeypatch.setattr(clients._log, "filters", [lambda record: told.set() is None])
        async with ChatClient(endpoint, connections=3) as client:
            asked = [asyncio.create_task(client.chat(body, mode="off")) for _ in range(3)]
            await told.wait()
            with MockUpstream(lambda body, headers: say("x"), port=port):
                return await asyncio.gather(*asked)

    with caplog.at_level(logging.WARNING, "sculptor.evals"):
        answers = asyncio.run(wait_for_three())
    assert [answer.text for answer in answers] == ["x"] * 3
    assert min(answer.sendings for answer in answers) > 1
    gone, back = [record.message for record in caplog.records]
    assert gone.startswith(f"{endpoint.base_url} cannot be reached (ClientConnectorError: ")
    assert "Trying again in 0.0 s; tries left: 12" in gone
    assert back == f"{endpoint.base_url} can be reached again."


def test_an_answer_that_may_be_tried_again_is_no_sign_of_a_dead_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = [(503, {"retry-after": "0.01"}, b"busy"), say("x")]
    with MockUpstream(lambda body, headers: answers.pop(0)) as upstream:
        assert ask(upstream).sendings == 2
    assert [record for record in caplog.records if record.name == "sculptor.evals"] == []
