"""Both drivers do the same, and leave nothing open."""

import asyncio
import sys
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from sculptor.chat import Completed, ExtraDelta, TextDelta, ToolCallDelta
from sculptor.errors import UpstreamBroken, UpstreamStatus
from sculptor.loop import (
    Budget,
    Event,
    ModelRequest,
    Surroundings,
    Turn,
    deltas_of,
    drive,
    drive_blocking,
    run_turn,
    turn_of,
)
from sculptor.loop.drive import local_answer
from sculptor.store.protocol import RankedHit
from sculptor.summaries import Summary, SummaryJob, format_jobs
from sculptor.tools import NeedEmbeddings, NeedRanked, NeedSummaries, Summaries, toolset

from .scripted import (
    FILLER,
    ScriptedModel,
    call,
    calls,
    context_of,
    request_of,
    run,
    run_awaiting,
    says,
    surroundings,
)

HISTORY = [
    {"role": "user", "content": "port: 8080\n" + FILLER * 120},
    {"role": "assistant", "content": "Noted."},
    {"role": "user", "content": "Which port?"},
]
FOLD_ALL = {"num_fragments": 4, "fold_except": []}


def script() -> ScriptedModel:
    return ScriptedModel(
        calls(call("fragment_context", **FOLD_ALL), text="Tidying."),
        calls(call("search_context", queries=["port"])),
        says("8080"),
    )


def test_the_driver_that_awaits_and_the_one_that_blocks_agree() -> None:
    request = request_of(HISTORY, stream=True)
    blocking, awaiting = context_of(request.messages), context_of(request.messages)
    deltas, turn = run(blocking, request, script())
    kept: list[Any] = []
    others, other = asyncio.run(run_awaiting(awaiting, request, script(), kept=kept))
    assert deltas == others
    assert turn.answer == other.answer
    assert turn.billed == other.billed
    assert blocking.version == awaiting.version
    assert blocking.hits == awaiting.hits


def test_each_step_is_kept_before_the_model_sees_its_results() -> None:
    request = request_of(HISTORY)
    context = context_of(request.messages)
    model = script()
    kept: list[Any] = []
    asyncio.run(run_awaiting(context, request, model, kept=kept))
    assert [step for step, _, _ in kept] == context.steps
    operations = [len(unsaved) for _, _, unsaved in kept]
    assert operations == [1, len(context.unsaved)]


def test_every_stream_of_the_model_is_closed() -> None:
    request = request_of(HISTORY)
    model = script()
    run(context_of(request.messages), request, model)
    assert model.closed == 3


def test_a_client_that_leaves_closes_the_model() -> None:
    request = request_of(HISTORY, stream=True)
    pieces: list[Event] = [TextDelta(text="a"), TextDelta(text="b")]

    model = ScriptedModel(pieces)
    items = drive_blocking(
        begin(request), model, surroundings(), summary_request=lambda jobs: summary(jobs)
    )
    assert next(items) == TextDelta(text="a")
    items.close()
    assert model.closed == 1

    async def leave() -> int:
        model = ScriptedModel(pieces)
        items = drive(
            begin(request),
            model.awaiting,
            surroundings(),
            keep=keep,
            summary_request=lambda jobs: summary(jobs),
        )
        assert await anext(items) == TextDelta(text="a")
        await items.aclose()
        return model.closed

    assert asyncio.run(leave()) == 1


def test_a_stream_that_ends_without_an_answer_is_broken() -> None:
    request = request_of(HISTORY)
    with pytest.raises(UpstreamBroken, match="ended before"):
        run(context_of(request.messages), request, ScriptedModel([TextDelta(text="a")]))
    with pytest.raises(UpstreamBroken, match="ended before"):
        asyncio.run(
            run_awaiting(context_of(request.messages), request, ScriptedModel([TextDelta(text="")]))
        )


