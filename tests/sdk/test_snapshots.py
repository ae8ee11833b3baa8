"""Training instances: each completion carries loss once, under the view that produced it.

Acceptance test 8 of the specification.
"""

import asyncio
import random
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.context import Context
from sculptor.loop import Budget, ModelRequest, drive_blocking, run_turn
from sculptor.messages import parse_message
from sculptor.sdk.snapshots import RolloutStep, Trace, TrainingInstance, training_instances
from sculptor.tools import toolset
from tests.loop.scripted import (
    FILLER,
    ScriptedModel,
    call,
    calls,
    context_of,
    request_of,
    says,
    surroundings,
)

HISTORY = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": FILLER * 20 + "port: 8080\n" + FILLER * 20},
    {"role": "assistant", "content": "port: 9090; " * 150},
    {"role": "user", "content": "Which port?"},
]
SEARCH = call("search_context", queries=["port"])
FOLD = call("fragment_context", num_fragments=2, fold_except=[])


def rollout(model: ScriptedModel, *, ledger: bool = True) -> tuple[Context, Trace]:
    """Run a turn with a model whose calls are traced."""
    request = request_of(HISTORY)
    context = context_of(request.messages)
    trace = Trace(context)
    turn = run_turn(
        context,
        request,
        toolset("full"),
        budget=Budget(),
        show_ledger=ledger,
        clock=lambda: 0.0,
    )
    driven = drive_blocking(
        turn, trace.blocking(model), surroundings(), summary_request=lambda jobs: _none()
    )
    list(driven)
    return context, trace


def _none() -> ModelRequest:
    raise AssertionError


def test_a_rollout_without_edits_is_one_instance() -> None:
    _, trace = rollout(ScriptedModel(calls(SEARCH), calls(SEARCH), says("8080")))
    (instance,) = training_instances(trace.steps())
    assert [span.step for span in instance.trained] == [0, 1, 2]
    assert instance.mask == (False,) * 4 + (True, False, True, False, True)
    assert instance.weight == 1.0
    assert orjson.loads(instance.messages[-1])["content"] == "8080"


def test_a_rollout_is_cut_after_every_edit() -> None:
    _, trace = rollout(ScriptedModel(calls(SEARCH), calls(FOLD), calls(SEARCH), says("8080")))
    steps = trace.steps()
    assert [step.edits for step in steps] == [False, True, False, False]
    first, second = training_instances(steps)
    assert [span.step for span in first.trained] == [0, 1]
    assert [span.step for span in second.trained] == [2, 3]
    assert b"folded" not in first.messages[1]
    assert b"folded" in second.messages[1]
    assert first.weight == second.weight == 0.5
    masked = [m for m, trained in zip(second.messages, second.mask, strict=True) if not trained]
    assert any(b"fragment_context" in m for m in masked), "completions of before carry no loss"


def test_a_rollout_is_cut_wherever_a_view_does_not_go_on() -> None:
    def step(*view: bytes, said: bytes) -> RolloutStep:
        return RolloutStep(view=view, completion=said)

    steps = [
        step(b"q", said=b"a"),
        step(b"q", b"a", b"r", said=b"b"),
        step(b"Q", b"a", b"r", b"b", b"r", said=b"c"),
        step(b"Q", b"a", b"r", b"b", b"r", said=b"d"),
    ]
    made = training_instances(steps)
    assert [[span.step for span in each.trained] for each in made] == [[0, 1], [2], [3]]
    assert made[0].messages == (b"q", b"a", b"r", b"b")


def test_nothing_gives_nothing() -> None:
    assert training_instances([]) == []


def test_a_ledger_that_goes_away_cuts_too() -> None:
    request = request_of(HISTORY)
    context = context_of(request.messages)
    rollout_of = Trace(context)
    for reply in (calls(FOLD), calls(SEARCH)):
        model = ScriptedModel(reply, says("8080"))
        context.steps.clear()
        turn = run_turn(context, request, toolset("full"), budget=Budget(), clock=lambda: 0.0)
        driven = drive_blocking(
            turn, rollout_of.blocking(model), surroundings(), summary_request=lambda jobs: _none()
        )
        list(driven)
    assert_law(rollout_of.steps(), training_instances(rollout_of.steps()))
    assert any(b"context ledger" in m for step in rollout_of.steps() for m in step.view)


def test_a_model_that_is_awaited_is_traced_too() -> None:
    context = context_of(request_of(HISTORY).messages)
    trace = Trace(context)
    sent = ModelRequest(body=b"{}", messages=(b"q",), tools=(), value={}, stream=False)

    async def main() -> None:
        async for _ in trace.awaiting(ScriptedModel(says("8080")).awaiting).stream(sent):
            pass

    asyncio.run(main())
    (step,) = trace.steps()
    assert step.view == (b"q",)
    assert orjson.loads(step.completion)["content"] == "8080"


def random_reply(draw: random.Random, known: list[str]) -> Any:
    options = [
        SEARCH,
        FOLD,
        call("fragment_context", size_tokens=100),
        call("fold_fragment", fragment_ids=draw.sample(known, k=1)),
        call("restore_fragment", fragment_ids=["all"]),
        call("undo", operation=f"o{draw.randint(1, 4)}"),
        call("pin_fragment", fragment_ids=draw.sample(known, k=1)),
        call("search_context", queries=[]),
    ]
    made = draw.sample(options, k=draw.randint(1, 2))
    return calls(*[each | {"id": f"c{at}"} for at, each in enumerate(made)], text="Hm.")


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(0, 8), ledger=st.booleans())
def test_every_completion_is_trained_once_under_its_own_view(
    seed: int, length: int, ledger: bool
) -> None:
    draw = random.Random(seed)
    seen: list[tuple[bytes, ...]] = []

    def reply(request: ModelRequest) -> Any:
        seen.append(request.messages)
        known = ["f00000", *(leaf.id for leaf in contexts[0].fragments())]
        return says("8080") if len(seen) > length else random_reply(draw, known)

    request = request_of(HISTORY)
    contexts = [context_of(request.messages)]
    trace = Trace(contexts[0])
    turn = run_turn(
        contexts[0],
        request,
        toolset("full"),
        budget=Budget(),
        show_ledger=ledger,
        clock=lambda: 0.0,
    )
    driven = drive_blocking(
        turn,
        trace.blocking(ScriptedModel(reply)),
        surroundings(),
        summary_request=lambda jobs: _none(),
    )
    list(driven)
    steps = trace.steps()
    assert [step.view for step in steps] == seen
    assert_law(steps, training_instances(steps))


def assert_law(steps: list[RolloutStep], instances: list[TrainingInstance]) -> None:
    trained = [span.step for instance in instances for span in instance.trained]
    assert trained == list(range(len(steps)))
    for instance in instances:
        assert sum(instance.mask) == len(instance.trained)
        for span in instance.trained:
            assert instance.messages[: span.message] == steps[span.step].view
            shown = parse_message(instance.messages[span.message])
            said = parse_message(steps[span.step].completion)
            assert shown.link == said.link, "but for its ids it is what was said"
        edits = [steps[span.step].edits for span in instance.trained]
        assert not any(edits[:-1]), "nothing is trained after an edit in its instance"
    assert abs(sum(instance.weight for instance in instances) - 1) < 1e-9
