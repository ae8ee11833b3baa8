"""A wrapped client: same surface, the loop between, and only the final answer seen."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from sculptor import wrap
from sculptor.errors import SettingsError, UpstreamBroken
from sculptor.loop import Budget
from sculptor.sdk.embedding import ClientEmbedder
from sculptor.tools import toolset

from .stub import Body, Stub, call, said, serving, whole

FILLER = "The committee met again and adjourned without a vote on the matter. "
LONG: list[Any] = [
    {"role": "user", "content": "port: 8080\n" + FILLER * 400},
    {"role": "assistant", "content": "Noted."},
    {"role": "user", "content": "Which port?"},
]
SHORT: list[Any] = [{"role": "user", "content": "Hello."}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}
FOLD = call("fragment_context", num_fragments=4, fold_except=[])
SEARCH = call("search_context", queries=["port"])
ANSWER = said("It is 8080.")
MADE: list[OpenAI] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close the clients that a test made."""
    yield
    while MADE:
        MADE.pop().close()


def plain(stub: Stub) -> OpenAI:
    MADE.append(OpenAI(base_url=stub.url, api_key="k", max_retries=0))
    return MADE[-1]


def blocking(stub: Stub, **options: Any) -> OpenAI:
    return wrap(plain(stub), **options)


def awaiting(stub: Stub, **options: Any) -> AsyncOpenAI:
    return wrap(AsyncOpenAI(base_url=stub.url, api_key="k", max_retries=0), **options)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


# Answers


def test_a_client_is_wrapped_as_what_it_is() -> None:
    client = OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k")
    wrapped = wrap(client)
    assert isinstance(wrapped, OpenAI)
    assert wrapped is not client
    assert wrapped.base_url == client.base_url
    assert type(client.chat.completions).create is not type(wrapped.chat.completions).create
    assert isinstance(wrap(AsyncOpenAI(api_key="k")), AsyncOpenAI)
    client.close()


def test_another_thing_is_refused_with_words() -> None:
    with pytest.raises(SettingsError, match="takes an OpenAI or AsyncOpenAI client, not dict"):
        wrap({})  # type: ignore[type-var]
    with OpenAI(api_key="k") as client, pytest.raises(SettingsError, match="off, auto or on"):
        wrap(client, sculptor="sometimes")  # type: ignore[arg-type]


def test_the_client_sees_only_the_final_answer() -> None:
    with serving(said("Let me tidy.", FOLD), said(None, SEARCH), ANSWER) as stub:
        answer = blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG)
    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message.content == "Let me tidy.\n\nIt is 8080."
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.id, answer.model, answer.system_fingerprint) == ("up-1", "up-model", "fp_1")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 50
    assert answer.usage.completion_tokens == 21
    told: Any = answer.model_extra
    assert told["x_context"]["steps"] == 2
    assert len(told["x_context"]["billed"]) == 3
    assert told["x_context"]["view_tokens"] < told["x_context"]["original_tokens"] / 4
    assert len(stub.bodies[1]["messages"][0]["content"]) < 1_000


def test_a_streamed_answer_has_the_same_content_in_typed_chunks() -> None:
    with serving(said("Let me tidy.", FOLD), ANSWER) as stub:
        stream = blocking(stub).chat.completions.create(
            model="gpt-4o", messages=LONG, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert text_of(chunks) == "Let me tidy.\n\nIt is 8080."
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 14
    assert all(body["stream_options"] == {"include_usage": True} for body in stub.bodies)


def test_usage_not_asked_for_is_not_sent() -> None:
    with serving(ANSWER) as stub:
        chunks = list(
            blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG, stream=True)
        )
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_the_clients_stream_helper_runs_through_the_loop() -> None:
    with serving(said("Let me tidy.", FOLD), ANSWER) as stub:
        helper = blocking(stub).chat.completions.stream(model="gpt-4o", messages=LONG)
        with helper as stream:
            final = stream.get_final_completion()
    assert final.choices[0].message.content == "Let me tidy.\n\nIt is 8080."
    assert len(stub.bodies) == 2


