"""Two arms over the same samples: McNemar's exact test and the bootstrap of the difference.

Samples are paired by index; those that only one side has are counted and left out. McNemar's test
takes a sample as right where its score is full; with PI-LLM that is the whole session right.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sculptor.errors import EvalError
from sculptor.evals.runs.plan import load_plan
from sculptor.evals.runs.records import Record, iter_records
from sculptor.evals.runs.results import finished_records
from sculptor.evals.stats import McNemar, PairedDifference, mcnemar, paired_bootstrap


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One arm of one run."""

    run: str
    arm: str
    mean: float
    input_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The second side against the first over ``n`` pairs; scores from 0 to 1."""

    task: str
    first: Side
    second: Side
    n: int
    unpaired: int
    difference: PairedDifference
    full_marks: McNemar


def compare(first: str, second: str) -> Comparison:
    """Compare two arms, each written ``RUN`` or ``RUN:ARM``.

    Raises:
        EvalError: the runs are of different samples, or have no sample in common.
    """
    one, two = _load(first), _load(second)
    differing = [name for name in ("task", "seed", "scorer") if one.fixed[name] != two.fixed[name]]
    if differing:
        raise EvalError(f"{first} and {second} differ in {', '.join(differing)}: nothing pairs.")
    shared = sorted(one.records.keys() & two.records.keys())
    pairs = [(one.records[index], two.records[index]) for index in shared]
    if any(a.id != b.id for a, b in pairs):
        raise EvalError(f"{first} and {second} saw other samples under the same numbers.")
    scored = [(a, b) for a, b in pairs if a.score is not None and b.score is not None]
    if not scored:
        raise EvalError(f"{first} and {second} have no scored sample in common.")
    before = [(a.score or 0.0) / one.full_score for a, _ in scored]
    after = [(b.score or 0.0) / one.full_score for _, b in scored]
    return Comparison(
        task=str(one.fixed["task"]),
        first=_side(one, before, [a for a, _ in scored]),
        second=_side(two, after, [b for _, b in scored]),
        n=len(scored),
        unpaired=len(one.records.keys() ^ two.records.keys()) + len(pairs) - len(scored),
        difference=paired_bootstrap(before, after),
        full_marks=mcnemar([a >= 1 for a in before], [b >= 1 for b in after]),
    )


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    return asdict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    run: str
    arm: str
    full_score: float
    fixed: Mapping[str, Any]
    records: Mapping[int, Record]


def _load(name: str) -> _Loaded:
    folder, arm = _split(name)
    plan = load_plan(folder)
    if not arm and len(plan.arms) > 1:
        raise EvalError(
            f"{name} has several arms: write {name}:ARM, one of {', '.join(plan.arms)}."
        )
    arm = arm or next(iter(plan.arms))
    if arm not in plan.arms:
        raise EvalError(f"{folder} has no arm {arm!r}; it has {', '.join(plan.arms)}.")
    found = finished_records(list(iter_records(folder)))
    return _Loaded(
        run=folder.name,
        arm=arm,
        full_score=plan.full_score,
        fixed={"task": plan.task, "seed": plan.seed, "scorer": plan.scorer},
        records={index: record for (its, index), record in found.items() if its == arm},
    )


def _split(name: str) -> tuple[Path, str]:
    if Path(name).is_dir():
        return Path(name), ""
    folder, _, arm = name.rpartition(":")
    return (Path(folder), arm) if folder else (Path(name), "")


def _side(loaded: _Loaded, scores: list[float], records: list[Record]) -> Side:
    return Side(
        run=loaded.run,
        arm=loaded.arm,
        mean=sum(scores) / len(scores),
        input_tokens=sum(record.totals.input_tokens for record in records),
    )
