import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.errors import EvalError
from sculptor.evals.stats import bootstrap_mean, mcnemar, paired_bootstrap, wilson


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_an_interval_holds_its_mean_and_repeats(values: list[float]) -> None:
    interval = bootstrap_mean(values, resamples=500, seed=3)
    assert interval == bootstrap_mean(values, resamples=500, seed=3)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9
    assert interval.n == len(values)
    assert interval.mean == pytest.approx(sum(values) / len(values))


def test_an_interval_has_the_width_of_the_normal_one() -> None:
    values = [0.0, 1.0] * 200
    interval = bootstrap_mean(values)
    assert interval.width == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(400), rel=0.06)
    assert bootstrap_mean(values, confidence=0.5).width < interval.width


def test_one_session_has_no_width() -> None:
    assert bootstrap_mean([0.4]).width == 0


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(0, 0, 1.0), (0, 5, 0.0625), (1, 9, 0.021484375), (5, 5, 1.0), (10, 30, 0.0022214)],
)
def test_mcnemar_is_the_exact_binomial_test(
    only_first: int, only_second: int, p_value: float
) -> None:
    first = [True] * only_first + [False] * only_second + [True, False]
    second = [False] * only_first + [True] * only_second + [True, False]
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert (found.both, found.neither) == (1, 1)
    assert found.p_value == pytest.approx(p_value, abs=1e-5)
    assert mcnemar(second, first).p_value == pytest.approx(found.p_value)


def test_mcnemar_takes_many_answers() -> None:
    first, second = [True] * 40_000 + [False] * 41_000, [False] * 40_000 + [True] * 41_000
    assert 0 < mcnemar(first, second).p_value < 0.001


def test_pairs_that_always_gain_are_told_from_noise() -> None:
    before = [0.1 * (n % 10) for n in range(50)]
    better = paired_bootstrap(before, [value + 0.05 for value in before])
    assert better.interval.low == pytest.approx(0.05)
    assert better.p_value == pytest.approx(0.5**49)
    same = paired_bootstrap(before, before)
    assert same.interval.mean == 0
    assert same.p_value == 1
    mixed = paired_bootstrap([0.0, 1.0] * 30, [1.0, 0.0] * 30)
    assert mixed.interval.low < 0 < mixed.interval.high


@pytest.mark.parametrize(("samples", "p_value"), [(1, 1.0), (2, 0.5), (6, 1 / 32)])
def test_a_few_pairs_that_all_gain_may_do_so_by_chance(samples: int, p_value: float) -> None:
    assert paired_bootstrap([0.0] * samples, [1.0] * samples).p_value == p_value


def test_arms_must_match() -> None:
    with pytest.raises(EvalError):
        paired_bootstrap([1.0], [1.0, 0.0])
    with pytest.raises(EvalError):
        mcnemar([True], [])
    with pytest.raises(EvalError):
        bootstrap_mean([])


def test_wilson_contains_the_share_and_stays_inside() -> None:
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    low, high = wilson(50, 100)
    assert low == pytest.approx(0.4038, abs=1e-4)
    assert high == pytest.approx(0.5962, abs=1e-4)