def test_a_client_that_awaits_gets_the_same() -> None:
    async def main() -> None:
        client = awaiting(stub)
        answer = await client.chat.completions.create(model="gpt-4o", messages=LONG)
        assert answer.choices[0].message.content == "Let me tidy.\n\nIt is 8080."
        stream = await client.chat.completions.create(model="gpt-4o", messages=LONG, stream=True)
        chunks = [chunk async for chunk in stream]
        assert text_of(chunks) == "Let me tidy.\n\nIt is 8080."
        async with client.chat.completions.stream(model="gpt-4o", messages=LONG) as helper:
            final = await helper.get_final_completion()
        assert final.choices[0].message.content == "Let me tidy.\n\nIt is 8080."
        await client.close()

    tidy = said("Let me tidy.", FOLD)
    with serving(tidy, ANSWER, tidy, ANSWER, tidy, ANSWER) as stub:
        asyncio.run(main())
    assert len(stub.bodies) == 6


# Admission


def test_below_the_threshold_a_request_goes_out_as_it_was_made() -> None:
    with serving(ANSWER) as stub:
        blocking(stub).chat.completions.create(model="gpt-4o", messages=SHORT, temperature=0.5)
        plain(stub).chat.completions.create(model="gpt-4o", messages=SHORT, temperature=0.5)
    assert stub.bodies[0] == stub.bodies[1]


def test_on_offers_the_tools_at_once_and_off_never() -> None:
    with serving(ANSWER) as stub:
        blocking(stub, sculptor="on").chat.completions.create(model="gpt-4o", messages=SHORT)
        assert stub.tools() == list(toolset("full").tools)
        blocking(stub, sculptor="off").chat.completions.create(model="gpt-4o", messages=LONG)
        assert stub.tools() == []


def test_one_call_may_say_otherwise() -> None:
    with serving(ANSWER) as stub:
        create: Any = blocking(stub).chat.completions.create
        create(model="gpt-4o", messages=SHORT, sculptor="on")
        assert stub.tools()
        create(model="gpt-4o", messages=LONG, extra_headers={"X-Sculptor": "off", "x-own": "1"})
        assert not stub.tools()
        assert stub.headers[-1]["x-own"] == "1"
        assert "x-sculptor" not in stub.headers[-1]
        with pytest.raises(SettingsError, match="must be off, auto or on"):
            create(model="gpt-4o", messages=SHORT, sculptor="loud")


def test_a_conversation_that_was_offered_the_tools_keeps_them() -> None:
    with serving(said(None, FOLD), ANSWER) as stub:
        client = blocking(stub)
        first = client.chat.completions.create(model="gpt-4o", messages=LONG)
        follow = [*LONG, first.choices[0].message, {"role": "user", "content": "Sure?"}]
        client.chat.completions.create(model="gpt-4o", messages=follow)
    assert len(stub.bodies) == 3
    shown = stub.bodies[2]
    assert "folded" in shown["messages"][0]["content"]
    assert [m["role"] for m in shown["messages"]] == ["user", "assistant"] * 2 + ["user"]
    assert stub.bodies[2]["tools"] == stub.bodies[0]["tools"]


def test_a_retry_goes_on_from_its_own_place() -> None:
    with serving(said(None, FOLD), ANSWER) as stub:
        client = blocking(stub)
        client.chat.completions.create(model="gpt-4o", messages=LONG)
        client.chat.completions.create(model="gpt-4o", messages=LONG)
    assert stub.bodies[2]["messages"][0] == LONG[0]


def test_two_conversations_that_begin_alike_do_not_meet() -> None:
    other = [*LONG[:2], {"role": "user", "content": "Another question?"}]
    with serving(said(None, FOLD), ANSWER) as stub:
        client = blocking(stub)
        client.chat.completions.create(model="gpt-4o", messages=LONG)
        client.chat.completions.create(model="gpt-4o", messages=other)
    assert stub.bodies[2]["messages"] == other


def test_options_of_one_call_keep_the_conversation() -> None:
    with serving(said(None, FOLD), ANSWER) as stub:
        client = blocking(stub)
        first = client.chat.completions.create(model="gpt-4o", messages=LONG)
        follow = [*LONG, first.choices[0].message, {"role": "user", "content": "Sure?"}]
        client.with_options(timeout=9.0).chat.completions.create(model="gpt-4o", messages=follow)
    assert "folded" in stub.bodies[2]["messages"][0]["content"]


# Client tools


