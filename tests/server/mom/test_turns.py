"""Whole turns through the proxy: its own tools, the client's, follow-ups, the window."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from openai import AsyncOpenAI, OpenAI

from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.template import render_turn
from tests.server.mom.builders import (
    NAME,
    TOKENIZER,
    WINDOW_TOKENS,
    Read,
    Reciter,
    calls,
    endless,
    say,
    text,
)
from tests.server.mom.conftest import Serve

LOG = "\n".join(f"entry {number}: lamp {number % 7} is at {number * 3}" for number in range(300))
CUT = '{"num_fragments":8,"fold_except":[-1]}'
FIND = '{"queries":["lamp 3"],"max_results":2}'
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object"}},
}


def ask(client: OpenAI, messages: list[Any], **fields: Any) -> Any:
    return client.chat.completions.create(model=NAME, messages=messages, **fields)


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_model_works_its_context_and_answers(serve: Serve, stream: bool) -> None:
    turns = (
        calls(("fragment_context", CUT)),
        calls(("search_context", FIND), ("pin_fragment", '{"fragment_ids":["f00000"]}')),
        text("Lamp 3 is at 891."),
    )
    runtime = Reciter(say(*turns))
    client = serve(runtime, admission="on")
    body = {"model": NAME, "messages": [user(LOG + "\nWhere is lamp 3?")], "stream": stream}
    response = httpx.post(f"{client.base_url}chat/completions", json=body, timeout=30)
    assert response.headers["x-context-status"] == "tools-on"
    for name in ("fragment_context", "search_context", "pin_fragment"):
        assert name not in response.text
    if stream:
        frames = [frame.removeprefix("data: ") for frame in response.text.split("\n\n")[:-2]]
        chunks = [orjson.loads(frame) for frame in frames]
        said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
        told = chunks[-1]["x_context"]
    else:
        said = response.json()["choices"][0]["message"]["content"]
        told = response.json()["x_context"]
    assert said == "Lamp 3 is at 891."
    assert told["steps"] == 2
    assert told["view_tokens"] < told["original_tokens"] / 2
    assert len(told["billed"]) == 3
    sent = [row["prompt_tokens"] for row in told["billed"]]
    assert sent[1] < sent[0] * 2 / 3
    kept = told["billed"][2]["cached_tokens"]
    assert kept > sent[1], "the second step goes on from where the first one ended"


FREE = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": FREE}}


@pytest.mark.parametrize("fields", [{}, {"response_format": FORM}], ids=["text", "form"])
def test_what_would_repeat_itself_to_the_limit_ends_soon(
    serve: Serve, fields: dict[str, Any]
) -> None:
    begun = '{"why":"' if fields else ""
    whole = begun + "step by " * 2_000
    runtime = Reciter(say(text(whole)))
    client = serve(runtime)
    answer = ask(client, [user("Why?")], max_tokens=1_500, **fields)
    (choice,) = answer.choices
    assert choice.finish_reason == "length"
    assert len(choice.message.content) > 200
    assert whole.startswith(choice.message.content)
    assert answer.usage.completion_tokens < 200
    assert runtime.steps < 200
    said, reasons = "", []
    for chunk in ask(client, [user("Why?")], max_tokens=1_500, stream=True, **fields):
        said += chunk.choices[0].delta.content or ""
        reasons.append(chunk.choices[0].finish_reason)
    assert (said, reasons[-1]) == (choice.message.content, "length")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_small_limit_binds_the_answer_and_not_the_work_on_the_context(
    serve: Serve, stream: bool
) -> None:
    turns = (calls(("fragment_context", CUT)), text("Lamp 3 is at 891, and so on and so forth."))
    client = serve(Reciter(say(*turns)), admission="on")
    asked = {"max_tokens": 8, "stream": stream}
    answer = ask(client, [user(LOG + "\nWhere is lamp 3?")], **asked)
    if stream:
        chunks = list(answer)
        told = chunks[-1].model_extra["x_context"]
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        told, (choice,) = answer.model_extra["x_context"], answer.choices
        said, reason = choice.message.content, choice.finish_reason
    assert told["steps"] == 1
    assert told["view_tokens"] < told["original_tokens"] / 2
    assert (said, reason) == (TOKENIZER.decode(TOKENIZER.encode(turns[1]["content"])[:8]), "length")


def test_this_model_is_offered_its_tools_sooner_than_an_upstreams(serve: Serve) -> None:
    """By default, and as the settings say where they say anything."""
    short, long = LOG[: len(LOG) // 6], LOG[: len(LOG) // 3]

    def became(client: OpenAI) -> list[str]:
        asked = client.chat.completions.with_raw_response
        answers = [asked.create(model=NAME, messages=[user(told)]) for told in (short, long)]
        return [answer.headers["x-context-status"] for answer in answers]

    runtime = Reciter(say(text("Noted.")))
    assert became(serve(runtime)) == ["passthrough", "tools-on"]
    assert became(serve(runtime, admission_tokens=4096)) == ["passthrough", "passthrough"]
    assert became(serve(runtime, admission_tokens=100)) == ["tools-on", "tools-on"]


class Caller(Reciter):
    """Writes its reply where it may call, and says that it does not know where it may not."""

    def _logits(self, state: Read) -> np.ndarray:
        logits = super()._logits(state)
        written = state.seen[::-1].index(Protocol.ASSISTANT) if 20 in logits else 0
        begun = state.seen[len(state.seen) - written :]
        if begun == UNKNOWN[:written]:
            logits[UNKNOWN[written]] = 10 if written == 0 else 30
        return logits


UNKNOWN = render_turn(text("I do not know."), tokenizer=TOKENIZER)


def test_a_hidden_call_that_repeats_itself_leaves_the_client_an_answer(serve: Serve) -> None:
    endless_call = calls(("search_context", orjson.dumps({"queries": ["lamp, " * 2_000]}).decode()))
    runtime = Caller(say(endless_call))
    answer = ask(serve(runtime, admission="on"), [user(LOG + "\nWhere is lamp 3?")])
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("I do not know.", "stop")
    assert answer.model_extra["x_context"]["steps"] == 0


def test_a_call_that_repeats_itself_ends_cut(serve: Serve) -> None:
    whole = orjson.dumps({"city": "a, " * 2_000}).decode()
    runtime = Reciter(say(calls(("weather", whole))))
    answer = ask(serve(runtime), [user("Oslo?")], tools=[WEATHER], max_tokens=1_500)
    (choice,) = answer.choices
    assert choice.finish_reason == "length"
    assert whole.startswith(choice.message.tool_calls[0].function.arguments)
    assert answer.usage.completion_tokens < 200


def test_summaries_are_extracts_and_no_call_of_the_model(serve: Serve) -> None:
    summarize = '{"fragment_ids":["all"],"focus":"lamp 3"}'
    turns = (calls(("fragment_context", CUT)), calls(("summarize_fragment", summarize)))
    runtime = Reciter(say(*turns, text("Done.")))
    client = serve(runtime, admission="on")
    answer = ask(client, [user(LOG + "\nWhere is lamp 3?")])
    told = answer.model_extra["x_context"]
    assert answer.choices[0].message.content == "Done."
    assert (told["steps"], len(told["billed"])) == (2, 3)
    assert told["view_tokens"] < told["original_tokens"]


def test_calls_of_the_client_come_in_pieces(serve: Serve) -> None:
    arguments = '{"place":"Bergen","days":[1,2,3]}'
    turn = calls(("weather", arguments), ("weather", '{"place":"Oslo"}'))
    client = serve(Reciter(say(turn, text("Rain."))))
    chunks = list(ask(client, [user("Rain?")], tools=[WEATHER], stream=True))
    pieces = [
        piece
        for chunk in chunks
        for choice in chunk.choices
        for piece in choice.delta.tool_calls or ()
    ]
    assert len([piece for piece in pieces if piece.index == 0]) > 3
    joined = "".join(piece.function.arguments or "" for piece in pieces if piece.index == 0)
    assert joined == arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    messages: list[Any] = [user("Rain?"), {**turn, "tool_calls": []}]
    for number, call in enumerate(turn["tool_calls"]):
        messages[1]["tool_calls"].append({"id": f"c{number}", "type": "function", **call})
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": "wet"})
    answer = ask(client, messages, tools=[WEATHER])
    assert answer.choices[0].message.content == "Rain."


def test_a_follow_up_reads_only_what_is_new(serve: Serve) -> None:
    runtime = Reciter(say(text("Noted.")))
    client = serve(runtime)
    messages = [user("The seventh lamp is green. " * 40)]
    first = ask(client, messages).usage
    before = runtime.read_tokens
    messages += [text("Noted."), user("And the eighth?")]
    second = ask(client, messages).usage
    assert second.prompt_tokens_details.cached_tokens > first.prompt_tokens
    new = second.prompt_tokens - second.prompt_tokens_details.cached_tokens
    assert runtime.read_tokens - before == new < 20


def test_nobody_goes_on_from_the_turns_of_another_key(serve: Serve) -> None:
    client = serve(Reciter(say(text("Yes."))), keys={"a": "sk-of-a", "b": "sk-of-b"})
    cached = {}
    for key in ("sk-of-a", "sk-of-b", "sk-of-a"):
        usage = ask(client.with_options(api_key=key), [user("The same words.")]).usage
        cached[key] = usage.prompt_tokens_details.cached_tokens
        assert cached.get("sk-of-b", 0) == 0
    assert cached["sk-of-a"] > 0


def test_a_view_longer_than_the_window_is_folded_and_never_cut(serve: Serve) -> None:
    client = serve(Reciter(say(text("Yes."))))
    long = [user(f"part {number}: {LOG}") for number in range(3)]
    messages = [m for part in long for m in (part, text("Noted."))] + [user("All read?")]
    answer = client.chat.completions.with_raw_response.create(model=NAME, messages=messages)
    view = httpx.get(
        f"{str(client.base_url).removesuffix('/v1/')}/api/sessions/"
        f"{answer.headers['x-session-id']}/view"
    ).json()
    usage = answer.parse().usage
    assert usage is not None
    assert usage.prompt_tokens < WINDOW_TOKENS
    assert view["tokens"] < view["original_tokens"] * 2 / 3
    assert len(view["messages"]) == len(messages) + 1
    assert view["messages"][-2]["content"] == "All read?"


def test_a_smaller_window_of_the_settings_is_declared_and_kept(serve: Serve) -> None:
    client = serve(Reciter(say(text("Yes."))), window_tokens=2_048)
    (model,) = client.models.list().data
    assert model.model_extra is not None
    assert model.model_extra["context_window"] == 4_096
    usage = ask(client, [user(LOG), text("Noted."), user("Read?")]).usage
    assert usage.prompt_tokens < 4_096


def idles(runtime: Reciter) -> bool:
    """Whether the engine does nothing any more, within some seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        before = runtime.steps
        time.sleep(0.05)
        if runtime.steps == before:
            return True
    return False


