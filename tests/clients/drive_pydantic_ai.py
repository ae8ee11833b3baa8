"""Drives `pydantic-ai` agents over its chat completions model."""

from typing import Any

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
from openai import AsyncOpenAI
from pydantic_ai import Agent, ModelHTTPError, ToolOutput
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


def chat(model: str, **settings: Any) -> OpenAIChatModel:
    client = AsyncOpenAI(max_retries=0, **settings)
    return OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client))


def calls(messages: list[ModelMessage]) -> list[list[Any]]:
    parts = [p for message in messages if isinstance(message, ModelResponse) for p in message.parts]
    return [[p.tool_name, p.args_as_dict()] for p in parts if isinstance(p, ToolCallPart)]


async def plain() -> dict[str, Any]:
    done = await Agent(chat("plain")).run("Hello")
    answer = done.response
    return {
        "text": done.output,
        "reason": answer.finish_reason,
        "model": answer.model_name,
        "tokens": answer.usage.total_tokens,
    }


async def streamed() -> dict[str, Any]:
    async with Agent(chat("streamed")).run_stream("Hello") as stream:
        text = "".join([piece async for piece in stream.stream_text(delta=True)])
        answer = stream.response
        return {"text": text, "reason": answer.finish_reason, "tokens": answer.usage.total_tokens}


async def parallel() -> dict[str, Any]:
    done = await Agent(chat("parallel"), tools=[weather, clock]).run(TRAVEL)
    reason = done.response.finish_reason
    return {"text": done.output, "reason": reason, "ran": calls(done.all_messages())}


async def parallel_streamed() -> dict[str, Any]:
    agent = Agent(chat("parallel_streamed"), tools=[weather, clock])
    async with agent.iter(TRAVEL) as run:
        async for node in run:
            if Agent.is_model_request_node(node):
                async with node.stream(run.ctx) as stream:
                    async for _ in stream:
                        pass
    reason = run.result.response.finish_reason
    return {"text": run.result.output, "reason": reason, "ran": calls(run.result.all_messages())}


async def forced() -> dict[str, Any]:
    """Play a forced answer: the output type is a tool, and no text is allowed beside it."""
    agent = Agent(chat("forced"), output_type=ToolOutput(weather, name="weather"))
    done = await agent.run(TRAVEL)
    assert done.output == weather("Oslo")
    return {"ran": calls(done.all_messages())}


async def refused() -> dict[str, Any]:
    found = {}
    for model in REFUSED:
        settings = {"api_key": WRONG_KEY} if model == "refuse-401" else {}
        try:
            await Agent(chat(model, **settings)).run("Hello")
        except ModelHTTPError as error:
            found[model] = told(error)
    return found


async def managed() -> dict[str, Any]:
    agent = Agent(chat("managed"))
    history: list[ModelMessage] = []
    texts = []
    for turn, question in enumerate((QUESTION, *FOLLOW_UPS)):
        if turn % 2:
            async with agent.run_stream(question, message_history=history) as stream:
                texts.append(await stream.get_output())
                history = stream.all_messages()
        else:
            done = await agent.run(question, message_history=history)
            texts.append(done.output)
            history = done.all_messages()
    assert not calls(history)
    return {"texts": texts}


if __name__ == "__main__":
    made = (plain, streamed, parallel, parallel_streamed, forced, refused, managed)
    report({scenario.__name__: scenario for scenario in made})
