"""Figures: what was measured, against what, how often, and how sure it is."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value; ``n`` counts requests or operations, ``rounds`` repeats.

    ``low`` to ``high`` is the 95 % interval of the mean over the rounds, or where there is one
    round the span of what was seen. ``met`` is None where no target is set.
    """

    name: str
    value: float
    unit: str
    low: float
    high: float
    n: int
    rounds: int
    baseline: str = ""
    baseline_value: float | None = None
    target: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; all targets are upper bounds, but for names with ``less``."""
        if self.target is None:
            return None
        if self.unit == "times less":
            return self.value >= self.target
        return self.value <= self.target


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval (normal) over rounds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, mean, mean
    half = _Z * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def rounds_figure(
    name: str,
    values: Sequence[float],
    *,
    unit: str,
    n: int,
    baseline: str = "",
    baseline_values: Sequence[float] = (),
    target: float | None = None,
    note: str = "",
) -> Figure:
    """Return a figure from one value a round."""
    mean, low, high = interval(values)
    return Figure(
        name=name,
        value=mean,
        unit=unit,
        low=low,
        high=high,
        n=n,
        rounds=len(values),
        baseline=baseline,
        baseline_value=statistics.fmean(baseline_values) if baseline_values else None,
        target=target,
        note=note,
    )
