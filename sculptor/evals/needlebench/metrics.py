"""NeedleBench's figures over many samples."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scored sample."""

    score: float
    kind: str = ""
    language: str = ""
    length: int = 0
    depth: float = 0
    num_needles: int = 0
    question: str = ""


def task_score(rows: Sequence[Row]) -> float:
    """Return the mean over lengths of the mean over depths; for reasoning, of each set's."""
    sets = _grouped(rows, lambda row: (row.language, row.num_needles))
    return _mean(_lengths_score(group) for group in sets.values())


def _lengths_score(rows: Sequence[Row]) -> float:
    lengths = _grouped(rows, lambda row: row.length)
    return _mean(_depths_score(group) for group in lengths.values())


def _depths_score(rows: Sequence[Row]) -> float:
    depths = _grouped(rows, lambda row: row.depth)
    return _mean(_mean(row.score for row in group) for group in depths.values())


def overall_score(scores: Mapping[str, float], *, version: str) -> float:
    """Return the whole benchmark's figure from the scores of its three document tasks.

    Version 1 weighs single retrieval 0.4 and the others 0.3 each; version 2 weighs all alike.
    """
    single, retrieval, reasoning = (
        scores[kind] for kind in ("single", "multi-retrieval", "multi-reasoning")
    )
    if version == "v1":
        return 0.4 * single + 0.3 * retrieval + 0.3 * reasoning
    return (single + retrieval + reasoning) / 3


def challenge_figures(rows: Sequence[Row]) -> dict[str, float]:
    """Return the ancestral trace figures: accuracy by needle count, weighted means, ENL-50."""
    counts = _grouped(rows, lambda row: row.num_needles)
    accuracy = {count: _mean(row.score for row in counts[count]) for count in sorted(counts)}
    short = {count: value for count, value in accuracy.items() if count <= 64}
    figures = {f"needles_{count}": value for count, value in accuracy.items()}
    figures["weighted"] = weighted_by_needles(accuracy)
    figures["weighted_2k"] = weighted_by_needles(short)
    figures["enl_50"] = effective_needles(accuracy)
    return figures


def weighted_by_needles(accuracy: Mapping[int, float]) -> float:
    """Return the mean accuracy weighted by the needle count; 0 of none."""
    total = sum(accuracy)
    return sum(value * count for count, value in accuracy.items()) / total if total else 0.0


def effective_needles(accuracy: Mapping[int, float], *, threshold: float = 50) -> int:
    """Return the largest needle count with at least ``threshold`` percent; 0 if there is none."""
    return max((count for count, value in accuracy.items() if value >= threshold), default=0)


def perfect_rotations(rows: Sequence[Row]) -> float:
    """Return the share of choice questions answered rightly in all four rotations, times 100."""
    questions = _grouped(rows, lambda row: (row.language, row.num_needles, row.question))
    return 100 * _mean(
        float(len(group) >= 4 and all(row.score >= 100 for row in group))
        for group in questions.values()
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def _grouped(rows: Iterable[Row], key: Callable[[Row], _Key]) -> dict[_Key, list[Row]]:
    groups: dict[_Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
