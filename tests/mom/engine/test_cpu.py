import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.engine.cpu import PIECE, CpuModel
from sculptor.mom.engine.torch_model import TorchModel, load_torch
from sculptor.mom.models.packing import pack_batch
from sculptor.mom.ops.rules import UpdateRule
from tests.mom.engine.builders import both, random_tokens, random_weights
from tests.mom.helpers import MODEL, VARIANTS

SHAPES = [
    *VARIANTS,
    replace(MODEL, shared=False),
    replace(MODEL, memories=0, top_k=0),
    replace(MODEL, gate="sigmoid", beta_max=2.0, tie_embeddings=False, rope_base=0.0),
    replace(MODEL, top_k=4, read="dense", shared=False, attention_layers=()),
    replace(MODEL, attention_layers=(0, 1, 2), window=1),
    replace(MODEL, conv="memory", shared=False, conv_width=2, top_k=1),
]
MIDDLE = replace(
    MODEL, vocab_size=300, d_model=96, mlp_width=160, heads=3, key_dim=32, value_dim=48, window=40
)


@pytest.mark.parametrize("config", SHAPES)
def test_every_logit_equals_torch(config) -> None:
    cpu, model = both(random_weights(config))
    tokens = random_tokens(150)
    with torch.no_grad():
        wanted, _ = model(pack_batch(torch.tensor([tokens])))
    state, at = cpu.new_state(), 0
    for piece in (1, 2, 70, 1, 40):
        at += piece
        got = cpu.prefill(tokens[at - piece : at], state)
        assert np.abs(got - wanted[at - 1].numpy()).max() < 1e-12
    for place in range(at, len(tokens)):
        (got,) = cpu.step([tokens[place]], [state])
        assert np.abs(got - wanted[place].numpy()).max() < 1e-12
    assert state.tokens == len(tokens)


@pytest.mark.parametrize("config", [VARIANTS[1], VARIANTS[2], MODEL])
def test_pieces_longer_than_one_reading_equal_torch(config) -> None:
    cpu, model = both(random_weights(config))
    tokens = random_tokens(2 * PIECE + 3)
    with torch.no_grad():
        wanted, _ = model(pack_batch(torch.tensor([tokens])))
    assert np.abs(cpu.prefill(tokens, cpu.new_state()) - wanted[-1].numpy()).max() < 1e-12


def test_greedy_text_of_int8_weights_equals_torch_token_for_token() -> None:
    torch.set_default_dtype(torch.float32)
    weights = random_weights(MIDDLE, dtype="int8")
    prompt = random_tokens(100, vocab=300)
    runtimes = (CpuModel(weights), TorchModel(load_torch(weights), rows=1))
    texts, worst = [], []
    for runtime in runtimes:
        state = runtime.new_state()
        logits, text, seen = runtime.prefill(prompt, state), [], []
        for _ in range(400):
            seen.append(logits)
            text.append(int(logits.argmax()))
            (logits,) = runtime.step(text[-1:], [state])
        texts.append(text)
        worst.append(np.stack(seen))
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 20
    assert np.abs(worst[0] - worst[1]).max() < 1e-3


@pytest.mark.parametrize("config", [MIDDLE, replace(MIDDLE, conv="memory", attention_layers=())])
@given(seed=st.integers(0, 2**16), company=st.lists(st.integers(1, 90), max_size=6))
@settings(max_examples=6, deadline=None)
def test_the_company_changes_no_bit(config, seed: int, company: list[int]) -> None:
    cpu = CpuModel(random_weights(config, dtype="int8"))
    rng = np.random.default_rng(seed)
    own = rng.integers(300, size=45).tolist()
    alone, together = cpu.new_state(), cpu.new_state()
    cpu.prefill(own[:20], alone)
    cpu.prefill(own[:20], together)
    others = [cpu.new_state() for _ in company]
    for length, other in zip(company, others, strict=True):
        cpu.prefill(rng.integers(300, size=length).tolist(), other)
    place = int(rng.integers(len(company) + 1))
    for token in own[20:]:
        (wanted,) = cpu.step([token], [alone])
        tokens = rng.integers(300, size=len(others)).tolist()
        states = [*others[:place], together, *others[place:]]
        got = cpu.step([*tokens[:place], token, *tokens[place:]], states)
        assert np.array_equal(got[place], wanted)
    for mine, theirs in zip(alone.layers, together.layers, strict=True):
        pairs = zip(mine.arrays(), theirs.arrays(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_the_number_of_threads_changes_no_bit() -> None:
    weights = random_weights(MIDDLE, dtype="int8")
    tokens = random_tokens(600, vocab=300)
    models = [CpuModel(weights, threads=threads) for threads in (1, 2, 4)]
    first, *others = (model.prefill(tokens, model.new_state()) for model in models)
    assert all(np.array_equal(first, other) for other in others)


def test_a_memory_that_is_not_picked_keeps_every_bit() -> None:
    for config in (replace(VARIANTS[0], top_k=1), replace(VARIANTS[2], top_k=1)):
        cpu = CpuModel(random_weights(config))
        state = cpu.new_state()
        cpu.prefill(random_tokens(40), state)
        before = state.copy()
        cpu.step([3], [state])
        changed = (before.layers[0].memories != state.layers[0].memories).any(axis=(1, 2, 3))
        assert changed.sum() == 2
        assert changed[-1]


@pytest.mark.parametrize("config", SHAPES)
def test_a_state_keeps_its_size_and_a_copy_its_content(config) -> None:
    cpu = CpuModel(random_weights(config))
    state = cpu.new_state()
    size = state.nbytes
    assert abs(size - config.state_bytes) <= 8 * config.layers
    logits = cpu.prefill(random_tokens(30), state)
    kept = state.copy()
    first = cpu.step([int(logits.argmax())], [state])
    cpu.prefill(random_tokens(300, seed=2), state)
    assert np.array_equal(cpu.step([int(logits.argmax())], [kept]), first)
    assert state.nbytes == kept.nbytes == size


def test_strong_writes_of_one_key_do_not_blow_up() -> None:
    config = replace(VARIANTS[0], beta_max=2.0)
    cpu = CpuModel(random_weights(config))
    state = cpu.new_state()
    assert np.isfinite(cpu.prefill([7] * 3_000, state)).all()
    assert all(np.abs(a).max() < 1e3 for layer in state.layers for a in layer.arrays())


def test_misuse_is_answered_with_the_mend() -> None:
    cpu = CpuModel(random_weights())
    state = cpu.new_state()
    with pytest.raises(ValueError, match="give at least one"):
        cpu.prefill([], state)
    for wrong in (-1, MODEL.vocab_size):
        with pytest.raises(ValueError, match=r"from 0 to 18.*tokenizer"):
            cpu.prefill([1, wrong], state)
    with pytest.raises(ValueError, match="each state once"):
        cpu.step([1, 2], [state, state])
    with pytest.raises(ValueError, match="1 tokens for 2 states"):
        cpu.step([1], [state, state.copy()])
    with pytest.raises(ValueError, match=r"runs the rule gated_delta.*with delta"):
        CpuModel(random_weights(replace(MODEL, rule=UpdateRule.DELTA)))


def test_the_runtime_loads_no_torch_and_nothing_of_the_rest() -> None:
    code = (
        "import sys, sculptor.mom.engine.cpu, sculptor.mom.engine.scheduler;"
        "print([m for m in sys.modules if m in ('torch', 'triton') or"
        " m.startswith('sculptor.') and not m.startswith('sculptor.mom')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
