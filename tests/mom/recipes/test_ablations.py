"""A shortened study: an arm is trained, exported, examined and told, once."""

import json
import sys
import time
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"


@pytest.fixture
def ablations(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import ablations

    yield ablations
    del sys.modules["ablations"]


def test_an_arm_is_trained_and_examined_once(ablations, tmp_path, capsys) -> None:
    arms = {name: ablations.ARMS[name] for name in ("one memory",)}
    study = ablations.Study(
        out=tmp_path, recipe=RECIPES / "language_small.toml", steps=2,
        until=time.monotonic() + 300, exam_seconds=2, exam_processes=1, workers=1, arms=arms,
    )  # fmt: skip
    ablations.run_study(study, gpus=0)
    ablations.run_study(study, gpus=0)
    capsys.readouterr()
    (row,) = ablations.read_rows(tmp_path)
    assert (row["arm"], row["steps"]) == ("one memory", 2)
    assert row["asked"] > 0
    assert row["trained_families"]["n"] > 0
    recipe = json.loads((tmp_path / "one_memory.json").read_text())
    assert recipe["model"]["memories"] == 0
    assert recipe["train"]["steps"] == 2
    ablations.write_pages(tmp_path)
    assert "| one memory | 2 |" in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "result.json").read_text())["arms"] == [row]


def test_every_arm_is_a_model(ablations, tmp_path) -> None:
    from sculptor.mom.recipes.recipe import recipe_from_dict

    study = ablations.Study(
        out=tmp_path, recipe=RECIPES / "language_b.toml", steps=900, until=0, exam_seconds=0,
        exam_processes=1, workers=1, arms=ablations.ARMS,
    )  # fmt: skip
    recipes = [recipe_from_dict(ablations._recipe(study, arm)) for arm in ablations.ARMS.values()]
    assert len({json.dumps(recipe.to_dict()) for recipe in recipes}) == len(recipes)
    assert [stage.get("until") for stage in recipes[0].task["stages"]] == [135, 360, None]
