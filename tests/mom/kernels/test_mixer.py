"""The mixer over kernels is the mixer over plain PyTorch, gradients included."""

from dataclasses import replace

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
        replace(WIDE, rule=UpdateRule.RETNET),
        replace(WIDE, memories=0, top_k=0),
    ],
    ids=["before", "delta", "memory", "dense", "retnet", "shared"],
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
