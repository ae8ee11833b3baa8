"""The loop: model, tool calls, model, until an answer for the client stands.

``run_turn`` is a generator. It yields what is to be done outside (call the model, read its next
delta, hand a piece to the client, keep what was made) and gets the outcome sent back, so that one
piece of code serves a server that awaits and an SDK that blocks. It never waits, reads no clock but
the one it is given, and touches no network.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from sculptor.chat import (
    Completed,
    Delta,
    ExtraDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    mint_call_id,
)
from sculptor.context import Context, Step
from sculptor.ledger import with_ledger
from sculptor.loop.pairing import mend_arguments
from sculptor.loop.requests import ClientRequest, ModelRequest, model_request
from sculptor.messages import Message, parse_message
from sculptor.tools import Need, Toolset, answer_to_text

SAME_CALLS = 3
"""So many times in a row the same calls are run; then the model answers without our tools."""

PREAMBLE_GAP = "\n\n"
"""Between the text before an internal call and the text after it, streamed or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much one turn may take; on reaching a limit, one last call is made without our tools.

    Steps are calls of the model that called our tools; time is in seconds.
    """

    max_steps: int = 20
    max_input_tokens: int = 4_000_000
    max_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Call:
    """Begin a call of the model; nothing is sent back."""

    request: ModelRequest


@dataclass(frozen=True, slots=True)
class Next:
    """Read on; answered by the next delta, or by ``Completed`` at the end."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand a piece of the answer to the client."""

    delta: Delta


@dataclass(frozen=True, slots=True)
class Save:
    """Keep what was made: operations and hits wait in ``context.unsaved``, the step is given."""

    step: Step | None
    usage: Usage | None


Effect = Call | Next | Emit | Save | Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """One call of the model in a turn, and what it cost."""

    tokens: Usage | None
    view_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The outcome: the answer as the client sees it, and as it was produced.

    ``mixed`` is the step that stands in its place while the turn is open: the assistant message
    with all its calls, ours included, and the results of ours.
    """

    answer: Completed
    produced: Message
    mixed: tuple[Message, ...] = ()
    billed: tuple[Billed, ...] = ()
    steps: int = 0
    minted: tuple[str, ...] = ()


@dataclass(slots=True)
class _Progress:
    """What a running turn has gathered."""

    texts: list[str] = field(default_factory=list)
    billed: list[Billed] = field(default_factory=list)
    input_tokens: int = 0
    is_gap_due: bool = False
    client_calls: int = 0
    minted: dict[str, str] = field(default_factory=dict)
    last_calls: Sequence[object] = ()
    same_calls: int = 0

    def note_calls(self, calls: Sequence[Mapping[str, Any]]) -> None:
        """Count how often in a row these calls of ours were made."""
        made = [call["function"] for call in calls]
        self.same_calls = self.same_calls + 1 if made == self.last_calls else 1
        self.last_calls = made

    def name_of(self, call_id: str) -> str:
        """Return our own id for a call: upstreams repeat theirs, and a list must not."""
        return self.minted.setdefault(call_id, mint_call_id())


def run_turn(
    context: Context,
    request: ClientRequest,
    toolset: Toolset,
    *,
    budget: Budget,
    show_ledger: bool = True,
    fit: Callable[[Context], None] | None = None,
    clock: Callable[[], float],
) -> Generator[Effect, Any, Turn]:
    """Answer one client request, letting the model work on its context meanwhile.

    ``fit`` is called before each call after a step, to keep the view within a window. A call of
    ours that the model's limit cut off is dropped and the model asked once more, without our
    tools: the client shall have an answer. So is a model that makes the same calls over and over.
    """
    progress = _Progress()
    started = clock()
    spent = len(context.open_steps())
    steps, is_cut = 0, False
    while True:
        seconds = clock() - started
        allowed = spent + steps < budget.max_steps and seconds < budget.max_seconds
        allowed = allowed and progress.input_tokens < budget.max_input_tokens
        allowed = allowed and not is_cut and progress.same_calls < SAME_CALLS
        if steps and fit is not None:
            fit(context)
        call = _call(context, request, toolset, allowed=allowed, show_ledger=show_ledger)
        completed = yield from _listen(call, progress, toolset.names)
        _bill(progress, completed, context)
        own, theirs = _split(completed, toolset.names)
        is_cut = completed.finish_reason == "length"
        if not own or not allowed or (is_cut and theirs):
            return _finished(progress, completed, theirs, (), steps)
        progress.is_gap_due = bool(progress.texts)
        if is_cut:
            continue
        progress.note_calls(own)
        results: list[Message] = []
        for item in own:
            results.append((yield from _result(context, toolset, item, progress)))
        assistant = _assistant(completed, progress)
        steps += 1
        if theirs:
            yield Save(None, completed.usage)
            return _finished(progress, completed, theirs, (assistant, *results), steps)
        progress.minted = {}
        step = Step(len(context.messages) - 1, (assistant, *results))
        context.steps.append(step)
        yield Save(step, completed.usage)


def pass_through(
    request: ModelRequest, view_tokens: int = 0, *, withheld: frozenset[str] = frozenset()
) -> Generator[Effect, Any, Turn]:
    """Answer a request with one call of the model, its answer left as it is.

    Calls of the tools named in ``withheld`` do not reach the client: they were defined for the
    provider's cache alone, and nobody runs them.
    """
    yield Call(request)
    hidden: set[int] = set()
    while True:
        event: Delta | Completed = yield Next()
        if isinstance(event, Completed):
            return turn_of(_without(event, withheld), view_tokens)
        if isinstance(event, ToolCallDelta):
            if event.name in withheld:
                hidden.add(event.index)
            if event.index in hidden:
                continue
        yield Emit(event)


def _without(completed: Completed, names: frozenset[str]) -> Completed:
    """Return an answer without the calls of these tools."""
    own, theirs = _split(completed, names)
    if not own:
        return completed
    message = {key: item for key, item in completed.message.items() if key != "tool_calls"}
    if theirs:
        message["tool_calls"] = theirs
    else:
        message["content"] = message.get("content") or ""
    return replace(completed, message=message, finish_reason=_reason(completed, bool(theirs)))


def turn_of(answer: Completed, view_tokens: int = 0) -> Turn:
    """Return the turn of one call whose answer is left as it is."""
    produced = parse_message(orjson.dumps(answer.message), answer.message)
    billed = Billed(tokens=answer.usage, view_tokens=view_tokens)
    return Turn(answer=answer, produced=produced, billed=(billed,))


def _call(
    context: Context,
    request: ClientRequest,
    toolset: Toolset,
    *,
    allowed: bool,
    show_ledger: bool,
) -> ModelRequest:
    view = context.view()
    messages: Sequence[bytes] | None = None if view.unchanged else view.messages
    if show_ledger:
        messages = with_ledger(context, view.messages) or messages
    return model_request(
        request, messages, tools=toolset.wire, tools_off=not allowed, ask_usage=True
    )


def _listen(
    call: ModelRequest, progress: _Progress, names: frozenset[str]
) -> Generator[Effect, Any, Completed]:
    """Make one call and pass on what the client may see of it, as it comes."""
    yield Call(call)
    hidden: set[int] = set()
    indexes: dict[int, int] = {}
    while True:
        event: Delta | Completed = yield Next()
        if isinstance(event, Completed):
            return event
        if isinstance(event, TextDelta):
            yield from _emit_text(progress, event.text, event)
        elif isinstance(event, ExtraDelta):
            yield Emit(event)
        elif event.name in names or event.index in hidden:
            hidden.add(event.index)
        else:
            yield Emit(_client_delta(event, progress, indexes))


def _emit_text(
    progress: _Progress, text: str, delta: TextDelta | None = None
) -> Generator[Effect, Any, None]:
    if progress.is_gap_due and text:
        progress.is_gap_due = False
        progress.texts.append(PREAMBLE_GAP)
        yield Emit(TextDelta(text=PREAMBLE_GAP))
    progress.texts.append(text)
    yield Emit(delta or TextDelta(text=text))


def _client_delta(
    event: ToolCallDelta, progress: _Progress, indexes: dict[int, int]
) -> ToolCallDelta:
    """Return the delta under the client's dense index and, at its first piece, an id of ours."""
    first = event.index not in indexes
    if first:
        indexes[event.index] = progress.client_calls
        progress.client_calls += 1
    name = None if event.id is None else progress.name_of(event.id)
    return ToolCallDelta(
        index=indexes[event.index],
        id=name,
        name=event.name,
        arguments=event.arguments,
        kind=event.kind,
        fields=event.fields,
    )