def test_a_whole_answer_is_the_deltas_of_a_streamed_one() -> None:
    custom = {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    completed = calls(call("get_weather", "c1", city="Rome"), custom, text="Wait.")
    assert list(deltas_of(completed)) == [
        TextDelta(text="Wait."),
        ToolCallDelta(index=0, id="c1", name="get_weather", arguments='{"city":"Rome"}'),
        ToolCallDelta(index=1, id="c2", name="shell", arguments="ls", kind="custom"),
    ]


def test_the_deltas_of_a_whole_answer_leave_nothing_out() -> None:
    made = {**call("find", "c1", q=1), "extra_content": {"signature": "s"}}
    rows = {"logprobs": {"content": [{"token": "W", "logprob": -1.0}]}}
    told = {"refusal": None, "reasoning_content": "hm", "annotations": [{"n": 1}]}
    completed = calls(made, text="Wait.")
    completed = replace(
        completed,
        message={**completed.message, **told},
        choice=rows,
        fields={"citations": ["u"]},
    )
    extra, text, tool = deltas_of(completed)
    kept = {"reasoning_content": "hm", "annotations": [{"n": 1}]}
    assert extra == ExtraDelta(fields=kept, answer={"citations": ["u"]})
    assert text == TextDelta(text="Wait.", choice=rows)
    assert isinstance(tool, ToolCallDelta)
    assert tool.fields == {"extra_content": {"signature": "s"}}


def test_without_text_what_stands_beside_it_comes_all_the_same() -> None:
    rows = {"logprobs": {"refusal": [{"token": "N", "logprob": -1.0}]}}
    message = {"role": "assistant", "content": None, "refusal": "No."}
    refused = Completed(message=message, finish_reason="stop", choice=rows)
    assert list(deltas_of(refused)) == [ExtraDelta(fields={"refusal": "No."}, choice=rows)]
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = [thought, {"type": "text", "text": "Yes."}]
    answered = Completed(message={"role": "assistant", "content": parts}, finish_reason="stop")
    assert list(deltas_of(answered)) == [
        ExtraDelta(fields={"content": [thought]}),
        TextDelta(text="Yes."),
    ]


@pytest.mark.parametrize("awaits", [False, True])
def test_fields_that_a_model_tells_only_at_its_end_come_before_the_turn(awaits: bool) -> None:
    message = {"role": "assistant", "content": "x"}
    done = Completed(message=message, finish_reason="stop", fields={"system_fingerprint": "fp"})
    model = ScriptedModel([TextDelta(text="x"), done])
    request = request_of(HISTORY, stream=True)
    context = context_of(request.messages)
    if awaits:
        deltas, _ = asyncio.run(run_awaiting(context, request, model))
    else:
        deltas, _ = run(context, request, model)
    told = ExtraDelta(fields={}, answer={"system_fingerprint": "fp"})
    assert deltas == [TextDelta(text="x"), told]


def test_the_model_that_answers_summarizes_where_there_is_no_other() -> None:
    for awaiting in (False, True):
        context, model = summarized(lambda request: says(reply_to(request), tokens=(900, 20)))
        outcome = drive_summary(context, model, awaiting=awaiting)
        fragment = next(context.fragments())
        assert fragment.summary is not None
        assert fragment.summary.text == "The port is 8080."
        assert fragment.summary.model == "scripted"
        assert context.log.get(context.depth).receipt.cost_tokens == 920
        assert outcome.answer.text == "8080"


def test_a_summary_that_fails_leaves_the_original() -> None:
    for awaiting in (False, True):
        context, model = summarized(lambda request: UpstreamStatus(500, b""))
        outcome = drive_summary(context, model, awaiting=awaiting)
        assert next(context.fragments()).status == "visible"
        told = orjson.loads(context.steps[-1].messages[1].text)
        assert told["error"] == "NOT_SUMMARIZED"
        assert outcome.answer.text == "8080"


def test_needs_are_answered_from_the_surroundings() -> None:
    hit = RankedHit(request_of(HISTORY).messages[0].hash, 0, 0, 4, 1.0)

    class Embedder:
        name = "letters"

        def embed(self, texts: Sequence[str]) -> list[list[float]]:
            return [[float(len(text))] for text in texts]

    around = Surroundings(ranked=lambda need: [hit], embedder=Embedder())
    assert local_answer(NeedRanked((), "port", 5), around) == [hit]
    assert local_answer(NeedEmbeddings(("ab", "c")), around) == [[2.0], [1.0]]
    assert local_answer(NeedEmbeddings(("ab",)), surroundings()) is None


def test_an_embedder_that_must_be_awaited_goes_before_the_other() -> None:
    asked: list[Sequence[str]] = []

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        asked.append(texts)
        if len(asked) > 1:
            raise UpstreamBroken("the line is down")
        return [[float("port" in text), 1.0] for text in texts]

    request = request_of(HISTORY)
    context = context_of(request.messages)
    search = call("search_context", queries=["port"], mode="semantic")
    model = ScriptedModel(calls(search), calls(search), says("8080"))
    turn = run_turn(context, request, toolset("full"), budget=Budget(), clock=lambda: 0.0)

    async def main() -> None:
        around = Surroundings(ranked=lambda need: [], embed=embed)
        async for _ in drive(turn, model.awaiting, around, keep=keep, summary_request=summary):
            pass

    asyncio.run(main())
    first, second = (orjson.loads(step.messages[1].text) for step in context.steps)
    assert first["results"][0]["hits"][0]["message"] in (0, 2)
    assert second["error"] == "NO_EMBEDDER"
    assert len(asked) == 2


class Down:
    """An embedder and summarizer whose line is down."""

    name = "down"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise UpstreamBroken("the line is down")

    def summarize(self, jobs: Sequence[SummaryJob]) -> list[Summary]:
        raise UpstreamBroken("the line is down")


def test_an_embedder_or_summarizer_that_fails_gives_nothing() -> None:
    around = Surroundings(ranked=lambda need: [], embedder=Down(), summarizer=Down())
    assert local_answer(NeedEmbeddings(("ab",)), around) is None
    job = SummaryJob(fragment_id="f12345", text="x", focus="y", tokens=300)
    assert local_answer(NeedSummaries((job,)), around) == Summaries({}, "none")
    with pytest.raises(TypeError, match="nothing answers"):
        local_answer(NeedSummaries((job,)), Surroundings(ranked=lambda need: []))


def begin(request: Any) -> Any:
    return run_turn(
        context_of(request.messages),
        request,
        toolset("full"),
        budget=Budget(),
        clock=lambda: 0.0,
    )


async def keep(step: Any, usage: Any) -> None:
    del step, usage


def summary(jobs: Sequence[SummaryJob]) -> ModelRequest:
    messages = format_jobs(jobs)
    value = {"model": "m", "messages": messages, "purpose": "summary"}
    wires = tuple(orjson.dumps(message) for message in messages)
    return ModelRequest(
        body=orjson.dumps(value), messages=wires, tools=(), value=value, stream=False
    )


def reply_to(request: ModelRequest) -> str:
    text = orjson.loads(request.messages[-1])["content"]
    name = next(word for word in text.split() if len(word) == 6 and word.startswith("f"))
    return f"=== {name} ===\nThe port is 8080."


def summarized(answer: Any) -> tuple[Any, ScriptedModel]:
    """Return a context with one fragment, and a model that asks for its summary."""
    request = request_of(HISTORY)
    context = context_of(request.messages)

    def reply(sent: ModelRequest) -> Any:
        if sent.value.get("purpose") == "summary":
            return answer(sent)
        if not list(context.fragments()):
            return calls(call("fragment_context", num_fragments=1))
        if len(context.steps) == 1:
            return calls(call("summarize_fragment", fragment_ids=["all"], focus="the port"))
        return says("8080")

    return context, ScriptedModel(reply)


def drive_summary(context: Any, model: ScriptedModel, *, awaiting: bool) -> Turn:
    request = request_of(HISTORY)
    turn = run_turn(context, request, toolset("full"), budget=Budget(), clock=lambda: 0.0)
    around = Surroundings(ranked=lambda need: [])
    if not awaiting:
        items: Iterator[Any] = drive_blocking(turn, model, around, summary_request=summary)
        return list(items)[-1]

    async def run_it() -> Turn:
        driven: AsyncIterator[Any] = drive(
            turn, model.awaiting, around, keep=keep, summary_request=summary
        )
        return [item async for item in driven][-1]

    return asyncio.run(run_it())


def test_a_completed_alone_is_an_answer() -> None:
    request = request_of(HISTORY)
    whole = Completed(message={"role": "assistant", "content": "8080"}, finish_reason="stop")
    _, turn = run(context_of(request.messages), request, ScriptedModel([whole]))
    assert turn.answer.message["content"] == "8080"


class Hanging:
    """A model that begins an answer and never goes on; it knows whether it was let go."""

    def __init__(self) -> None:
        self.is_closed = False

    def stream(self, request: ModelRequest) -> "Hanging":
        return self

    def __aiter__(self) -> "Hanging":
        return self

    async def __anext__(self) -> Event:
        await asyncio.Event().wait()
        raise AssertionError

    async def aclose(self) -> None:
        self.is_closed = True


def test_a_summary_given_up_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["sculptor.loop.drive"]  # the package gives its function that name
    monkeypatch.setattr(module, "SUMMARY_TIMEOUT_S", 0.01)
    job = SummaryJob(fragment_id="f00000", text="text", focus="all", tokens=1)
    model, jobs = Hanging(), (job,)
    made: list[Summaries] = []

    def turn() -> Generator[Any, Any, Turn]:
        made.append((yield NeedSummaries(jobs)))
        completed = says("8080")
        assert isinstance(completed, Completed)
        return turn_of(completed)

    async def main() -> None:
        around = surroundings()._replace(summarizer=None)
        async for _ in drive(turn(), model, around, keep=keep, summary_request=summary):
            pass

    asyncio.run(main())
    assert made == [Summaries({}, "none")]
    assert model.is_closed