@pytest.mark.parametrize("stream", [False, True])
def test_internal_and_client_calls_are_split_and_joined_again(stream: bool) -> None:
    mixed = said("Wait.", SEARCH, call("get_weather", "up_w", city="Rome"), FOLD)
    with serving(mixed, ANSWER) as stub:
        client = blocking(stub)
        options: Any = {"model": "gpt-4o", "tools": [WEATHER], "stream": stream}
        first = client.chat.completions.create(messages=LONG, **options)
        message = joined(list(first)) if stream else first.choices[0].message.model_dump()
        (made,) = message["tool_calls"]
        assert made["function"]["name"] == "get_weather"
        assert made["function"]["arguments"] == '{"city":"Rome"}'
        found = {"role": "tool", "tool_call_id": made["id"], "content": "sunny"}
        client.chat.completions.create(messages=[*LONG, message, found], **options)
    assert stub.tools(0) == ["get_weather", *toolset("full").tools]
    sent = stub.bodies[1]["messages"]
    assert [m["role"] for m in sent[3:]] == ["assistant", "tool", "tool", "tool"]
    names = [item["function"]["name"] for item in sent[3]["tool_calls"]]
    assert names == ["search_context", "get_weather", "fragment_context"]
    ids = {item["id"] for item in sent[3]["tool_calls"]}
    assert {m["tool_call_id"] for m in sent[4:]} == ids
    assert "folded" in sent[0]["content"]


def test_steps_of_an_open_turn_are_shown_and_left_out_afterwards() -> None:
    weather = said(None, call("get_weather", city="Rome"))
    with serving(said(None, SEARCH), weather, ANSWER) as stub:
        client = blocking(stub)
        options: Any = {"model": "gpt-4o", "tools": [WEATHER]}
        system = {"role": "system", "content": "Be brief."}
        first = client.chat.completions.create(messages=LONG, **options).choices[0].message
        assert first.tool_calls is not None
        found = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "sunny"}
        client.chat.completions.create(messages=[system, *LONG, first, found], **options)
        more = [*LONG, first, found, {"role": "user", "content": "Thanks."}]
        client.chat.completions.create(messages=more, **options)
    roles = [[m["role"] for m in body["messages"]] for body in stub.bodies]
    assert roles[2][4:] == ["assistant", "tool", "assistant", "tool"]
    assert stub.bodies[2]["messages"][4]["tool_calls"][0]["function"]["name"] == "search_context"
    assert roles[3][3:] == ["assistant", "tool", "user"]


def joined(chunks: list[ChatCompletionChunk]) -> Body:
    """Put a streamed answer together, as a strict client does."""
    calls: list[Body] = []
    for chunk in chunks:
        for delta in chunk.choices[0].delta.tool_calls or ():
            assert delta.function is not None
            if delta.id is not None:
                assert delta.index == len(calls)
                function = {"name": delta.function.name, "arguments": ""}
                calls.append({"id": delta.id, "type": "function", "function": function})
            calls[delta.index]["function"]["arguments"] += delta.function.arguments or ""
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    return {"role": "assistant", "content": text_of(chunks), "tool_calls": calls}


# Standing down


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"tool_choice": "required"},
        {"tools": [{"type": "function", "function": {"name": "undo", "parameters": {}}}]},
        {"functions": [{"name": "look", "parameters": {}}]},
        {"extra_body": {"tools": [WEATHER]}},
    ],
)
def test_what_the_loop_cannot_honour_goes_out_without_our_tools(fields: Body) -> None:
    with serving(ANSWER) as stub:
        answer = blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG, **fields)
    assert "search_context" not in stub.tools()
    assert len(answer.choices) == fields.get("n", 1)
    assert stub.bodies[0]["messages"] == LONG
    told: Any = answer.model_extra
    assert told["x_context"]["status"].startswith("tools-off; reason=")


def test_a_stood_down_request_still_shows_the_view() -> None:
    with serving(said(None, FOLD), ANSWER) as stub:
        client = blocking(stub)
        first = client.chat.completions.create(model="gpt-4o", messages=LONG)
        follow = [*LONG, first.choices[0].message, {"role": "user", "content": "Twice?"}]
        answer = client.chat.completions.create(model="gpt-4o", messages=follow, n=2)
    assert "folded" in stub.bodies[2]["messages"][0]["content"]
    assert not stub.tools(2)
    assert len(answer.choices) == 2


def test_a_forced_client_tool_is_forwarded_and_our_definitions_stay() -> None:
    forced: Any = {"type": "function", "function": {"name": "get_weather"}}
    made = said(None, call("get_weather", city="Rome"))
    with serving(made) as stub:
        answer = blocking(stub).chat.completions.create(
            model="gpt-4o", messages=LONG, tools=[WEATHER], tool_choice=forced
        )
    assert stub.bodies[0]["tool_choice"] == forced
    assert stub.tools() == ["get_weather", *toolset("full").tools]
    assert answer.choices[0].message.tool_calls