def leave_stream(url: str) -> None:
    with OpenAI(base_url=url, api_key="none") as client:
        stream = ask(client, [user("Go on.")], stream=True, max_tokens=10**5)
        for _, _ in zip(range(5), stream, strict=False):
            pass
        stream.close()


def leave_whole(url: str) -> None:
    async def main() -> None:
        async with AsyncOpenAI(base_url=url, api_key="none", timeout=0.5, max_retries=0) as client:
            with pytest.raises(Exception, match="timed out"):
                await client.chat.completions.create(
                    model=NAME,
                    messages=[{"role": "user", "content": "Go on."}],
                    max_tokens=10**5,
                )

    asyncio.run(main())


@pytest.mark.parametrize("leave", [leave_stream, leave_whole])
def test_a_client_that_leaves_frees_its_place(serve: Serve, leave: Callable[[str], None]) -> None:
    runtime = Reciter(endless)
    client = serve(runtime)
    for _ in range(2):
        leave(str(client.base_url))
    assert runtime.steps > 0
    assert idles(runtime)
    runtime.reply = say(text("Here."))
    assert ask(client, [user("Still there?")]).choices[0].message.content == "Here."


def test_many_are_answered_together(serve: Serve) -> None:
    def echo(prompt: Any) -> list[int]:
        return [token for token in prompt if token >= 128][-3:]

    client = serve(Reciter(echo))

    async def main() -> list[str | None]:
        url = str(client.base_url)
        async with AsyncOpenAI(base_url=url, api_key="none") as many:
            asked = [
                many.chat.completions.create(
                    model=NAME, messages=[{"role": "user", "content": f"say {n}{n + 1}{n + 2}"}]
                )
                for n in range(7)
            ]
            return [done.choices[0].message.content for done in await asyncio.gather(*asked)]

    assert asyncio.run(main()) == [f"{n}{n + 1}{n + 2}" for n in range(7)]


