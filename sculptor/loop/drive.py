"""Driving a turn: what its effects do, once for programs that await and once for those that block.

The two drivers differ only where something is waited for; read them side by side.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Sequence,
)
from typing import Any, NamedTuple, Protocol

from sculptor.chat import (
    CallKind,
    Completed,
    Delta,
    ExtraDelta,
    JsonObject,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from sculptor.context import Step
from sculptor.errors import SculptorError, UpstreamBroken
from sculptor.loop.requests import ModelRequest
from sculptor.loop.turn import Call, Effect, Emit, Next, Save, Turn, turn_of
from sculptor.store.protocol import RankedHit
from sculptor.summaries import Summarizer, SummaryJob, parse_summaries, prompt_hash
from sculptor.terms import Embedder
from sculptor.tools import Need, NeedEmbeddings, NeedRanked, NeedSummaries, Summaries

Event = Delta | Completed
_STREAMED = frozenset({"role", "content", "tool_calls", "function_call"})
_CALL_FIELDS = frozenset({"index", "id", "type", "function", "custom"})


class Model(Protocol):
    """What answers requests. The stream ends in exactly one ``Completed``."""

    def stream(self, request: ModelRequest) -> AsyncIterator[Event]:
        """Answer a request, piece by piece."""
        ...


class BlockingModel(Protocol):
    """The same for programs that block."""

    def stream(self, request: ModelRequest) -> Iterator[Event]:
        """Answer a request, piece by piece."""
        ...


class Ranker(Protocol):
    """Ranked search, as a store offers it for one tenant."""

    def __call__(self, need: NeedRanked) -> Sequence[RankedHit]:
        """Return the best passages of the need's messages, best first."""
        ...


class Surroundings(NamedTuple):
    """What tools may use: ranked search, an embedder, a summarizer of one's own."""

    ranked: Ranker
    embedder: Embedder | None = None
    embed: Callable[[Sequence[str]], Awaitable[list[list[float]]]] | None = None
    """An embedder that must be awaited; it goes before the other, in ``drive`` alone."""
    summarizer: Summarizer | None = None
    """None: the model that answers also summarizes."""


class Keeper(Protocol):
    """Keeps what a turn makes; returns when it is safe."""

    async def __call__(self, step: Step | None, usage: Usage | None) -> None:
        """Write a step and whatever waits in the context."""
        ...


SUMMARY_TIMEOUT_S = 30.0
"""A summary that takes longer is given up, and the original stands."""


async def drive(
    turn: Generator[Effect, Any, Turn],
    model: Model,
    surroundings: Surroundings,
    *,
    keep: Keeper,
    summary_request: Callable[[Sequence[SummaryJob]], ModelRequest],
) -> AsyncGenerator[Delta | Turn, None]:
    """Run a turn and yield what the client is to see, the ``Turn`` last."""
    events: AsyncIterator[Event] | None = None
    answer: Any = None
    try:
        while True:
            try:
                effect = turn.send(answer)
            except StopIteration as stop:
                for item in _ending(stop.value):
                    yield item
                return
            answer = None
            match effect:
                case Call(request=request):
                    await _close(events)
                    events = model.stream(request)
                case Next():
                    answer = await _next(events)
                case Emit(delta=delta):
                    yield delta
                case Save(step=step, usage=usage):
                    await keep(step, usage)
                case NeedSummaries(jobs=jobs) if surroundings.summarizer is None:
                    answer = await _summaries(model, jobs, summary_request(jobs))
                case NeedEmbeddings(texts=texts) if surroundings.embed is not None:
                    answer = await _vectors(surroundings.embed, texts)
                case NeedRanked():
                    answer = await _ranked(surroundings.ranked, effect)
                case _:
                    answer = local_answer(effect, surroundings)
    finally:
        turn.close()
        await _close(events)


async def relay(model: Model, request: ModelRequest) -> AsyncGenerator[Delta | Turn, None]:
    """Make one call of the model and yield its answer as it is, the ``Turn`` last."""
    events = model.stream(request)
    try:
        async for event in events:
            if not isinstance(event, Completed):
                yield event
                continue
            for item in _ending(turn_of(event)):
                yield item
    finally:
        await _close(events)


def drive_blocking(
    turn: Generator[Effect, Any, Turn],
    model: BlockingModel,
    surroundings: Surroundings,
    *,
    summary_request: Callable[[Sequence[SummaryJob]], ModelRequest],
) -> Generator[Delta | Turn, None, None]:
    """Run a turn and yield what the client is to see, the ``Turn`` last."""
    events: Iterator[Event] | None = None
    answer: Any = None
    try:
        while True:
            try:
                effect = turn.send(answer)
            except StopIteration as stop:
                yield from _ending(stop.value)
                return
            answer = None
            match effect:
                case Call(request=request):
                    _close_blocking(events)
                    events = model.stream(request)
                case Next():
                    answer = next(events or iter(()), None) or _ended()
                case Emit(delta=delta):
                    yield delta
                case Save():
                    pass
                case NeedSummaries(jobs=jobs) if surroundings.summarizer is None:
                    answer = _summaries_blocking(model, jobs, summary_request(jobs))
                case _:
                    answer = local_answer(effect, surroundings)
    finally:
        turn.close()
        _close_blocking(events)


