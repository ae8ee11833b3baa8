"""An exam counts what a model tells, what it calls, and what is refused."""

from collections.abc import Sequence

import orjson
import pytest

from sculptor.mom.recipes.corpus import FAMILIES, HELD_OUT, Form, Mix, examine, make_sample
from sculptor.mom.recipes.corpus.exam import MAX_STEPS, NOT_EXAMINED


class Replay:
    """Writes again what a policy said."""

    def __init__(self, completions: Sequence[bytes]) -> None:
        self._left = [orjson.loads(completion) for completion in completions]

    def __call__(self, messages, *, tools):
        return self._left.pop(0)


@pytest.mark.parametrize("form", ["direct", "tools"])
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - NOT_EXAMINED))
def test_the_policy_itself_passes(name, form: Form) -> None:
    mix = Mix(
        families={name: 1},
        chars={400: 1, 5_000: 1},
        tools=float(form == "tools"),
        folded=0.0,
    )
    calls = 0
    for index in range(6):
        sample = make_sample(8, index, mix=mix)
        steps = [s.completion for s in sample.played.steps]
        turns = examine(sample.scene, Replay(steps), form=form, seed=1)
        assert [turn.is_right for turn in turns] == [True] * len(sample.scene.turns)
        assert sum(turn.refused for turn in turns) == len(sample.played.planted)
        calls += sum(turn.calls for turn in turns) - len(sample.played.planted)
    assert bool(calls) == (form == "tools" and name not in ("chat", "client_calls"))


def test_a_wrong_answer_fails_and_the_next_turn_goes_on() -> None:
    mix = Mix(families={"chat": 1}, chars={100: 1}, tools=0.0)
    sample = next(
        s for s in (make_sample(1, n, mix=mix) for n in range(99)) if len(s.scene.turns) > 1
    )
    steps = [s.completion for s in sample.played.steps]
    steps[0] = orjson.dumps({"role": "assistant", "content": "Never heard of it."})
    turns = examine(sample.scene, Replay(steps), form="direct", seed=1)
    assert [turn.is_right for turn in turns] == [False] + [True] * (len(turns) - 1)
    assert turns[0].told == "Never heard of it."


def test_a_model_that_only_calls_is_stopped() -> None:
    sample = make_sample(1, 0, mix=Mix(families={"chat": 1}, tools=1.0))
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "fold_fragment", "arguments": '{"fragment_ids":["f00000"]}'},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    turns = examine(sample.scene, lambda messages, tools: message, form="tools", seed=1)
    assert not turns[0].is_right
    assert turns[0].calls == turns[0].refused == MAX_STEPS + 1


def test_what_is_held_out_is_in_no_mix() -> None:
    assert set(Mix().families).isdisjoint(HELD_OUT)
    assert set(FAMILIES) > HELD_OUT


def test_what_only_receipts_can_tell_is_not_examined() -> None:
    sample = make_sample(0, 0, mix=Mix(families={"requests": 1}))
    with pytest.raises(ValueError, match="no answer that is known beforehand"):
        examine(sample.scene, Replay([]), form="tools", seed=0)