def test_a_list_the_loop_cannot_read_goes_out_as_it_was_made() -> None:
    orphan = [*LONG, {"role": "tool", "tool_call_id": "nobody", "content": "x"}]
    with serving((400, {"error": {"message": "the upstream's own words"}})) as stub:
        client = blocking(stub)
        with pytest.raises(openai.BadRequestError, match="the upstream's own words"):
            client.chat.completions.create(model="gpt-4o", messages=orphan)
    assert stub.bodies[0]["messages"] == orphan
    assert not stub.tools()


def test_ids_that_come_twice_are_repaired_on_the_way(caplog: pytest.LogCaptureFixture) -> None:
    twice = [
        {"role": "assistant", "content": None, "tool_calls": [call("get_weather", "w")]},
        {"role": "tool", "tool_call_id": "w", "content": "sunny"},
    ]
    with serving(said(None, SEARCH), ANSWER) as stub:
        client = blocking(stub)
        listed: Any = [*LONG, *twice, *twice]
        client.chat.completions.create(model="gpt-4o", messages=listed, tools=[WEATHER])
    for body in stub.bodies:
        ids = [c["id"] for m in body["messages"] for c in m.get("tool_calls") or ()]
        assert ids[:2] == ["w", "w_2"]
        assert stub.tools()[0] == "get_weather"
    assert not caplog.records


def test_what_has_no_json_form_here_goes_out_as_it_was_made() -> None:
    with serving(ANSWER) as stub:
        answer = blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG, seed=2**70)
    assert stub.bodies[0]["seed"] == 2**70
    told: Any = answer.model_extra
    assert told["x_context"] == {"status": "bypassed"}


def test_a_context_layer_that_breaks_lets_the_request_through(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING")
    with serving(ANSWER) as stub:
        client = blocking(stub)
        chat: Any = client.chat
        chat._sculpting.conversations = None
        answer = client.chat.completions.create(model="gpt-4o", messages=iter(LONG))
    assert answer.choices[0].message.content == "It is 8080."
    assert stub.bodies[0]["messages"] == LONG
    assert "stands aside" in caplog.text


def test_raw_responses_come_from_the_original() -> None:
    with serving(ANSWER) as stub:
        client = blocking(stub)
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=LONG)
        assert raw.headers["content-type"] == "application/json"
        other = client.with_raw_response.chat.completions.create(model="gpt-4o", messages=LONG)
        assert other.parse().choices[0].message.content == "It is 8080."
    assert not any(body.get("tools") for body in stub.bodies)


# Trouble


def test_errors_of_the_client_are_its_own() -> None:
    with serving((429, {"error": {"message": "slow down"}})) as stub:
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError, match="slow down"):
                blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG, stream=stream)


def test_a_view_that_the_upstream_calls_too_long_is_folded_and_sent_again() -> None:
    complaint = {
        "message": "This model's maximum context length is 3000 tokens. Please shorten.",
        "code": "context_length_exceeded",
    }
    with serving((400, {"error": complaint}), ANSWER) as stub:
        answer = blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG)
        assert answer.choices[0].message.content == "It is 8080."
        assert "folded" in stub.bodies[1]["messages"][0]["content"]

    async def main() -> None:
        client = awaiting(stub)
        await client.chat.completions.create(model="gpt-4o", messages=LONG, stream=True)
        await client.close()

    with serving((400, {"error": complaint}), ANSWER) as stub:
        asyncio.run(main())
        assert "folded" in stub.bodies[1]["messages"][0]["content"]


def test_what_cannot_be_made_shorter_is_the_upstreams_to_refuse() -> None:
    complaint = {"message": "too long", "code": "context_length_exceeded"}
    with serving((400, {"error": complaint})) as stub:
        with pytest.raises(openai.BadRequestError, match="too long"):
            blocking(stub, sculptor="on").chat.completions.create(model="gpt-4o", messages=SHORT)
        assert len(stub.bodies) == 1


def test_a_known_window_is_kept_before_the_first_call() -> None:
    with serving(ANSWER) as stub:
        blocking(stub, window_tokens=4_000).chat.completions.create(model="gpt-4o", messages=LONG)
    assert "folded" in stub.bodies[0]["messages"][0]["content"]
    assert "restore_fragment" in str(stub.bodies[0]["tools"]), "short now, and yet within reach"


