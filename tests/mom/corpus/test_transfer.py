"""The policies that training teaches answer the evaluations' own prompts in full, at any length.

What the model must do after training is written here by a program: look up what is asked for by the
corpus's own moves, and copy what stands behind the last occurrence of the query.
"""

import orjson
import pytest

from sculptor.evals.registry import find_task
from sculptor.mom.recipes.corpus.families import tool_logs, updates
from sculptor.mom.recipes.corpus.moves import Ask, look_up
from sculptor.mom.recipes.corpus.rollout import play
from sculptor.mom.recipes.corpus.scene import Scene, Turn, say

STEPS = 20
"""What a turn of the product may take."""


def _worked(sample, asks, options):
    turn = Turn(
        said=tuple(sample.messages),
        direct=say(""),
        tools=look_up(asks, options=options),
    )
    scene = Scene(family="eval", turns=(turn,), tools=tuple(sample.tools))
    return play(scene, form="tools", seed=3)


def _found(played) -> dict[str, str]:
    """Return each query with what stands in its excerpt."""
    answers = [m for m in map(orjson.loads, played.steps[-1].view) if m["role"] == "tool"]
    results = [
        orjson.loads(m["content"]).get("results", ()) for m in answers if m["content"][0] == "{"
    ]
    return {
        row["query"]: row["hits"][0]["text"] for rows in results for row in rows if "query" in row
    }


@pytest.mark.parametrize("cell", [0, 2, 4])
def test_every_last_value_of_a_stream_is_found(cell) -> None:
    task = find_task("pi-llm-sculptor")
    sample = task.sample(task.draw(cell))
    asks = [
        Ask(query=f"; {key}: ", line=f"The current value of {key} is {value}.", onward=f"{key}, ")
        for key, value in sample.reference.items()
    ]
    played = _worked(sample, asks, updates.OPTIONS)
    found = _found(played)
    for ask, value in zip(asks, sample.reference.values(), strict=True):
        assert found[ask.query].rpartition(ask.query)[2].startswith(f"{value};")
    assert len(asks) == 46
    assert len(played.steps) <= STEPS
    told = [orjson.loads(step.completion)["content"] or "" for step in played.steps]
    score = task.score("\n\n".join(filter(None, told)), sample.reference, params=sample.params)
    assert score.value == 1.0


def test_the_view_after_putting_away_does_not_grow_with_the_stream() -> None:
    task = find_task("pi-llm-sculptor")
    sizes = []
    for cell in (2, 5):
        sample = task.sample(task.draw(cell))
        asks = [Ask(query=f"; {key}: ", line=str(v)) for key, v in sample.reference.items()]
        played = _worked(sample, asks[:6], updates.OPTIONS)
        sizes.append(sum(map(len, played.steps[-1].view)))
    assert max(sizes) < 1.2 * min(sizes)


@pytest.mark.parametrize("cell", [0, 1, 2])
def test_every_setting_that_holds_is_found(cell) -> None:
    task = find_task("tool-log")
    sample = task.sample(task.draw(cell))
    names = {item: item.split(".") for item in sample.reference}
    asks = [
        Ask(query=f'{unit}"[^}}]*{field}"', line=f"{item} = {sample.reference[item]}")
        for item, (unit, field) in names.items()
    ]
    played = _worked(sample, asks, tool_logs.OPTIONS)
    found = _found(played)
    for ask, (item, (_, field)) in zip(asks, names.items(), strict=True):
        shown = found[ask.query].rpartition(f'"{field}": ')[2]
        assert shown.startswith(sample.reference[item])
    assert len(played.steps) <= STEPS
