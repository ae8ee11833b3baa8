"""A wrapped client before an upstream that takes no tools: the program is answered all the same."""

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from sculptor import wrap

from .stub import Body, Stub, call, said, serving

FILLER = "The committee met again and adjourned without a vote on the matter. "
LONG: list[Any] = [
    {"role": "user", "content": "port: 8080\n" + FILLER * 400},
    {"role": "assistant", "content": "Noted."},
    {"role": "user", "content": "Which port?"},
]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}
ANSWER = said("It is 8080.")
OLLAMA = "registry.ollama.ai/library/x does not support tools"
REFUSED = "tools-off; reason=refused"

Told = tuple[str, dict[str, Any]]
"""The text and ``x_context`` of an answer."""


def refusing(message: str = OLLAMA, status: int = 400) -> Callable[[Body], Any]:
    """Refuse whatever holds tools of ours, and answer the rest."""

    def reply(body: Body) -> Any:
        ours = "fragment_context" in str(body.get("tools"))
        return (status, {"error": {"message": message}}) if ours else ANSWER

    return reply


def offered(stub: Stub) -> list[bool]:
    return ["fragment_context" in stub.tools(at) for at in range(len(stub.bodies))]


def blocking(url: str, *bodies: Body) -> list[Told]:
    """Send requests through one wrapped client that blocks."""
    with wrap(OpenAI(base_url=url, api_key="k", max_retries=0)) as client:
        answers = []
        for body in bodies:
            made: Any = client.chat.completions.create(**body)
            answers.append(read(list(made) if body.get("stream") else [made]))
        return answers


def awaiting(url: str, *bodies: Body) -> list[Told]:
    """The same through one that awaits."""

    async def main() -> list[Told]:
        async with wrap(AsyncOpenAI(base_url=url, api_key="k", max_retries=0)) as client:
            answers = []
            for body in bodies:
                made: Any = await client.chat.completions.create(**body)
                answers.append(read([c async for c in made] if body.get("stream") else [made]))
            return answers

    return asyncio.run(main())


def read(pieces: list[Any]) -> Told:
    text = ""
    told: dict[str, Any] = {}
    for piece in pieces:
        told = (piece.model_extra or {}).get("x_context") or told
        for choice in piece.choices:
            said_here = choice.message if hasattr(choice, "message") else choice.delta
            text += getattr(said_here, "content", None) or ""
    return text, told


def body_of(messages: list[Any] = LONG, **fields: Any) -> Body:
    return {"model": "gpt-4o", "messages": messages, **fields}


CLIENTS = pytest.mark.parametrize("ask", [blocking, awaiting])
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@CLIENTS
@STREAMED
@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_the_program_is_answered_without_our_tools(ask: Any, stream: bool, status: int) -> None:
    with serving(refusing(status=status)) as stub:
        ((text, told),) = ask(stub.url, body_of(stream=stream))
    assert text == "It is 8080."
    assert told["status"] == REFUSED
    assert offered(stub) == [True, False]
    assert stub.bodies[1] == body_of(stream=stream)


@CLIENTS
def test_the_conversation_goes_on_and_is_not_asked_twice_each_time(ask: Any) -> None:
    longer = [
        *LONG,
        {"role": "assistant", "content": "It is 8080."},
        {"role": "user", "content": "Sure?"},
    ]
    with serving(refusing()) as stub:
        answers = ask(stub.url, body_of(), body_of(longer), body_of(longer, model="gpt-4"))
    assert [told["status"] for _, told in answers] == [REFUSED] * 3
    assert offered(stub) == [True, False, False, True, False]


@CLIENTS
@STREAMED
def test_a_refusal_of_the_programs_own_request_is_the_programs(ask: Any, stream: bool) -> None:
    def reply(body: Body) -> Any:
        word = "ours" if body.get("tools") else "bad temperature"
        return 400, {"error": {"message": word}}

    with serving(reply) as stub, pytest.raises(openai.BadRequestError, match="bad temperature"):
        ask(stub.url, body_of(stream=stream, temperature=9))
    assert offered(stub) == [True, False]


@CLIENTS
def test_the_programs_own_tools_stay(ask: Any) -> None:
    with serving(refusing("too many tools")) as stub:
        answers = ask(stub.url, *[body_of(tools=[WEATHER], tool_choice="auto")] * 2)
    assert [text for text, _ in answers] == ["It is 8080."] * 2
    assert stub.bodies[1]["tools"] == [WEATHER]
    assert stub.bodies[1]["tool_choice"] == "auto"
    assert offered(stub) == [True, False, True, False], "not remembered"


@CLIENTS
@STREAMED
@pytest.mark.parametrize("preamble", [None, "Let me look."])
def test_a_refusal_after_a_call_of_ours(ask: Any, stream: bool, preamble: str | None) -> None:
    """Whatever was not shown yet is left out; what was streamed stays, and the error with it."""

    def reply(body: Body) -> Any:
        if not body.get("tools"):
            return ANSWER
        if body["messages"][-1]["role"] == "tool":
            return 400, {"error": {"message": "no role tool"}}
        return said(preamble, call("search_context", queries=["port"]))

    with serving(reply) as stub:
        if stream and preamble:
            with pytest.raises(openai.BadRequestError, match="no role tool"):
                ask(stub.url, body_of(stream=stream))
            return
        ((text, told),) = ask(stub.url, body_of(stream=stream))
    assert text == "It is 8080."
    assert told["status"] == REFUSED
    assert offered(stub) == [True, True, False]
    assert stub.bodies[2]["messages"] == LONG


@CLIENTS
def test_no_tools_and_a_small_window(ask: Any) -> None:
    """The tools are refused first, and the view that then is too long is still folded to fit."""
    complaint = {
        "message": "This model's maximum context length is 3000 tokens.",
        "code": "context_length_exceeded",
    }

    def reply(body: Body) -> Any:
        if body.get("tools"):
            return 400, {"error": {"message": OLLAMA}}
        if "folded" not in body["messages"][0]["content"]:
            return 400, {"error": complaint}
        return ANSWER

    with serving(reply) as stub:
        ((text, told),) = ask(stub.url, body_of())
    assert text == "It is 8080."
    assert told["status"] == REFUSED
    assert offered(stub) == [True, False, False]
