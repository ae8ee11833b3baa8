"""Drives the OpenAI Agents SDK in its chat completions mode, tracing off."""

import json
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from driving import (
    FOLLOW_UPS,
    QUESTION,
    REFUSED,
    TRAVEL,
    WRONG_KEY,
    clock,
    report,
    told,
    weather,
)
from openai import APIStatusError, AsyncOpenAI

TOOLS = [function_tool(weather), function_tool(clock)]


def agent(model: str, *, key: str | None = None, **settings: Any) -> Agent[Any]:
    client = AsyncOpenAI(max_retries=0, api_key=key)
    chat = OpenAIChatCompletionsModel(model=model, openai_client=client)
    return Agent(name="driver", model=chat, **settings)


def calls(result: Any) -> list[list[Any]]:
    made = [item for item in result.to_input_list() if item.get("type") == "function_call"]
    return [[item["name"], json.loads(item["arguments"])] for item in made]


async def plain() -> dict[str, Any]:
    done = await Runner.run(agent("plain"), "Hello")
    return {"text": done.final_output, "tokens": done.raw_responses[-1].usage.total_tokens}


async def streamed() -> dict[str, Any]:
    made = agent("streamed", model_settings=ModelSettings(include_usage=True))
    done = await follow(made, "Hello")
    return {"text": done.final_output, "tokens": done.raw_responses[-1].usage.total_tokens}


async def follow(made: Agent[Any], given: Any) -> Any:
    result = Runner.run_streamed(made, given)
    async for _ in result.stream_events():
        pass
    return result


async def parallel() -> dict[str, Any]:
    done = await Runner.run(agent("parallel", tools=TOOLS), TRAVEL)
    return {"text": done.final_output, "ran": calls(done)}


async def parallel_streamed() -> dict[str, Any]:
    done = await follow(agent("parallel_streamed", tools=TOOLS), TRAVEL)
    return {"text": done.final_output, "ran": calls(done)}


async def forced() -> dict[str, Any]:
    made = agent(
        "forced",
        tools=TOOLS,
        tool_use_behavior="stop_on_first_tool",
        model_settings=ModelSettings(tool_choice="weather"),
    )
    return {"ran": calls(await Runner.run(made, TRAVEL))}


async def refused() -> dict[str, Any]:
    found = {}
    for model in REFUSED:
        try:
            key = WRONG_KEY if model == "refuse-401" else None
            await Runner.run(agent(model, key=key), "Hello")
        except APIStatusError as error:
            found[model] = told(error)
    return found


async def managed() -> dict[str, Any]:
    made = agent("managed")
    history: list[Any] = []
    texts = []
    for turn, question in enumerate((QUESTION, *FOLLOW_UPS)):
        given = [*history, {"role": "user", "content": question}]
        done = await follow(made, given) if turn % 2 else await Runner.run(made, given)
        assert not calls(done)
        texts.append(done.final_output)
        history = done.to_input_list()
    return {"texts": texts}


if __name__ == "__main__":
    set_tracing_disabled(True)
    made = (plain, streamed, parallel, parallel_streamed, forced, refused, managed)
    report({scenario.__name__: scenario for scenario in made})
