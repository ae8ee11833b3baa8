"""The mixer over kernels is the mixer over plain PyTorch, gradients included."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.layers.step import step_mixer
from sculptor.mom.ops.rules import UpdateRule
from tests.mom.helpers import offsets, random_state, relative

WIDE = MixerConfig(d_model=20, heads=2, key_dim=16, value_dim=32)


@pytest.mark.parametrize(
    "config",
    [
        WIDE,
        replace(WIDE, conv="memory", rule=UpdateRule.DELTA),
        replace(WIDE, conv="memory", beta_max=2.0),
        replace(WIDE, read="dense", gate="sigmoid"),
        replace(WIDE, read="keyed"),
        replace(WIDE, rule=UpdateRule.RETNET),
        replace(WIDE, memories=0, top_k=0),
    ],
    ids=["before", "delta", "memory", "dense", "keyed", "retnet", "shared"],
)
def test_kernels_and_plain_form_agree(config: MixerConfig) -> None:
    torch.set_default_dtype(torch.float32)
    mixer = Mixer(config)
    lengths = [21, 0, 2]
    x = torch.randn(23, 20, requires_grad=True)
    state = random_state(mixer, 3)
    results = []
    for backend in ("torch", "triton"):
        mixer.backend = backend
        y, after, _ = mixer(x, cu_seqlens=offsets(lengths), state=state)
        wrt = [x, *(p for p in mixer.parameters() if p.numel())]
        loss = (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum() + after.memories.sum()
        gradients = torch.autograd.grad(loss, wrt, allow_unused=True)
        stepped = state.snapshot()
        z = step_mixer(mixer, torch.ones(3, 20), state=stepped)
        results.append([y, *after.tensors(), *gradients, z, *stepped.tensors()])
    for one, two in zip(*results, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            assert relative(two.detach(), one.detach()) < 2e-5


@pytest.mark.parametrize("conv", ["before", "memory"])
def test_a_pass_that_begins_and_ends_without_a_state_gives_the_same_bits(conv) -> None:
    torch.set_default_dtype(torch.float32)
    mixer = Mixer(replace(WIDE, conv=conv, heads=1, memories=2, top_k=1))
    mixer.backend = "triton"
    x = torch.randn(9, 20, requires_grad=True)
    empty = mixer.new_state(3)
    wrt = [x, *(p for p in mixer.parameters() if p.numel())]
    results, states = [], []
    for how in ({}, {"fresh": True, "carries": False}):
        y, after, _ = mixer(x, cu_seqlens=offsets([7, 0, 2]), state=empty, **how)
        results.append([y, *torch.autograd.grad(y.square().sum(), wrt)])
        states.append(after)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert states[1] is empty
    with torch.no_grad():
        _, after, _ = mixer(x, cu_seqlens=offsets([7, 0, 2]), state=empty, fresh=True)
    kept, same = states[0].tensors(), after.tensors()
    assert all(torch.equal(a, b) for a, b in zip(kept, same, strict=True))


def test_without_a_state_none_is_read_and_none_is_written() -> None:
    """States of what is no number would show in every output and gradient."""
    torch.set_default_dtype(torch.float32)
    mixer = Mixer(WIDE)
    mixer.backend = "triton"
    state = replace(mixer.new_state(1), memories=torch.full((1, 5, 2, 16, 32), torch.nan))
    x = torch.randn(9, 20, requires_grad=True)
    y, _, _ = mixer(x, cu_seqlens=offsets([9]), state=state, fresh=True, carries=False)
    assert torch.isfinite(torch.autograd.grad(y.sum(), x)[0]).all()


@pytest.mark.parametrize(
    ("key", "value", "runs"),
    [(64, 64, True), (16, 16, True), (32, 64, True), (48, 64, False), (64, 48, False)],
)
def test_by_itself_a_gpu_runs_the_kernels_at_proven_widths_alone(key, value, runs) -> None:
    mixer = Mixer(replace(WIDE, key_dim=key, value_dim=value))
    with_gpu = SimpleNamespace(is_cuda=True)
    assert mixer.uses_kernels(with_gpu) is runs
    mixer.backend = "triton"
    assert mixer.uses_kernels(with_gpu)
