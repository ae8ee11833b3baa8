from dataclasses import replace

import pytest
import torch

from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.recipes.optim import Muon, make_optimizers, orthogonalise, rate_at
from sculptor.mom.recipes.recipe import TrainSettings
from tests.mom.helpers import MODEL

SETTINGS = TrainSettings(steps=100, batch=4, rate=1e-2, warmup=10)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (3, 6, 6)])
def test_orthogonalise_brings_singular_values_near_one(shape) -> None:
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert values.min() > 0.3
    assert values.max() < 1.4


def test_muon_walks_downhill() -> None:
    goal, weight = torch.randn(6, 4), torch.nn.Parameter(torch.zeros(6, 4))
    optimizer = Muon([weight], lr=0.05, weight_decay=0.0)
    before = float((weight.detach() - goal).square().sum())
    for _ in range(200):
        (weight - goal).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float((weight.detach() - goal).square().sum()) < 0.1 * before


def test_muon_decays_a_weight_by_rate_and_decay() -> None:
    """A gradient of nothing moves nothing; what is left is the decay."""
    weight = torch.nn.Parameter(torch.ones(3, 4))
    weight.grad = torch.zeros(3, 4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 4), 0.95))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_weight_is_in_one_group_and_vectors_never_decay(name) -> None:
    model = MomForCausalLM(replace(MODEL, conv="memory"))
    optimizers = make_optimizers(model, replace(SETTINGS, optimizer=name))
    groups = [g for o in optimizers for g in o.param_groups]
    held = [id(p) for g in groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    decays = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    for label, p in model.named_parameters():
        bare = p.dim() < 2 or "conv" in label or "router" in label
        assert (decays[id(p)] == 0) == bare, label


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    for schedule in ("linear", "cosine"):
        settings = replace(SETTINGS, schedule=schedule)
        assert rate_at(0, settings) == pytest.approx(1e-3)
        assert rate_at(10, settings) == pytest.approx(1e-2)
        assert rate_at(55, settings) == pytest.approx(5.5e-3)
        assert rate_at(100, settings) == pytest.approx(1e-3)
    assert rate_at(99, replace(SETTINGS, schedule="constant")) == pytest.approx(1e-2)