def test_the_tools_stand_down_where_they_would_fill_a_small_window() -> None:
    with serving(ANSWER) as stub:
        blocking(stub, window_tokens=3_000).chat.completions.create(model="gpt-4o", messages=LONG)
    assert "folded" in stub.bodies[0]["messages"][0]["content"]
    assert "tools" not in stub.bodies[0]


def test_an_upstream_that_refuses_stream_options_is_asked_without() -> None:
    def refuse(body: Body) -> Any:
        if "stream_options" in body:
            return 400, {"error": {"message": "Unknown field: stream_options"}}
        return ANSWER

    with serving(refuse) as stub:
        stream = blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG, stream=True)
        assert text_of(list(stream)) == "It is 8080."
        assert len(stub.bodies) == 2

        async def main() -> str:
            client = awaiting(stub)
            stream = await client.chat.completions.create(
                model="gpt-4o", messages=LONG, stream=True
            )
            chunks = [chunk async for chunk in stream]
            await client.close()
            return text_of(chunks)

        assert asyncio.run(main()) == "It is 8080."


def test_an_answer_cut_off_is_never_taken_for_a_whole_one() -> None:
    with serving(said("It is 80") | {"cut": True}) as stub:
        stream = blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG, stream=True)
        with pytest.raises(UpstreamBroken, match="ended before"):
            list(stream)


def test_an_answer_that_is_no_completion_is_said_to_be_none() -> None:
    with serving(b'"hello"') as stub, pytest.raises(UpstreamBroken, match="no completion"):
        blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG)


def test_a_stream_left_early_closes_the_upstreams() -> None:
    endless = said("word " * 100_000) | {"slow": True}
    with serving(endless) as stub:
        with blocking(stub).chat.completions.create(
            model="gpt-4o", messages=LONG, stream=True
        ) as stream:
            next(stream)
        assert stub.gone.wait(5)

        async def main() -> None:
            client = awaiting(stub)
            stream = await client.chat.completions.create(
                model="gpt-4o", messages=LONG, stream=True
            )
            async for _ in stream:
                break
            await stream.close()
            await client.close()

        stub.gone.clear()
        asyncio.run(main())
        assert stub.gone.wait(5)


def test_a_budget_ends_the_turn_with_the_tools_off() -> None:
    def reply(body: Body) -> Body:
        return ANSWER if body.get("tool_choice") == "none" else said(None, SEARCH)

    with serving(reply) as stub:
        client = blocking(stub, budget=Budget(max_steps=2))
        answer = client.chat.completions.create(model="gpt-4o", messages=LONG)
    assert answer.choices[0].message.content == "It is 8080."
    assert len(stub.bodies) == 3


def test_the_answering_model_writes_the_summaries() -> None:
    def reply(body: Body) -> Body:
        text = body["messages"][-1].get("content") or ""
        if "tools" not in body:
            name = next(word for word in text.split() if len(word) == 6 and word[0] == "f")
            return said(f"=== {name} ===\nThe port is 8080.")
        roles = [m["role"] for m in body["messages"]]
        if roles.count("tool") == 0:
            return said(None, call("fragment_context", num_fragments=1))
        if roles.count("tool") == 1:
            return said(None, call("summarize_fragment", fragment_ids=["all"], focus="ports"))
        return ANSWER

    with serving(reply) as stub:
        client = blocking(stub)
        client.chat.completions.create(model="gpt-4o", messages=LONG, extra_headers={"x-own": "1"})
    summary = stub.bodies[2]
    assert summary["temperature"] == 0
    assert stub.headers[2]["x-own"] == "1"
    assert "The port is 8080." in stub.bodies[-1]["messages"][0]["content"]


def test_a_summary_that_fails_leaves_the_original() -> None:
    def reply(body: Body) -> Any:
        if "tools" not in body:
            return 500, {"error": {"message": "down"}}
        roles = [m["role"] for m in body["messages"]]
        if roles.count("tool") == 0:
            return said(None, call("fragment_context", num_fragments=1))
        if roles.count("tool") == 1:
            return said(None, call("summarize_fragment", fragment_ids=["all"], focus="ports"))
        return ANSWER

    with serving(reply) as stub:
        answer = blocking(stub).chat.completions.create(model="gpt-4o", messages=LONG)
    assert answer.choices[0].message.content == "It is 8080."
    assert stub.bodies[-1]["messages"][0] == LONG[0]


