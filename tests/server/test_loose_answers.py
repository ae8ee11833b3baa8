"""Answers that only a loose reader takes reach the client, and are kept as the client saw them."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server import hostile
from tests.server.hostile import HostileUpstream, Manner

ASKED = {"role": "user", "content": "hi"}


def converse(*manners: Manner, **fields: Any) -> list[httpx.Response]:
    """Ask once for each manner, the answers so far in the history of the next."""

    async def main() -> list[httpx.Response]:
        async with HostileUpstream(*manners) as upstream:
            url, stop = serve_in_thread(Settings(port=0, store="memory", upstream=upstream.url))
            answers, history = [], [ASKED]
            try:
                async with httpx.AsyncClient(timeout=20) as client:
                    for _ in manners:
                        body = {"model": "m", "messages": history, **fields}
                        answer = await client.post(f"{url}/v1/chat/completions", json=body)
                        assert answer.status_code == 200, answer.text
                        answers.append(answer)
                        history = [*history, {"role": "assistant", "content": said(answer)}, ASKED]
            finally:
                stop()
            return answers

    return asyncio.run(main())


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    frames = [frame.removeprefix(b"data: ") for frame in answer.content.split(b"\n\n") if frame]
    assert frames.pop() == b"[DONE]"
    return [orjson.loads(frame) for frame in frames]


def said(answer: httpx.Response) -> str:
    if answer.headers["content-type"] == "application/json":
        text: str = orjson.loads(answer.content)["choices"][0]["message"]["content"]
        return text
    deltas = [one["choices"][0]["delta"] for one in chunks(answer)]
    return "".join(delta.get("content") or "" for delta in deltas)


def whole(content: bytes, more: bytes = b"") -> Manner:
    body = (
        b'{"id":"up","created":7,"model":"up","choices":[{"index":0,"message":{"role":"assistant",'
        b'"content":%b},"finish_reason":"stop"}]%b}'
    )
    return hostile.answer(200, body % (content, more))


def streamed(*contents: bytes, more: bytes = b"") -> Manner:
    piece = b'data: {"id":"up","choices":[{"index":0,"delta":{"content":%b}}]%b}\n\n'
    return hostile.stream(*[piece % (each, more) for each in contents], hostile.STOP)


def test_half_a_character_costs_a_whole_answer_nothing_else() -> None:
    answers = converse(whole(rb'"a\ud800b"'), whole(b'"fine"'))
    assert [said(answer) for answer in answers] == ["a\ufffdb", "fine"]
    first, second = (answer.headers["x-session-id"] for answer in answers)
    assert first == second


def test_nan_is_null() -> None:
    (answer,) = converse(whole(b'"x"', b',"scores":[NaN,1e400,-Infinity,0.5]'))
    assert orjson.loads(answer.content)["scores"] == [None, None, None, 0.5]
    assert said(answer) == "x"


def test_halves_in_two_chunks_reach_the_client_as_one_character() -> None:
    manner = streamed(rb'"a\ud83d"', rb'"\ude00b"', more=b',"score":NaN')
    answers = converse(manner, streamed(b'"fine"'), stream=True)
    assert [said(answer) for answer in answers] == ["a😀b", "fine"]
    first, second = (answer.headers["x-session-id"] for answer in answers)
    assert first == second


def test_a_half_alone_ends_no_stream() -> None:
    (answer,) = converse(streamed(rb'"a\ud83d"', b'"b"', rb'"c\ud83d"'), stream=True)
    assert said(answer) == "a\ufffdbc\ufffd"


def test_a_whole_answer_to_a_streamed_request_is_mended_too() -> None:
    (answer,) = converse(whole(rb'"a\ud800b"', b',"score":NaN'), stream=True)
    assert said(answer) == "a\ufffdb"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_so_is_each_of_several_choices(is_streamed: bool) -> None:
    manner = streamed(rb'"a\ud800"') if is_streamed else whole(rb'"a\ud800"')
    (answer,) = converse(manner, n=2, stream=is_streamed)
    assert said(answer) == "a\ufffd"
