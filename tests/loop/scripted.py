"""A model whose answers are written beforehand, or made by a function of what it is sent."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import orjson

from sculptor.chat import Completed, Delta, Usage
from sculptor.context import Context
from sculptor.loop import (
    Budget,
    ClientRequest,
    Event,
    MessageCache,
    ModelRequest,
    Surroundings,
    Turn,
    deltas_of,
    drive,
    drive_blocking,
    read_request,
    run_turn,
)
from sculptor.messages import Message, parse_message
from sculptor.summaries import ExtractiveSummarizer
from sculptor.tokens import TokenCounter
from sculptor.tools import toolset

COUNTER = TokenCounter()
Reply = Completed | Exception | Sequence[Event]
Answering = Callable[[ModelRequest], Reply]

FILLER = "The committee met again and adjourned without a vote on the matter. "


def says(text: str, *, finish: str = "stop", tokens: tuple[int, int] | None = (100, 10)) -> Reply:
    """Return an answer without calls; ``tokens`` are those of prompt and completion."""
    return _completed({"role": "assistant", "content": text}, finish, tokens)


def calls(
    *made: dict[str, Any],
    text: str | None = None,
    finish: str = "tool_calls",
    tokens: tuple[int, int] | None = (100, 10),
) -> Completed:
    """Return an answer with tool calls."""
    message = {"role": "assistant", "content": text, "tool_calls": list(made)}
    return _completed(message, finish, tokens)


def call(name: str, call_id: str = "c1", **arguments: Any) -> dict[str, Any]:
    """Return one tool call of the wire."""
    function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
    return {"id": call_id, "type": "function", "function": function}


def _completed(message: dict[str, Any], finish: str, tokens: tuple[int, int] | None) -> Completed:
    usage = Usage(prompt_tokens=tokens[0], completion_tokens=tokens[1]) if tokens else None
    return Completed(message=message, finish_reason=finish, usage=usage, model="scripted")


class ScriptedModel:
    """Answers in order; remembers what it was sent. It blocks; ``awaiting`` gives its twin."""

    def __init__(self, *replies: Reply | Answering) -> None:
        self._replies = list(replies)
        self.requests: list[ModelRequest] = []
        self.closed = 0

    def stream(self, request: ModelRequest) -> Iterator[Event]:
        self.requests.append(request)
        reply = self._next(request)
        if isinstance(reply, Exception):
            raise reply
        try:
            yield from events_of(reply)
        finally:
            self.closed += 1

    @property
    def awaiting(self) -> "AsyncScriptedModel":
        return AsyncScriptedModel(self)

    def _next(self, request: ModelRequest) -> Reply:
        reply = self._replies[0]
        if callable(reply):
            return reply(request)
        return self._replies.pop(0)


class AsyncScriptedModel:
    """The same for drivers that await."""

    def __init__(self, model: ScriptedModel) -> None:
        self._model = model

    async def stream(self, request: ModelRequest) -> AsyncIterator[Event]:
        events = self._model.stream(request)
        try:
            for event in events:
                yield event
        finally:
            events.close()


def events_of(reply: Completed | Sequence[Event]) -> Iterator[Event]:
    """Yield what a reply is made of, as a stream."""
    if isinstance(reply, Completed):
        yield from deltas_of(reply)
        yield reply
    else:
        yield from reply


def messages_of(request: ModelRequest) -> list[dict[str, Any]]:
    """Return the messages a model was sent."""
    return orjson.loads(request.body)["messages"]


def tools_of(request: ModelRequest) -> list[str]:
    """Return the names of the tools a model was offered."""
    return [tool["function"]["name"] for tool in orjson.loads(request.body).get("tools") or ()]


def request_of(messages: Sequence[dict[str, Any]], **fields: Any) -> ClientRequest:
    """Return a client's request."""
    body = orjson.dumps({"model": "m", "messages": list(messages), **fields})
    return read_request(body, MessageCache())


def context_of(messages: Sequence[Message], *, seed: bytes = b"seed") -> Context:
    """Return a context with these messages."""
    context = Context(seed=seed, counter=COUNTER, clock=lambda: 1.0)
    context.extend(messages)
    return context


def message(role: str, content: Any, **fields: Any) -> Message:
    """Return a message of the wire."""
    return parse_message(orjson.dumps({"role": role, "content": content, **fields}))


def surroundings(ranked: Any = None) -> Surroundings:
    """Return surroundings without a network."""
    return Surroundings(ranked=ranked or (lambda need: []), summarizer=ExtractiveSummarizer())


def run(
    context: Context,
    request: ClientRequest,
    model: ScriptedModel,
    *,
    budget: Budget | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    show_ledger: bool = True,
    fit: Callable[[Context], None] | None = None,
) -> tuple[list[Delta], Turn]:
    """Run a turn to its end; return what the client was handed, and the turn."""
    turn = run_turn(
        context,
        request,
        toolset("full"),
        budget=budget or Budget(),
        show_ledger=show_ledger,
        fit=fit,
        clock=clock,
    )
    items = list(
        drive_blocking(turn, model, surroundings(), summary_request=lambda jobs: _none(jobs))
    )
    assert isinstance(items[-1], Turn)
    deltas = [item for item in items if not isinstance(item, Turn)]
    return deltas, items[-1]


async def run_awaiting(
    context: Context,
    request: ClientRequest,
    model: ScriptedModel,
    *,
    kept: list[Any] | None = None,
) -> tuple[list[Delta], Turn]:
    """The same with the driver that awaits; ``kept`` takes what was to be kept."""

    async def keep(step: Any, usage: Any) -> None:
        if kept is not None:
            kept.append((step, usage, list(context.unsaved)))

    turn = run_turn(context, request, toolset("full"), budget=Budget(), clock=lambda: 0.0)
    driven = drive(
        turn, model.awaiting, surroundings(), keep=keep, summary_request=lambda jobs: _none(jobs)
    )
    items = [item async for item in driven]
    assert isinstance(items[-1], Turn)
    return [item for item in items if not isinstance(item, Turn)], items[-1]


def _none(jobs: Sequence[Any]) -> ModelRequest:
    raise AssertionError(f"no model was to summarize {jobs}")
