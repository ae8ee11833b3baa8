import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.recall import best_rate, load_plan, load_results, run_plan

HERE = Place(device=torch.device("cpu"))
PLAN = """
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
steps = 2
batch = 4
rate = 1.0
eval_every = 1
[arms.mom]
[arms.single]
memories = 0
top_k = 0
"""


@pytest.fixture
def plan(tmp_path: Path):
    path = tmp_path / "tiny.toml"
    path.write_text(PLAN, encoding="utf-8")
    return load_plan(path)


def test_a_plan_sweeps_the_rate_then_runs_the_seeds_and_resumes(plan, tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / "out"
    results = run_plan(plan, folder=folder, place=HERE, tell=told.append)
    assert len(told) == len(results) == 6
    for arm in ("mom", "single"):
        best = best_rate(results, arm=arm, seed=0)
        assert {(r.rate, r.seed) for r in results if r.arm == arm} == {
            (1e-3, 0), (1e-2, 0), (best, 1)
        }  # fmt: skip
    assert load_results(folder) == results
    again = run_plan(plan, folder=folder, place=HERE, tell=told.append)
    assert again == results
    assert len(told) == 6
    summary = json.loads((folder / "result.json").read_text())["summary"]
    assert [(row["arm"], row["seeds"]) for row in summary] == [("mom", 2), ("single", 2)]
    low, high = summary[0]["t_interval_95"]
    assert low <= summary[0]["accuracy"] <= high
    assert summary[0]["state_bytes"] > summary[1]["state_bytes"]
    assert "mom" in (folder / "plot.svg").read_text()


def test_the_lower_rate_wins_a_tie(plan, tmp_path: Path) -> None:
    run = run_plan(replace(plan, seeds=(0,), arms={"mom": {}}), folder=tmp_path / "o", place=HERE,
                   tell=lambda _: None)[0]  # fmt: skip
    assert best_rate([replace(run, rate=r) for r in (0.3, 0.1, 0.2)], arm="mom", seed=0) == 0.1


def test_a_mistaken_plan_names_its_file(tmp_path: Path) -> None:
    for text, says in (
        (PLAN.replace("rates", "rats"), "no rates"),
        (PLAN.replace("memories = 0", "memories = 1").replace("top_k = 0", "top_k = 9"), "top_k"),
    ):
        path = tmp_path / "bad.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=rf"bad\.toml.*{says}"):
            load_plan(path)
