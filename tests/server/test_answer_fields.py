"""What an upstream tells beside its text reaches the client, streamed as well as whole."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server import hostile
from tests.server.hostile import HostileUpstream, Manner

TOP = {"system_fingerprint": "fp_1", "service_tier": "default", "provider": "P"}
CITED = {"citations": ["https://a.example"]}
ROWS = {"content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]}


def ask(manner: Manner, mode: str = "auto", **fields: Any) -> bytes:
    """Ask through a proxy for a stream; return the answer's body."""

    async def main() -> bytes:
        async with HostileUpstream(manner) as upstream:
            url, stop = serve_in_thread(Settings(port=0, store="memory", upstream=upstream.url))
            try:
                async with httpx.AsyncClient(timeout=20) as client:
                    answer = await client.post(
                        f"{url}/v1/chat/completions",
                        headers={"x-sculptor": mode},
                        json={
                            "model": "m",
                            "stream": True,
                            "messages": [{"role": "user", "content": "hi"}],
                            **fields,
                        },
                    )
            finally:
                stop()
            assert answer.status_code == 200, answer.text
            return answer.content

    return asyncio.run(main())


def chunks(body: bytes) -> list[dict[str, Any]]:
    frames = [frame.removeprefix(b"data: ") for frame in body.split(b"\n\n") if frame]
    assert frames.pop() == b"[DONE]"
    return [orjson.loads(frame) for frame in frames]


def deltas(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["choices"][0]["delta"] for one in listed if one["choices"]]


@pytest.mark.parametrize("mode", ["off", "auto", "on"])
def test_fields_of_the_answer_are_in_each_chunk_of_a_stream(mode: str) -> None:
    first = hostile.frame({"role": "assistant", "content": ""}, **TOP)
    text = [hostile.frame({"content": piece}) for piece in "abc"]
    late = b"data: " + orjson.dumps({**hostile.CHUNK, "choices": [], **CITED}) + b"\n\n"
    stop = hostile.frame({}, "stop")
    body = ask(hostile.stream(first, *text, stop, late, hostile.DONE), mode)
    listed = chunks(body)
    assert all(one.items() >= TOP.items() for one in listed)
    assert "".join(delta.get("content") or "" for delta in deltas(listed)) == "abc"
    assert [one.get("citations") for one in listed[:-1]] == [None] * (len(listed) - 1)
    assert listed[-1]["citations"] == CITED["citations"]
    assert listed[-1]["id"] != hostile.CHUNK["id"]


def test_fields_alone_do_not_begin_an_answer() -> None:
    """What fails before the first piece is still a failure with a status of its own."""
    lost = b'data: {"error":{"message":"slow down","code":429}}\n\n'
    with pytest.raises(AssertionError, match="slow down"):
        ask(hostile.stream(hostile.frame({"role": "assistant"}, **TOP), lost))


@pytest.mark.parametrize("mode", ["off", "auto", "on"])
def test_a_whole_answer_to_a_streamed_request_is_streamed_whole(mode: str) -> None:
    message = {
        "content": "Hi",
        "refusal": None,
        "reasoning_content": "think",
        "annotations": [{"type": "url_citation"}],
    }
    value = {**hostile.completion(message), **TOP, **CITED}
    value["choices"][0]["logprobs"] = ROWS
    listed = chunks(ask(hostile.answer(200, value), mode))
    assert all(one.items() >= {**TOP, **CITED}.items() for one in listed)
    told: dict[str, Any] = {}
    for delta in deltas(listed):
        told |= delta
    assert told["reasoning_content"] == "think"
    assert told["annotations"] == [{"type": "url_citation"}]
    assert told["content"] == "Hi"
    rows = [one["choices"][0]["logprobs"] for one in listed if one["choices"]]
    assert [row for row in rows if row] == [ROWS]


def test_a_refusal_that_came_whole_is_streamed() -> None:
    value = hostile.completion({"content": None, "refusal": "I cannot."})
    said = [delta.get("refusal") for delta in deltas(chunks(ask(hostile.answer(200, value))))]
    assert [one for one in said if one] == ["I cannot."]
