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
    ablations.note_command(tmp_path)
    ablations.train(study)
    folder = study.folder("one memory")
    made = (folder / "checkpoint.pt").stat().st_mtime_ns
    ablations.train(study)
    assert (folder / "checkpoint.pt").stat().st_mtime_ns == made
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
