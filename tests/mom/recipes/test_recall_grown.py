"""A plan that grows: which pairs a step draws, and a tiny study that is cut and goes on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"
PLAN = """
grow = [[1, 2], [2, 3]]
examine = [1, 2]
rates = [1e-3, 1e-2]
seeds = [0, 1]
[model]
vocab_size = 13
d_model = 8
layers = 1
mlp_width = 8
heads = 1
key_dim = 4
value_dim = 4
[task]
kind = "mqar"
pairs = 2
length = 6
vocab_size = 13
[train]
steps = 5
batch = 4
rate = 1.0
[arms.mom]
"""


@pytest.fixture
def recall_grown(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import recall_grown

    yield recall_grown
    del sys.modules["recall_grown"]


def test_pairs_follow_from_the_step_and_tokens_stay(recall_grown) -> None:
    task = recall_grown.GrowingMqar(stages=((2, 10), (4, 5)), vocab_size=13)
    assert task.length == 12
    for step, pairs in ((0, 2), (9, 2), (10, 4), (99, 4), (None, 4)):
        batch = task.make(np.random.default_rng(0), examples=3, step=step)
        assert batch.tokens.shape == (3 * 4 // pairs, 3 * pairs)
        assert batch.weights.sum() == 3 * 4  # as many queries at every stage


def test_a_study_examines_every_count_of_pairs_and_resumes(tmp_path: Path) -> None:
    path, out = tmp_path / "tiny.toml", tmp_path / "out"
    path.write_text(PLAN)
    command = [sys.executable, str(RECIPES / "recall_grown.py"), str(path), "--out", str(out)]
    first = subprocess.run(command, check=True, timeout=100, capture_output=True, text=True)
    assert len(first.stdout.splitlines()) == 3
    told = json.loads((out / "result.json").read_text())
    for pairs in ("1", "2"):
        runs = told["pairs"][pairs]["runs"]
        assert len(runs) == 3
        assert {run["asked"] for run in runs} == {16 * 4 * 2}
        (row,) = told["pairs"][pairs]["summary"]
        assert (row["arm"], row["seeds"]) == ("mom", 2)
    rates = {n: told["pairs"][n]["summary"][0]["rate"] for n in ("1", "2")}
    assert rates["1"] == rates["2"]  # chosen once, on the last count of pairs
    assert "mom" in (out / "plot.svg").read_text()
    again = subprocess.run(command, check=True, timeout=100, capture_output=True, text=True)
    assert again.stdout == ""
    assert json.loads((out / "result.json").read_text()) == told


def test_a_mistaken_plan_names_its_file(recall_grown, tmp_path: Path) -> None:
    for text, says in (
        (PLAN.replace("[2, 3]", "[3, 3]"), "last stage"),
        (PLAN.replace("[1, 2]", "[4, 2]", 1), "divide"),
    ):
        path = tmp_path / "bad.toml"
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"bad.toml.*{says}"):
            recall_grown.load_grown(path)
