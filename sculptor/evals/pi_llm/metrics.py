"""PI-LLM's figures over many sessions, and diagnostics of one.

``auc_log1.5`` is a mean weighted by the logarithm of the update count, not an area; its base
cancels. ``interference_endurance`` (the paper's IES) is an area under accuracy against the
logarithm of the update count, divided by its span, because no normalisation was published.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_HALVES = {"exp_keys": (125, 350), "exp_valuelength": (4, 20)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scored session."""

    accuracy: float
    n_updates: int = 2
    experiment: str = ""


def summarize(rows: Sequence[Row]) -> dict[str, float]:
    """Return the figures OpenCompass reports, and the endurance score.

    Experiments of two difficulties also get an easy and a hard figure; which experiment it is,
    only the first row decides.
    """
    if not rows:
        return {"avg_accuracy": 0.0, "auc_log1.5": 0.0, "total_samples": 0}
    figures: dict[str, float] = {
        "avg_accuracy": sum(row.accuracy for row in rows) / len(rows),
        "auc_log1.5": weighted_accuracy(rows),
    }
    for name, (easy, hard) in _HALVES.items():
        if name in rows[0].experiment:
            figures["auc_log1.5_easy"] = weighted_accuracy(
                [row for row in rows if row.n_updates <= easy]
            )
            figures["auc_log1.5_hard"] = weighted_accuracy(
                [row for row in rows if row.n_updates >= hard]
            )
            break
    figures["total_samples"] = len(rows)
    return figures


def weighted_accuracy(rows: Sequence[Row], *, base: float = 1.5) -> float:
    """Return the mean accuracy weighted by the logarithm of the updates (at least 2); 0 of none."""
    weights = [math.log(max(row.n_updates, 2), base) for row in rows]
    total = sum(weights)
    if not total:
        return 0.0
    return sum(row.accuracy * weight for row, weight in zip(rows, weights, strict=True)) / total


def interference_endurance(rows: Sequence[Row]) -> float:
    """Return the trapezoid area under mean accuracy over ln(updates), divided by the span."""
    cells: dict[int, list[float]] = {}
    for row in rows:
        cells.setdefault(row.n_updates, []).append(row.accuracy)
    points = sorted((math.log(count), sum(all_) / len(all_)) for count, all_ in cells.items())
    if not points:
        return 0.0
    if len(points) == 1:
        return points[0][1]
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))
    return area / (points[-1][0] - points[0][0])


def answer_positions(
    answers: Mapping[str, str] | None,
    pairs: Sequence[tuple[str, str]],
    tracked_keys: Sequence[str],
) -> list[int]:
    """Return where in its key's own history each answer stands, from 0.

    -1 marks a value the key never had, -2 a key without an answer. No answer at all gives an
    empty list.
    """
    if answers is None:
        return []
    history: dict[str, list[str]] = {key: [] for key in tracked_keys}
    for key, value in pairs:
        if key in history:
            history[key].append(value)
    return [
        -2 if key not in answers else _index(values, answers[key])
        for key, values in history.items()
    ]


def _index(values: Sequence[str], value: str) -> int:
    return values.index(value) if value in values else -1


def normalized_entropy(counts: Sequence[float]) -> float:
    """Return the entropy of a distribution divided by that of the uniform one over all states."""
    total = sum(counts)
    if total <= 0 or len(counts) < 2:
        return 0.0
    shares = [count / total for count in counts if count > 0]
    entropy = -sum(share * math.log(share) for share in shares)
    return abs(entropy) / math.log(len(counts))


def position_entropy(positions: Sequence[int], *, updates: int) -> float | None:
    """Return the normalized entropy of answer positions; ``None`` under 20 placed answers.

    The original replaces values the key never had by random positions first; here they are left
    out, so that the figure does not change from run to run.
    """
    placed = [position for position in positions if 0 <= position < updates]
    if len(placed) < 20:
        return None
    counts = [0] * updates
    for position in placed:
        counts[position] += 1
    return normalized_entropy(counts)
