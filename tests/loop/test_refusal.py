"""What may be due to our tools is told by status and words, and forgotten in time."""

import pytest

from sculptor.loop.refusal import REMEMBERED_S, ToolRefusals, may_refuse_tools, speaks_of_tools

VLLM = b'"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
TOLD = [
    VLLM,
    b"registry.ollama.ai/library/x does not support tools",
    b"tools is not supported",
    b"Function calling is not enabled for this model",
    b"'tools' is not supported with this model",
    b"tools param requires --jinja flag",
    b"function_call is unknown",
]


@pytest.mark.parametrize("body", TOLD)
def test_servers_own_words_are_understood(body: bytes) -> None:
    assert speaks_of_tools(body)
    assert may_refuse_tools(400, body)
    assert may_refuse_tools(500, body), "llama.cpp"


def test_a_client_error_may_be_due_to_tools_whatever_it_says() -> None:
    assert not speaks_of_tools(b"bad request")
    for status in (400, 404, 405, 422, 501):
        assert may_refuse_tools(status, b"bad request")
    for status in (401, 403, 408, 429, 500, 502, 503):
        assert not may_refuse_tools(status, b"out of order")
    assert not may_refuse_tools(429, VLLM)


def test_a_refusal_is_forgotten_in_time() -> None:
    now = [0.0]
    refusals = ToolRefusals(clock=lambda: now[0])
    assert "lane" not in refusals
    refusals.note("lane")
    now[0] = REMEMBERED_S - 1
    assert "lane" in refusals
    assert "other" not in refusals
    now[0] = REMEMBERED_S
    assert "lane" not in refusals
    refusals.note("lane")
    assert "lane" in refusals


def test_few_are_kept_and_the_newest_are() -> None:
    refusals = ToolRefusals(limit=2)
    for name in ("a", "b", "a", "c"):
        refusals.note(name)
    assert [name in refusals for name in "abc"] == [True, False, True]
    assert len(refusals) == 2
