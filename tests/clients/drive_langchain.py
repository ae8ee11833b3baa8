"""Drives `langchain-openai` in its default chat completions mode."""

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
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import APIStatusError


def chat(model: str, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, max_retries=0, **settings)


def plain() -> dict[str, Any]:
    answer = chat("plain").invoke("Hello")
    meta = answer.response_metadata
    tokens = answer.usage_metadata["total_tokens"]
    return {
        "text": answer.content,
        "reason": meta["finish_reason"],
        "model": meta["model_name"],
        "tokens": tokens,
    }


async def streamed() -> dict[str, Any]:
    whole = None
    async for chunk in chat("streamed", stream_usage=True).astream("Hello"):
        whole = chunk if whole is None else whole + chunk
    reason = whole.response_metadata["finish_reason"]
    return {"text": whole.content, "reason": reason, "tokens": whole.usage_metadata["total_tokens"]}


def parallel() -> dict[str, Any]:
    return converse(chat("parallel").bind_tools([WEATHER, CLOCK]).invoke)


def parallel_streamed() -> dict[str, Any]:
    model = chat("parallel_streamed").bind_tools([WEATHER, CLOCK])
    return converse(lambda messages: joined(model, messages))


def joined(model: Any, messages: list[Any]) -> AIMessage:
    whole = None
    for chunk in model.stream(messages):
        whole = chunk if whole is None else whole + chunk
    return whole


def converse(ask: Any) -> dict[str, Any]:
    messages: list[Any] = [HumanMessage(TRAVEL)]
    ran = []
    while True:
        answer = ask(messages)
        messages.append(answer)
        if not answer.tool_calls:
            reason = answer.response_metadata["finish_reason"]
            return {"text": answer.content, "reason": reason, "ran": ran}
        for call in answer.tool_calls:
            ran.append([call["name"], call["args"]])
            result = run_tool(call["name"], call["args"])
            messages.append(ToolMessage(result, tool_call_id=call["id"]))


def forced() -> dict[str, Any]:
    model = chat("forced").bind_tools([WEATHER, CLOCK], tool_choice="weather")
    answer = model.invoke(TRAVEL)
    return {"ran": [[call["name"], call["args"]] for call in answer.tool_calls]}


def refused() -> dict[str, Any]:
    found = {}
    for model in REFUSED:
        settings = {"api_key": WRONG_KEY} if model == "refuse-401" else {}
        try:
            chat(model, **settings).invoke("Hello")
        except APIStatusError as error:
            found[model] = told(error)
    return found


def managed() -> dict[str, Any]:
    model = chat("managed")
    messages: list[Any] = []
    texts = []
    for turn, question in enumerate((QUESTION, *FOLLOW_UPS)):
        messages.append(HumanMessage(question))
        answer = joined(model, messages) if turn % 2 else model.invoke(messages)
        assert not answer.tool_calls
        texts.append(answer.content)
        messages.append(answer)
    return {"texts": texts}


if __name__ == "__main__":
    made = (plain, streamed, parallel, parallel_streamed, forced, refused, managed)
    report({scenario.__name__: scenario for scenario in made})
