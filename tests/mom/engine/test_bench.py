from dataclasses import replace

import numpy as np
import pytest

from sculptor.mom.engine import bench
from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.models.modeling import MomForCausalLM
from tests.mom.helpers import MODEL, VARIANTS

SMALL = replace(
    bench.MODEL_B,
    vocab_size=300,
    d_model=96,
    layers=3,
    mlp_width=160,
    heads=3,
    attention_layers=(1,),
)


@pytest.mark.parametrize("config", [*VARIANTS, replace(MODEL, tie_embeddings=False)])
def test_the_shapes_are_those_of_the_torch_model(config) -> None:
    wanted = {name: tuple(t.shape) for name, t in MomForCausalLM(config).state_dict().items()}
    assert dict(bench.tensor_shapes(config)) == wanted


def test_resident_memory_stays_flat_as_a_conversation_grows() -> None:
    model = CpuModel(bench.random_weights(SMALL))
    early, late = bench.measure_lengths(model, [4_000, 14_000])
    assert early.state_bytes == late.state_bytes
    assert late.resident_bytes - early.resident_bytes < 8_000_000  # a full cache would add 23 MB


def test_rates_are_of_what_was_run() -> None:
    model = CpuModel(bench.random_weights(SMALL, dtype="float16"))
    for rate in (
        bench.time_prefill(model, tokens=50, runs=2),
        bench.time_decode(model, batch=2, tokens=3, runs=2),
    ):
        assert rate.runs == 2
        assert 0 < rate.tokens_per_wall_s <= rate.best_tokens_per_wall_s
        assert rate.tokens_per_cpu_s > 0


def test_the_model_meant_to_ship_fits_its_bound() -> None:
    sizes = [np.prod(shape) for shape in bench.tensor_shapes(bench.MODEL_B).values()]
    assert sum(sizes) < 28_000_000 * 0.98
    assert CpuModel(bench.random_weights(SMALL)).new_state().nbytes < SMALL.state_bytes * 1.01
