import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.mom.engine.sampling import Sampler, Sampling

LOGITS = np.log(np.array([0.5, 0.2, 0.2, 0.1], np.float32))


def draw(count: int, **settings: float) -> list[int]:
    sampler = Sampler(Sampling(**settings))  # type: ignore[arg-type]
    return [sampler.sample(LOGITS).token for _ in range(count)]


def test_no_temperature_takes_the_likeliest() -> None:
    assert set(draw(5, temperature=0.0, seed=3)) == {0}


def test_a_seed_repeats_and_another_differs() -> None:
    assert draw(40, temperature=1.0, seed=3) == draw(40, temperature=1.0, seed=3)
    assert draw(40, temperature=1.0, seed=3) != draw(40, temperature=1.0, seed=4)


def test_shares_follow_the_probabilities() -> None:
    shares = np.bincount(draw(4_000, temperature=1.0), minlength=4) / 4_000
    assert np.abs(shares - [0.5, 0.2, 0.2, 0.1]).max() < 0.03
    cold = np.bincount(draw(4_000, temperature=0.5), minlength=4) / 4_000
    assert cold[0] > 0.7


@pytest.mark.parametrize(("top_p", "wanted"), [(0.4, {0}), (0.6, {0, 1}), (0.89, {0, 1, 2})])
def test_top_p_keeps_the_smallest_sufficient_set(top_p: float, wanted: set[int]) -> None:
    assert set(draw(400, temperature=1.0, top_p=top_p)) == wanted
    assert set(draw(400, temperature=1.0, top_p=1.0)) == {0, 1, 2, 3}


@given(st.integers(0, 15), st.integers(0, 99))
def test_a_mask_is_never_left(bits: int, seed: int) -> None:
    mask = np.array([bool(bits >> i & 1) for i in range(4)])
    sampler = Sampler(Sampling(temperature=3.0, seed=seed))
    if not mask.any():
        with pytest.raises(ValueError, match="allows no token"):
            sampler.sample(LOGITS, mask)
        return
    choice = sampler.sample(LOGITS, mask)
    assert mask[choice.token]
    assert choice.logprob == pytest.approx(
        LOGITS[choice.token] - np.log(np.exp(LOGITS[mask]).sum())
    )


def test_logprobs_are_of_the_model_and_best_first() -> None:
    mask = np.array([False, True, True, True])
    choice = Sampler(Sampling(temperature=0.0, top=4)).sample(LOGITS, mask)
    assert choice.token == 1
    assert [token for token, _ in choice.top] == [1, 2, 3]
    assert np.exp([p for _, p in choice.top]) == pytest.approx([0.4, 0.4, 0.2])
    assert choice.logprob == choice.top[0][1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0; give 0 or more"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p is 0.0; give more than 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_misuse_is_answered_with_the_mend(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**settings)  # type: ignore[arg-type]