class Gated(Reciter):
    """Writes three tokens, then waits until it is let on."""

    def __init__(self) -> None:
        super().__init__(say(text("One, two, three, four, five, six.")))
        self.gate = threading.Event()

    def step(self, tokens: Any, states: Any) -> Any:
        if self.steps == 3:
            assert self.gate.wait(30)
        return super().step(tokens, states)


def test_pieces_come_as_they_are_written_and_the_loop_is_free(serve: Serve) -> None:
    runtime = Gated()
    client = serve(runtime)
    pieces = []
    for chunk in ask(client, [user("Count.")], stream=True):
        piece = chunk.choices[0].delta.content
        if piece and not pieces:
            assert not runtime.gate.is_set()
            health = httpx.get(str(client.base_url).replace("/v1/", "/healthz"), timeout=20)
            assert health.status_code == 200
            runtime.gate.set()
        pieces += [piece] if piece else []
    assert len(pieces) > 2
    assert "".join(pieces) == "One, two, three, four, five, six."


class Broken(Reciter):
    def step(self, tokens: Any, states: Any) -> Any:
        raise MemoryError("no room")


def test_a_failure_of_the_engine_is_told_and_the_server_lives(serve: Serve) -> None:
    client = serve(Broken(say(text("Never said."))))
    body = {"model": NAME, "messages": [user("Go on.")]}
    for stream in (False, True):
        response = httpx.post(
            f"{client.base_url}chat/completions", json={**body, "stream": stream}, timeout=30
        )
        told = response.text.split("data: ")[-1] if stream else response.text
        error = orjson.loads(told)["error"]
        assert error["code"] == "internal_error"
        assert error["message"] == "The model failed: no room."
        assert "[DONE]" not in response.text
