"""Whatever a stranger writes into a draw, the answer is a prompt or a clear error."""

import contextlib
import copy
import random

import pytest

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields
from sculptor.evals.registry import find_task
from sculptor.evals.types import Json

JUNK: list[Json] = [
    None,
    True,
    -1,
    0,
    1.5,
    float("nan"),
    float("inf"),
    1e300,
    "",
    "x",
    "12",
    [],
    [1],
]
JUNK += [["a"], {}, {"a": 1}, [["a", "b"]], "É", -(10**9), 10**40, "1" * 5000]
NAMES = ["pi-llm-keys", "needlebench-v2-single-4k", "needlebench-v1-multi-retrieval-4k"]
NAMES += ["needlebench-v2-multi-reasoning-4k", "needlebench-v2-atc", "needlebench-v1-atc"]
NAMES += ["mrcr-own", "ruler-own-vt", "tool-log"]


@pytest.mark.parametrize("name", NAMES)
def test_junk_in_a_draw_never_crashes(name: str) -> None:
    task, rng = find_task(name), random.Random(name)
    drawn = dict(task.draw(0))
    for _ in range(60):
        draw = copy.deepcopy(drawn)
        for field in rng.sample(sorted(draw), 2):
            inner = draw[field]
            if isinstance(inner, list) and inner and rng.random() < 0.5:
                inner[rng.randrange(len(inner))] = rng.choice(JUNK)
            elif isinstance(inner, dict) and inner:
                inner[rng.choice(list(inner))] = rng.choice(JUNK)
            else:
                draw[field] = rng.choice(JUNK)
        with contextlib.suppress(EvalError):
            assert task.sample(draw).messages


@pytest.mark.parametrize(("value", "number"), [(7, 7), (7.0, 7), ("7", 7), ("7.0", 7), ("0", 0)])
def test_numbers(value: Json, number: int) -> None:
    assert Fields({"n": value}).number("n") == number


@pytest.mark.parametrize("value", [True, "x", 1.5, "1.5", -1, 10**12, [], float("inf")])
def test_what_is_no_number(value: Json) -> None:
    with pytest.raises(EvalError, match="'n' must be a whole number"):
        Fields({"n": value}).number("n")


def test_other_kinds() -> None:
    fields = Fields({"a": "off", "b": 1, "c": "one", "d": ["x", 3], "params": {"e": [1, "2"]}})
    assert fields.flag("a", default=True) is False
    assert fields.flag("b", default=False) is True
    assert fields.flag("z", default=True) is True
    assert fields.texts("c") == ("one",)
    assert fields.numbers("e") == (1, 2)
    assert fields.numbers("z") is None
    for wrong in (lambda: fields.flag("c", default=True), lambda: fields.texts("d")):
        with pytest.raises(EvalError):
            wrong()
    with pytest.raises(EvalError, match="also read as y"):
        fields.text("x", "y")
