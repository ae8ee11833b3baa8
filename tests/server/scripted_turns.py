"""Turns answered by the scripted model through the loop, over a real context, without a server."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sculptor.chat import Completed, Delta, Usage
from sculptor.context import Context, Step
from sculptor.loop import (
    Budget,
    MessageCache,
    ModelRequest,
    Surroundings,
    Turn,
    drive,
    model_request,
    pass_through,
    read_request,
    run_turn,
)
from sculptor.server.scripted import ScriptedModel
from sculptor.summaries import ExtractiveSummarizer, SummaryJob
from sculptor.tokens import TokenCounter
from sculptor.tools import ToolsetName, toolset

Messages = Sequence[Any]


@dataclass
class Recorded:
    """The scripted model, with every request it was sent."""

    model: ScriptedModel = field(default_factory=ScriptedModel)
    requests: list[ModelRequest] = field(default_factory=list)

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta | Completed]:
        self.requests.append(request)
        async for event in self.model.stream(request):
            yield event


@dataclass
class Answered:
    """A finished turn, what was sent for it, and the context as it left it."""

    turn: Turn
    requests: list[ModelRequest]
    context: Context
    deltas: list[Delta]

    @property
    def text(self) -> str:
        return self.turn.answer.text

    @property
    def prompt_tokens(self) -> list[int]:
        return [row.tokens.prompt_tokens for row in self.turn.billed if row.tokens]

    def calls(self) -> list[list[str]]:
        """Return the names of our tools called, step by step."""
        return [
            [call["function"]["name"] for call in orjson.loads(step.messages[0].wire)["tool_calls"]]
            for step in self.context.steps
        ]

    def results(self) -> list[Any]:
        return [
            orjson.loads(message.parts[0].text)
            for step in self.context.steps
            for message in step.messages[1:]
        ]


def answer(
    messages: Messages,
    *,
    ours: ToolsetName | None = "full",
    model: str = "scripted",
    inline: bool = False,
    context: Context | None = None,
    **fields: Any,
) -> Answered:
    """Answer a client's request; ``ours`` is the toolset we offer."""
    body = {"model": model, "messages": list(messages), **fields}
    return asyncio.run(_answer(orjson.dumps(body), ours, inline, context))


async def _answer(
    body: bytes, ours: ToolsetName | None, inline: bool, context: Context | None
) -> Answered:
    request = read_request(body, MessageCache())
    context = context or Context(seed=b"scripted-turns--", counter=TokenCounter(), inline=inline)
    context.extend(request.messages[len(context.messages) :])
    recorded = Recorded()
    if ours is None:
        turn = pass_through(model_request(request, None))
    else:
        turn = run_turn(context, request, toolset(ours), budget=Budget(), clock=time.monotonic)
    deltas: list[Delta] = []
    async for item in drive(
        turn, recorded, SURROUNDINGS, keep=_keep, summary_request=_no_summary_request
    ):
        if isinstance(item, Turn):
            return Answered(item, recorded.requests, context, deltas)
        deltas.append(item)
    raise AssertionError("the turn ended without an answer")


SURROUNDINGS = Surroundings(ranked=lambda need: [], summarizer=ExtractiveSummarizer())


async def _keep(step: Step | None, usage: Usage | None) -> None:
    del step, usage


def _no_summary_request(jobs: Sequence[SummaryJob]) -> ModelRequest:
    raise AssertionError(f"the summarizer is asked for {len(jobs)} texts, not the model")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
