"""Intervals and paired tests, with the session as the unit.

The keys of one PI-LLM session share its stream, so they are not independent: what is resampled is
always the session's mean, never the single answer. All resampling is seeded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sculptor.errors import EvalError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with the bounds of its confidence interval and the number of units behind it."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def width(self) -> float:
        """Return the distance between the bounds."""
        return self.high - self.low


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """Paired counts of two arms on right or wrong answers, and the exact two-sided p-value."""

    only_first: int
    only_second: int
    both: int
    neither: int
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """The mean of second minus first with its interval, and its two-sided p-value.

    That is twice the share of resamples at or past 0, and no less than the chance that so few
    differences all lean one way: all resamples of one sample are that sample.
    """

    interval: Interval
    p_value: float


def wilson(right: int, asked: int, *, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of ``right`` of ``asked``, 95 % by default."""
    share = right / asked
    middle = share + z * z / (2 * asked)
    spread = z * math.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked))
    scale = 1 + z * z / asked
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def bootstrap_mean(
    values: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of the mean over sessions (Efron, 1979)."""
    if not values:
        raise EvalError("An interval needs at least one value.")
    means = _resampled_means(values, resamples=resamples, seed=seed)
    low, high = _bounds(means, confidence)
    return Interval(mean=math.fsum(values) / len(values), low=low, high=high, n=len(values))


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """Return the interval of the mean difference of two arms over the same sessions, in order."""
    if len(first) != len(second) or not first:
        raise EvalError("A paired comparison needs the same sessions in both arms, at least one.")
    differences = [after - before for before, after in zip(first, second, strict=True)]
    means = _resampled_means(differences, resamples=resamples, seed=seed)
    low, high = _bounds(means, confidence)
    below, above = float((means <= 0).mean()), float((means >= 0).mean())
    interval = Interval(
        mean=math.fsum(differences) / len(differences), low=low, high=high, n=len(differences)
    )
    least = 0.5 ** (len(differences) - 1)
    return PairedDifference(interval=interval, p_value=min(1.0, max(least, 2 * min(below, above))))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Return McNemar's exact test (1947; binomial) of two arms' paired right/wrong answers."""
    if len(first) != len(second):
        raise EvalError("McNemar's test needs the same answers in both arms.")
    pairs = list(zip(first, second, strict=True))
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    return McNemar(
        only_first=only_first,
        only_second=only_second,
        both=pairs.count((True, True)),
        neither=pairs.count((False, False)),
        p_value=_binomial_two_sided(min(only_first, only_second), only_first + only_second),
    )


def _binomial_two_sided(smaller: int, total: int) -> float:
    """Return twice the lower tail of a fair coin, at most 1."""
    if not total:
        return 1.0
    logs = (
        math.lgamma(total + 1) - math.lgamma(hits + 1) - math.lgamma(total - hits + 1)
        for hits in range(smaller + 1)
    )
    tail = math.fsum(math.exp(log - total * math.log(2)) for log in logs)
    return min(1.0, 2 * tail)


def _resampled_means(
    values: Sequence[float], *, resamples: int, seed: int
) -> "NDArray[np.float64]":
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, 4_000_000 // len(array))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        picks = rng.integers(len(array), size=(size, len(array)))
        means[start : start + size] = array[picks].mean(axis=1)
    return means


def _bounds(means: "NDArray[np.float64]", confidence: float) -> tuple[float, float]:
    import numpy as np

    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, (tail, 100 - tail))
    return float(low), float(high)
