"""Drives the `openai` package: blocking and asynchronous, by chunks and by its stream helper."""

import json
from typing import Any

from driving import (
    CLOCK,
    FOLLOW_UPS,
    QUESTION,
    REFUSED,
    TRAVEL,
    WEATHER,
    WRONG_KEY,
    report,
    run_tool,
    told,
)
from openai import APIStatusError, AsyncOpenAI, OpenAI

client = OpenAI(max_retries=0)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def plain() -> dict[str, Any]:
    raw = client.chat.completions.with_raw_response.create(model="plain", messages=[user("Hello")])
    done = raw.parse()
    return {
        "text": done.choices[0].message.content,
        "reason": done.choices[0].finish_reason,
        "model": done.model,
        "tokens": done.usage.total_tokens,
        "request_id": done._request_id == raw.headers["x-request-id"],
    }


async def streamed() -> dict[str, Any]:
    made = AsyncOpenAI(max_retries=0)
    text, usage, reasons = "", None, []
    stream = await made.chat.completions.create(
        model="streamed",
        messages=[user("Hello")],
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
    await made.close()
    return {"text": text, "reason": reasons[0], "tokens": usage.total_tokens}


def parallel() -> dict[str, Any]:
    return converse("parallel", lambda **body: client.chat.completions.create(**body).choices[0])


def parallel_streamed() -> dict[str, Any]:
    return converse("parallel_streamed", helped)


def helped(**body: Any) -> Any:
    with client.chat.completions.stream(**body) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion().choices[0]


def converse(model: str, ask: Any) -> dict[str, Any]:
    messages: list[Any] = [user(TRAVEL)]
    ran = []
    while True:
        choice = ask(model=model, messages=messages, tools=[WEATHER, CLOCK])
        if choice.finish_reason != "tool_calls":
            return {"text": choice.message.content, "reason": choice.finish_reason, "ran": ran}
        messages.append(choice.message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in choice.message.tool_calls:
            arguments = json.loads(call.function.arguments)
            ran.append([call.function.name, arguments])
            result = run_tool(call.function.name, arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def forced() -> dict[str, Any]:
    done = client.chat.completions.create(
        model="forced",
        messages=[user(TRAVEL)],
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )
    calls = done.choices[0].message.tool_calls
    return {"ran": [[c.function.name, json.loads(c.function.arguments)] for c in calls]}


def refused() -> dict[str, Any]:
    found = {}
    for model in REFUSED:
        asked = client if model != "refuse-401" else client.with_options(api_key=WRONG_KEY)
        try:
            asked.chat.completions.create(model=model, messages=[user("Hello")])
        except APIStatusError as error:
            found[model] = told(error)
    return found


def managed() -> dict[str, Any]:
    messages: list[Any] = []
    texts = []
    for turn, question in enumerate((QUESTION, *FOLLOW_UPS)):
        messages.append(user(question))
        body = {"model": "managed", "messages": messages}
        choice = helped(**body) if turn % 2 else client.chat.completions.create(**body).choices[0]
        assert not choice.message.tool_calls
        texts.append(choice.message.content)
        messages.append({"role": "assistant", "content": choice.message.content})
    return {"texts": texts}


if __name__ == "__main__":
    made = (plain, streamed, parallel, parallel_streamed, forced, refused, managed)
    report({scenario.__name__: scenario for scenario in made})
