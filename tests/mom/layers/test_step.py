"""The in-place decode step is a pass over one token, states included."""

from dataclasses import replace

import pytest
import torch

from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.layers.step import step_mixer
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.packing import pack_batch
from sculptor.mom.ops.rules import UpdateRule
from tests.mom.helpers import LAYER, MODEL, lively, random_state

SHAPES = [
    LAYER,
    replace(LAYER, conv="memory"),
    replace(LAYER, read="dense"),
    replace(LAYER, read="keyed"),
    replace(LAYER, read="dense", shared=False),
    replace(LAYER, memories=0, top_k=0),
]


@pytest.mark.parametrize("rule", list(UpdateRule))
@pytest.mark.parametrize(
    "config", SHAPES, ids=["before", "memory", "dense", "keyed", "unshared", "shared"]
)
def test_a_step_is_a_pass_over_one_token(config, rule) -> None:
    mixer = Mixer(replace(config, rule=rule))
    state = random_state(mixer, 3)
    mine = state.snapshot()
    for _ in range(3):
        x = torch.randn(3, config.d_model)
        want, state, _ = mixer(x, cu_seqlens=torch.arange(4), state=state)
        got = step_mixer(mixer, x, state=mine)
        torch.testing.assert_close(got, want)
        for one, two in zip(mine.tensors(), state.tensors(), strict=True):
            torch.testing.assert_close(one, two)


def test_a_step_leaves_unpicked_memories_bit_for_bit() -> None:
    mixer = Mixer(replace(LAYER, memories=6, top_k=1))
    state = random_state(mixer, 2)
    before = state.snapshot()
    step_mixer(mixer, torch.randn(2, 10), state=state)
    same = (state.memories == before.memories).flatten(2).all(2)
    assert same.sum(1).tolist() == [5, 5]


def test_model_steps_equal_one_pass_in_hybrids_too() -> None:
    model = lively(MomForCausalLM(MODEL))
    tokens = torch.randint(19, (2, 12))
    packed = pack_batch(tokens)
    want, output = model(packed)
    state = model.new_state(2)
    got = torch.stack([model.step(tokens[:, t], state=state) for t in range(12)], dim=1)
    torch.testing.assert_close(got, want[packed.row])
    for one, two in zip(state.tensors(), output.state.tensors(), strict=True):
        torch.testing.assert_close(one, two)


def test_a_step_reads_nothing_on_the_host() -> None:
    with torch.device("meta"):
        model = MomForCausalLM(MODEL)
        logits = model.step(torch.zeros(2, dtype=torch.int64), state=model.new_state(2))
        assert logits.shape == (2, 19)
