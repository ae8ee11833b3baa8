import numpy as np
import pytest
import torch

from sculptor.mom.engine.chunks import (
    CHUNK,
    RuleRows,
    chunk_delta_rule,
    invert_unit_lower,
    plan_rows,
)
from sculptor.mom.engine.workers import Workers
from sculptor.mom.ops.naive import naive_delta_rule
from tests.mom.helpers import offsets

LENGTHS = [70, 0, 1, CHUNK, 33]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def test_chunks_equal_one_token_at_a_time() -> None:
    rows = sum(LENGTHS)
    q, k, v, states = draw(rows, 2, 4), draw(rows, 2, 4), draw(rows, 2, 6), draw(5, 2, 4, 6)
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    g, beta = -np.abs(draw(rows, 2)), np.abs(np.tanh(draw(rows, 2, 1)[..., 0]))
    g[5] = -400.0
    wanted, finals = naive_delta_rule(
        **{n: torch.tensor(x) for n, x in {"q": q, "k": k, "v": v, "g": g, "beta": beta}.items()},
        cu_seqlens=offsets(LENGTHS),
        initial_state=torch.tensor(states),
        scale=1.0,
        erase=True,
    )
    after = states.copy()
    visits = np.split(np.arange(rows), np.cumsum(LENGTHS)[:-1])
    plan = plan_rows(visits, dtype=np.dtype(np.float64))
    brought = {n: x[plan.token] for n, x in {"q": q, "k": k, "v": v}.items()}
    closed = {n: x[plan.token] * plan.real[:, None] for n, x in {"g": g, "beta": beta}.items()}
    o = chunk_delta_rule(RuleRows(**brought, **closed), plan=plan, states=after, workers=Workers(2))
    o = np.concatenate([o[plan.own(m)] for m in range(len(LENGTHS))])
    assert np.abs(o - wanted.numpy()).max() < 1e-12
    assert np.abs(after - finals.numpy()).max() < 1e-12
    assert np.array_equal(after[1], states[1])


@pytest.mark.parametrize("size", [1, 2, 8, 32])
def test_the_inverse_is_one(size: int) -> None:
    lower = draw(3, 2, size, size)
    whole = np.eye(size) + np.tril(lower, -1)
    assert np.abs(invert_unit_lower(lower) @ whole - np.eye(size)).max() < 1e-9


def test_the_inverse_of_one_key_repeated_stays_exact_in_fp32() -> None:
    lower = np.ones((1, CHUNK, CHUNK), np.float32)
    wanted = np.eye(CHUNK) - np.eye(CHUNK, k=-1)
    assert np.array_equal(invert_unit_lower(lower)[0], wanted)