def local_answer(need: Need | Effect, surroundings: Surroundings) -> object:
    """Answer a need without waiting for a model.

    An embedder or summarizer that fails gives nothing: the tool then says so to the model.
    """
    match need:
        case NeedRanked():
            return surroundings.ranked(need)
        case NeedEmbeddings(texts=texts):
            return _embedded(surroundings.embedder, texts)
        case NeedSummaries(jobs=jobs) if surroundings.summarizer is not None:
            return _summarized(surroundings.summarizer, jobs)
        case _:
            raise TypeError(f"nothing answers {need!r}")


def _embedded(embedder: Embedder | None, texts: Sequence[str]) -> list[list[float]] | None:
    try:
        return None if embedder is None else embedder.embed(texts)
    except SculptorError:
        return None


def _summarized(summarizer: Summarizer, jobs: Sequence[SummaryJob]) -> Summaries:
    try:
        made = summarizer.summarize(jobs)
    except SculptorError:
        return Summaries({}, "none")
    by_id = {job.fragment_id: s.text for job, s in zip(jobs, made, strict=True)}
    hashes = {summary.prompt_hash for summary in made}
    return Summaries(by_id, summarizer.name, hashes.pop() if len(hashes) == 1 else "")


def deltas_of(completed: Completed) -> Iterator[Delta]:
    """Yield a whole answer as the deltas of a streamed one, fields of other kinds first."""
    text, choice = completed.text, completed.choice or None
    fields = _extra_fields(completed.message)
    if fields or completed.fields or (choice and not text):
        beside = None if text else choice
        yield ExtraDelta(fields=fields, choice=beside, answer=completed.fields or None)
    if text:
        yield TextDelta(text=text, choice=choice)
    for index, call in enumerate(completed.tool_calls):
        kind: CallKind = "custom" if call.get("type") == "custom" else "function"
        body = call.get(kind) or {}
        yield ToolCallDelta(
            index=index,
            id=call["id"],
            name=body.get("name"),
            arguments=body.get("input" if kind == "custom" else "arguments") or "",
            kind=kind,
            fields={key: call[key] for key in call if key not in _CALL_FIELDS} or None,
        )


def _extra_fields(message: JsonObject) -> JsonObject:
    fields = {
        key: item for key, item in message.items() if key not in _STREAMED and item is not None
    }
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    others = [part for part in parts if isinstance(part, dict) and not part.get("text")]
    return {**fields, "content": others} if others else fields


def _ending(turn: Turn) -> Iterator[Delta | Turn]:
    """Yield the turn, after the fields of its answer: not every model tells them as it goes."""
    if turn.answer.fields:
        yield ExtraDelta(fields={}, answer=turn.answer.fields)
    yield turn


async def _next(events: AsyncIterator[Event] | None) -> Event:
    event = None if events is None else await anext(events, None)
    return event or _ended()


def _close_blocking(events: Iterator[Event] | None) -> None:
    close = getattr(events, "close", None)
    if close is not None:
        close()


async def _close(events: AsyncIterator[Event] | None) -> None:
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()


async def _ranked(ranker: Ranker, need: NeedRanked) -> Sequence[RankedHit]:
    """Rank in a thread: the first search of a long context fills its index."""
    from anyio import to_thread

    return await to_thread.run_sync(ranker, need)


async def _vectors(
    embed: Callable[[Sequence[str]], Awaitable[list[list[float]]]], texts: Sequence[str]
) -> list[list[float]] | None:
    """Return vectors, or None where the embedder fails: the tool then names other modes."""
    try:
        return await embed(texts)
    except SculptorError:
        return None


async def _summaries(model: Model, jobs: Sequence[SummaryJob], request: ModelRequest) -> Summaries:
    import anyio

    completed: Completed | None = None
    events = model.stream(request)
    try:
        with anyio.fail_after(SUMMARY_TIMEOUT_S):
            async for event in events:
                completed = event if isinstance(event, Completed) else completed
    except (TimeoutError, SculptorError):
        return Summaries({}, "none")
    finally:
        await _close(events)
    return _read_summaries(completed, jobs)


def _summaries_blocking(
    model: BlockingModel, jobs: Sequence[SummaryJob], request: ModelRequest
) -> Summaries:
    completed: Completed | None = None
    events = model.stream(request)
    try:
        for event in events:
            completed = event if isinstance(event, Completed) else completed
    except SculptorError:
        return Summaries({}, "none")
    finally:
        _close_blocking(events)
    return _read_summaries(completed, jobs)


def _read_summaries(completed: Completed | None, jobs: Sequence[SummaryJob]) -> Summaries:
    if completed is None:
        return Summaries({}, "none")
    usage = completed.usage
    cost = usage.prompt_tokens + usage.completion_tokens if usage else 0
    texts = parse_summaries(completed.text, jobs)
    return Summaries(texts, completed.model, prompt_hash(jobs), cost)


def _ended() -> Event:
    raise UpstreamBroken("The model's stream ended before the answer did.")
