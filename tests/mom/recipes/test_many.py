"""A lane learns what a run alone learns, is cut and resumed, and shares its batches."""

from dataclasses import replace

import pytest
import torch

from sculptor.mom.recipes.many import Lane, examine, run_lanes
from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.recipe import recipe_from_dict
from sculptor.mom.recipes.tasks import Overwrite
from sculptor.mom.recipes.train import Trainer

TABLES = {
    "model": {
        "vocab_size": 17, "d_model": 16, "layers": 2, "mlp_width": 16, "heads": 2,
        "key_dim": 4, "value_dim": 4, "chunk": 8,
    },
    "task": {"kind": "overwrite", "keys": 2, "updates": 3, "vocab_size": 17},
    "train": {
        "steps": 6, "batch": 4, "rate": 3e-3, "optimizer": "muon", "dtype": "float64",
        "warmup": 2, "eval_batches": 1,
    },
}  # fmt: skip
CPU = torch.device("cpu")


def _recipe(*, rate: float = 3e-3, seed: int = 0):
    recipe = recipe_from_dict(TABLES)
    return replace(recipe, train=replace(recipe.train, rate=rate, seed=seed))


def _weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_a_lane_in_company_learns_what_a_run_alone_learns(tmp_path) -> None:
    recipes = [_recipe(), _recipe(rate=1e-2), _recipe(seed=1)]
    lanes = [Lane(recipe, device=CPU) for recipe in recipes]
    assert run_lanes(lanes)
    for i, (recipe, lane) in enumerate(zip(recipes, lanes, strict=True)):
        trainer = Trainer(recipe, folder=tmp_path / str(i), place=Place(device=CPU))
        trainer.run()
        for one, two in zip(_weights(lane.model), _weights(trainer.model), strict=True):
            torch.testing.assert_close(one, two)
        score = trainer.evaluate(batches=2)
        seen = examine(lane.model, task=lane.task, seed=recipe.train.seed, examples=4, batches=2)
        assert (seen.right, seen.asked, seen.load) == (score.right, score.asked, score.load)


def test_a_cut_lane_goes_on_to_the_same_weights() -> None:
    whole = Lane(_recipe(), device=CPU)
    run_lanes([whole])
    first = Lane(_recipe(), device=CPU)
    ticks = iter(range(100))
    assert not run_lanes([first], seconds=2, clock=lambda: float(next(ticks)))
    assert 0 < first.step < 6
    second = Lane(_recipe(), device=CPU)
    second.load_state_dict(first.state_dict())
    assert run_lanes([second])
    for one, two in zip(_weights(second.model), _weights(whole.model), strict=True):
        assert torch.equal(one, two)


def test_lanes_of_one_stream_share_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    original = Overwrite.make

    def make(self, rng, **how):
        drawn.append(self)
        return original(self, rng, **how)

    monkeypatch.setattr(Overwrite, "make", make)
    run_lanes([Lane(_recipe(rate=r), device=CPU) for r in (1e-3, 2e-3, 3e-3)])
    assert len(drawn) == 6