@pytest.mark.parametrize("model", ["embedder", "forgetful"])
def test_search_by_meaning_asks_the_embedder(model: str) -> None:
    search = call("search_context", queries=["the port"], mode="semantic")

    async def main(embedder: ClientEmbedder) -> None:
        client = awaiting(stub, embedder=embedder)
        await client.chat.completions.create(model="gpt-4o", messages=LONG)
        await client.close()

    with serving(said(None, search), ANSWER, said(None, search), ANSWER) as stub:
        embedder = ClientEmbedder(plain(stub), model)
        blocking(stub, embedder=embedder).chat.completions.create(model="gpt-4o", messages=LONG)
        asyncio.run(main(embedder))
    results = [m for body in stub.bodies for m in body.get("messages", ()) if m["role"] == "tool"]
    assert len(results) == 2
    told = "hits" if model == "embedder" else "NO_EMBEDDER"
    assert all(told in m["content"] for m in results)


def test_an_embedder_says_what_went_wrong() -> None:
    with serving(ANSWER) as stub:
        client = plain(stub)
        assert ClientEmbedder(client, "m").embed(["a port", "a ship"]) == [[1.0, 1.0], [0.0, 1.0]]
        assert len(ClientEmbedder(client, "m").embed(["x"] * 300)) == 300
        with pytest.raises(UpstreamBroken, match="no vector for each text"):
            ClientEmbedder(client, "forgetful").embed(["a", "b"])
    nowhere = client.with_options(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(UpstreamBroken, match="m cannot embed"):
        ClientEmbedder(nowhere, "m").embed(["a"])


def test_unknown_fields_of_the_request_arrive() -> None:
    with serving(ANSWER) as stub:
        blocking(stub).chat.completions.create(
            model="gpt-4o",
            messages=LONG,
            temperature=0.25,
            extra_body={"top_k": 3},
            response_format={"type": "json_object"},
        )
    assert stub.bodies[0]["top_k"] == 3
    assert stub.bodies[0]["temperature"] == 0.25
    assert stub.bodies[0]["response_format"] == {"type": "json_object"}


def test_the_answering_model_writes_the_summaries_of_a_client_that_awaits() -> None:
    def reply(body: Body) -> Any:
        if "tools" not in body:
            if len(stub.bodies) > 6:
                return 500, {"error": {"message": "down"}}
            text = body["messages"][-1]["content"]
            name = next(word for word in text.split() if len(word) == 6 and word[0] == "f")
            return said(f"=== {name} ===\nThe port is 8080.")
        roles = [m["role"] for m in body["messages"]]
        if roles.count("tool") == 0:
            return said(None, call("fragment_context", num_fragments=1))
        if roles.count("tool") == 1:
            return said(None, call("summarize_fragment", fragment_ids=["all"], focus="ports"))
        return ANSWER

    async def main() -> None:
        client = awaiting(stub)
        for _ in range(2):
            answer = await client.chat.completions.create(
                model="gpt-4o", messages=LONG, max_tokens=50
            )
            assert answer.choices[0].message.content == "It is 8080."
            shown.append(stub.bodies[-1]["messages"][0]["content"])
        await client.close()

    shown: list[str] = []
    with serving(reply) as stub:
        asyncio.run(main())
    assert "The port is 8080." in shown[0]
    assert shown[1] == LONG[0]["content"]
    assert any("max_tokens" in body for body in stub.bodies if "tools" not in body)


def test_a_stream_of_a_client_that_awaits_is_left_with_its_block() -> None:
    async def main() -> None:
        client = awaiting(stub)
        stream = await client.chat.completions.create(model="gpt-4o", messages=LONG, stream=True)
        async with stream:
            chunk = await anext(stream)
        assert chunk.choices[0].delta.role == "assistant"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await client.close()

    with serving(ANSWER) as stub:
        asyncio.run(main())


def test_messages_may_be_any_iterable_and_hold_the_clients_own_objects() -> None:
    message = ChatCompletion.model_validate(whole({}, ANSWER)).choices[0].message
    listed = [*LONG[:1], message, {"role": "user", "content": "Sure?"}]
    with serving(ANSWER) as stub:
        blocking(stub).chat.completions.create(model="gpt-4o", messages=iter(listed))
        plain(stub).chat.completions.create(model="gpt-4o", messages=listed)
    assert stub.bodies[0]["messages"] == stub.bodies[1]["messages"]