def _split(
    completed: Completed, names: frozenset[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    own: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for call in completed.tool_calls:
        function = call.get("function")
        mine = isinstance(function, dict) and function.get("name") in names
        (own if mine else theirs).append(call)
    return own, theirs


def _result(
    context: Context, toolset: Toolset, call: Mapping[str, Any], progress: _Progress
) -> Generator[Effect, Any, Message]:
    function = call["function"]
    work = toolset.apply(context, function["name"], str(function.get("arguments") or ""))
    answer = yield from work
    name = progress.name_of(call["id"])
    value = {"role": "tool", "tool_call_id": name, "content": answer_to_text(answer)}
    return parse_message(orjson.dumps(value), value)


def _assistant(completed: Completed, progress: _Progress) -> Message:
    """Return the assistant message as produced, fit to be sent again: our ids, valid arguments."""
    value = dict(completed.message)
    if completed.tool_calls:
        value["tool_calls"] = [_mended(call, progress) for call in completed.tool_calls]
    return parse_message(orjson.dumps(value), value)


def _mended(call: Mapping[str, Any], progress: _Progress) -> dict[str, Any]:
    mended = dict(call) | {"id": progress.name_of(call["id"])}
    function = call.get("function")
    if isinstance(function, dict):
        arguments = mend_arguments(function.get("arguments"))
        mended["function"] = {**function, "arguments": arguments}
    return mended


def _bill(progress: _Progress, completed: Completed, context: Context) -> None:
    tokens = context.tokens
    progress.billed.append(Billed(tokens=completed.usage, view_tokens=tokens))
    progress.input_tokens += completed.usage.prompt_tokens if completed.usage else tokens


def _finished(
    progress: _Progress,
    completed: Completed,
    theirs: Sequence[dict[str, Any]],
    mixed: tuple[Message, ...],
    steps: int,
) -> Turn:
    message = {key: item for key, item in completed.message.items() if key != "tool_calls"}
    text = "".join(progress.texts)
    message["content"] = text or message.get("content") or (None if theirs else "")
    calls = [dict(call) | {"id": progress.name_of(call["id"])} for call in theirs]
    if calls:
        message["tool_calls"] = calls
    answer = Completed(
        message=message,
        finish_reason=_reason(completed, bool(calls)),
        usage=completed.usage,
        model=completed.model,
        id=completed.id,
        created=completed.created,
        choice=completed.choice,
        fields=completed.fields,
    )
    return Turn(
        answer=answer,
        produced=_assistant(completed, progress),
        mixed=mixed,
        billed=tuple(progress.billed),
        steps=steps,
        minted=tuple(call["id"] for call in calls),
    )


def _reason(completed: Completed, has_calls: bool) -> str:
    if completed.finish_reason == "length":
        return "length"
    if has_calls:
        return "tool_calls"
    return "stop" if completed.finish_reason == "tool_calls" else completed.finish_reason
