"""What the corpus shows a model is what the product's loop shows it, call for call."""

import random
from collections.abc import Iterator

import orjson
import pytest

from sculptor.chat import Completed
from sculptor.context import Context
from sculptor.loop import (
    Budget,
    Event,
    MessageCache,
    ModelRequest,
    Surroundings,
    Turn,
    deltas_of,
    drive_blocking,
    read_request,
    run_turn,
)
from sculptor.mom.recipes.corpus import Scene
from sculptor.mom.recipes.corpus.families import chains, needles, tool_logs, updates
from sculptor.mom.recipes.corpus.rollout import play
from sculptor.tokens import TokenCounter
from sculptor.tools import toolset


class Replay:
    """A model that says again what a policy said, and notes what it was sent."""

    def __init__(self, completions: list[bytes]) -> None:
        self._left = [orjson.loads(completion) for completion in completions]
        self.seen: list[ModelRequest] = []

    def stream(self, request: ModelRequest) -> Iterator[Event]:
        self.seen.append(request)
        message = self._left.pop(0)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        completed = Completed(message=message, finish_reason=reason)
        yield from deltas_of(completed)
        yield completed


def _plain(messages) -> list[dict[str, object]]:
    """Return messages without the ids of calls, which the loop mints anew."""
    plain = []
    for message in messages:
        value = orjson.loads(message)
        value.pop("tool_call_id", None)
        value["tool_calls"] = [call["function"] for call in value.get("tool_calls") or ()]
        plain.append(value)
    return plain


@pytest.mark.parametrize("draw", [updates.draw, needles.draw, chains.draw, tool_logs.draw])
def test_the_loop_sends_the_same_views_and_tools(draw) -> None:
    for seed in range(5):
        drawn = draw(random.Random(seed), chars=(4_000, 12_000)[seed % 2])
        scene = Scene(family=drawn.family, turns=drawn.turns[:1], tools=drawn.tools)
        played = play(scene, form="tools", seed=seed)
        body = {"model": "m", "messages": list(scene.turns[0].said)}
        body |= {"tools": list(scene.tools)} if scene.tools else {}
        request = read_request(orjson.dumps(body), MessageCache())
        context = Context(seed=seed.to_bytes(8, "big"), counter=TokenCounter())
        context.extend(request.messages)
        model = Replay([step.completion for step in played.steps])
        turn = run_turn(context, request, toolset("full"), budget=Budget(), clock=lambda: 0.0)
        around = Surroundings(ranked=lambda need: ())
        *_, last = drive_blocking(turn, model, around, summary_request=lambda jobs: None)
        assert len(model.seen) == len(played.steps)
        for sent, step in zip(model.seen, played.steps, strict=True):
            assert _plain(sent.messages) == _plain(step.view)
        tools = orjson.loads(model.seen[0].body)["tools"]
        assert tools == [dict(tool) for tool in played.instances[0].tools]
        assert isinstance(last, Turn)
        told = [orjson.loads(step.completion)["content"] for step in played.steps]
        assert last.answer.message["content"] == "\n\n".join(filter(None, told))
