"""Small builders that several of these tests share."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer, MixerState
from sculptor.mom.layers.naive import naive_mixer
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM

LAYER = MixerConfig(d_model=10, heads=2, key_dim=4, value_dim=6, chunk=8)
MODEL = MomConfig(
    vocab_size=19,
    d_model=16,
    layers=3,
    mlp_width=24,
    heads=2,
    key_dim=4,
    value_dim=6,
    attention_layers=(1,),
    attention_heads=2,
    window=5,
    chunk=4,
)
VARIANTS = [
    replace(MODEL, attention_layers=()),
    replace(MODEL, conv="memory", attention_layers=()),
    replace(MODEL, read="dense", attention_layers=()),
    replace(MODEL, read="keyed", attention_layers=()),
    MODEL,
]


def offsets(lengths: Sequence[int]) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)])


def random_state(mixer: Mixer, sequences: int) -> MixerState:
    return mixer.new_state(sequences).map(torch.randn_like)


def lively(model: MomForCausalLM) -> MomForCausalLM:
    """Blow the weights up, so that every path matters to the output."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "conv" not in name:
                weight.mul_(5.0)
    return model


def one_by_one(
    mixer: Mixer, x: Tensor, *, cu: Tensor, state: MixerState
) -> tuple[Tensor, MixerState]:
    """Run the oracle over every sequence and put the results back together."""
    rows, states = [], []
    for i in range(len(cu) - 1):
        y, after = naive_mixer(mixer, x[cu[i] : cu[i + 1]], state=state.select(torch.tensor([i])))
        rows.append(y)
        states.append(after)
    merged = [torch.cat(parts) for parts in zip(*(s.tensors() for s in states), strict=True)]
    return torch.cat(rows), MixerState(memories=merged[0], tails=tuple(merged[1:]))


def relative(got: Tensor, want: Tensor) -> float:
    """Return the relative root-mean-square error."""
    return float((got - want).norm() / want.norm().clamp(min=1e-30))
