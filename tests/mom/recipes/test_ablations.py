"""A shortened study: an arm is trained, exported, examined and told, once."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"


@pytest.fixture
def ablations(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import ablations

    yield ablations
    for name in ("ablations", "ablation_pages", "ablation_run", "origin"):
        sys.modules.pop(name, None)


def test_an_arm_is_trained_once_and_asked(ablations, tmp_path, monkeypatch) -> None:
    arms = {name: ablations.ARMS[name] for name in ("one memory",)}
    study = ablations.Study(
        out=tmp_path, recipe=RECIPES / "language_small.toml", arms=arms, cards=(), seconds=300,
        steps=2, workers=1,
    )  # fmt: skip
    ablations.note_command(tmp_path, gpus=0)
    ablations.train(study)
    with monkeypatch.context() as patched:
        patched.setattr(ablations, "_run", lambda command, **_: pytest.fail(f"again: {command}"))
        ablations.train(study)
    recipe = json.loads((tmp_path / "one_memory.json").read_text())
    assert recipe["model"]["memories"] == 0
    assert recipe["train"]["steps"] == 2
    ablations.write_pages(tmp_path, {name: study.folder(name) for name in ablations.ARMS})
    (row,) = json.loads((tmp_path / "result.json").read_text())["arms"]
    assert (row["arm"], row["steps"], row["cells"]) == ("one memory", 2, [])
    assert row["asked"] > 0
    assert "| one memory | not asked |" in (tmp_path / "report.md").read_text()

    monkeypatch.setattr(ablations, "CELLS", ("tool-log:plain=1",))
    for _ in range(4):  # a slow machine begins nothing in the first seconds; it goes on
        ablations.ask(replace(study, seconds=8), processes=1, concurrency=1)
        ablations.write_pages(tmp_path, {name: study.folder(name) for name in ablations.ARMS})
        (row,) = json.loads((tmp_path / "result.json").read_text())["arms"]
        if row["cells"] and row["exam"]["trained_families"]["n"]:
            break
    assert [(cell["task"], cell["arm"]) for cell in row["cells"]] == [("tool-log", "plain")]
    assert row["exam"]["trained_families"]["n"] > 0


def test_pages_want_a_trained_arm_and_show_one_that_was_cut(ablations, tmp_path) -> None:
    folders = {name: tmp_path / name for name in ("cut", "whole")}
    with pytest.raises(ablations.EvalError, match="train one first"):
        ablations.write_pages(tmp_path, folders)
    score = {"right": 3, "asked": 4, "entropy": 1.0, "load": []}
    line = {
        "step": 5, "loss": 1.0, "balance": 2.0, "gradient_norm": 1.0, "rate": 0.1,
        "tokens_per_s": 9.0, "score": score,
    }  # fmt: skip
    for folder in folders.values():
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    ablations.note_command(tmp_path, gpus=0)
    told = {
        "steps": 10, "tokens": 640, "parameters": 7, "active": 6, "asked": 4, "entropy": 1.0,
        "token_accuracy": {"5": 0.75, "10": 0.875}, "tokens_per_s": 8_000.0,
    }  # fmt: skip
    (folders["whole"] / "trained.json").write_text(json.dumps(told))
    ablations.write_pages(tmp_path, folders)
    page = (tmp_path / "report.md").read_text()
    assert "| cut |  | in parts | 0.7500 | cut |" in page
    assert "| whole | 6 | 8k | 0.7500 | 0.8750 |" in page


def test_every_arm_is_a_model(ablations, tmp_path) -> None:
    from sculptor.mom.recipes.recipe import recipe_from_dict

    study = ablations.Study(
        out=tmp_path, recipe=RECIPES / "language_short.toml", arms=ablations.ARMS, cards=(),
        seconds=0, steps=900,
    )  # fmt: skip
    recipes = [recipe_from_dict(ablations.recipe_of(study, arm)) for arm in study.arms.values()]
    assert len({json.dumps(recipe.to_dict()) for recipe in recipes}) == len(recipes)
    assert [stage.get("until") for stage in recipes[0].task["stages"]] == [135, 360, None]
    assert recipes[0].train.eval_every == 300
