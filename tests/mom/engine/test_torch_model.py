import gc

import numpy as np
import pytest
import torch

from sculptor.mom.engine.batch import Batch, Request
from sculptor.mom.engine.torch_model import TorchModel, TorchState, load_torch
from sculptor.mom.engine.turns import TurnStore
from tests.mom.engine.builders import both, random_tokens, random_weights
from tests.mom.engine.test_batch import Circle, ask, run


@pytest.fixture
def model() -> TorchModel:
    return TorchModel(load_torch(random_weights(), dtype=torch.float64), rows=3, piece=50)


def test_both_runtimes_write_the_same() -> None:
    cpu, slow = both(random_weights(dtype="int8"))
    requests = [ask(seed, length=1 + 60 * seed) for seed in range(6)]
    wanted = run(Batch(cpu, turns=TurnStore(limit_bytes=10**8)), requests)
    fast = TorchModel(slow, rows=4, piece=64)
    got = run(Batch(fast, turns=TurnStore(limit_bytes=10**8)), requests)  # type: ignore[arg-type]
    assert got == wanted


def test_both_runtimes_end_a_repetition_at_the_same_token() -> None:
    cpu, slow = both(random_weights())
    requests = [ask(1, limit=600, mask=Circle((5, 6, 7))), ask(4, limit=200)]
    wanted = run(Batch(cpu, turns=TurnStore(limit_bytes=10**8)), requests)
    fast = TorchModel(slow, rows=2)
    got = run(Batch(fast, turns=TurnStore(limit_bytes=10**8)), requests)  # type: ignore[arg-type]
    assert got == wanted
    assert wanted[0][1] == "repetition"


def test_the_company_changes_no_bit_and_may_change_itself(model: TorchModel) -> None:
    def read(seed: int) -> TorchState:
        state = model.new_state()
        model.prefill(random_tokens(20, seed=seed), state)
        return state

    text = random_tokens(30)
    alone = read(1)
    wanted = [model.step([token], [alone])[0] for token in text]
    mine, others = read(1), [read(seed) for seed in range(2, 7)]
    for i, token in enumerate(text):
        company = others[i % 4 :] if i % 3 else []
        got = model.step([*[3] * len(company), token], [*company, mine])
        assert np.array_equal(got[-1], wanted[i])
    assert mine.tokens == alone.tokens == 50


def test_a_copy_is_left_alone_by_later_steps(model: TorchModel) -> None:
    state = model.new_state()
    model.prefill([1, 2, 3], state)
    model.step([4], [state])
    kept = state.copy()
    wanted = [model.step([t], [state])[0] for t in (5, 6)]
    gc.collect()
    assert (kept.tokens, kept.nbytes) == (4, state.nbytes)
    got = [model.step([5], [kept])[0], model.prefill([6], kept)]
    assert np.allclose(got, wanted, atol=1e-12)


def test_misuse_is_answered_with_the_mend(model: TorchModel) -> None:
    state = model.new_state()
    with pytest.raises(ValueError, match="give at least one"):
        model.prefill([], state)
    with pytest.raises(ValueError, match="each state once"):
        model.step([1, 2], [state, state])
    with pytest.raises(ValueError, match="rows is 0"):
        TorchModel(load_torch(random_weights()), rows=0)
    assert model.vocab_size == 19
    assert Request(tokens=[1], limit=1).owner == ""
