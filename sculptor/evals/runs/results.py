"""The figures of a run, by arm and by cell, each with its denominator.

A cell is what the benchmark varies: PI-LLM's updates, NeedleBench's length, depth and needles. The
unit of every interval is the session, that is one sample. A sample with an error counts in
``failed`` and nowhere else.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sculptor.evals.runs.plan import Plan, load_plan
from sculptor.evals.runs.progress import Prices
from sculptor.evals.runs.records import Record, iter_records
from sculptor.evals.stats import Interval, bootstrap_mean

CACHED_WEIGHT = 0.1
"""What a token of a reused prefix counts in ``prefix_cost_tokens``, against 1 for a fresh one."""

_CELL_NAMES = (
    "language",
    "n_keys",
    "len_item",
    "n_updates",
    "length",
    "depth",
    "num_needles",
    "n_needles",
    "n_turns",
    "question_type",
    "log_lines",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One group of samples. Sums are over its ``n`` samples; ratios name both their numbers."""

    n: int
    scored: int
    accuracy: Interval | None
    requests: int
    calls: int
    most_calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    prefix_cost_tokens: float
    last_to_first: float | None
    hidden: int
    restored: int
    tool_calls: Mapping[str, int]
    seconds: float
    over_budget: int
    cost: float | None

    @property
    def restore_rate(self) -> float | None:
        """Return restored fragments by hidden ones."""
        return self.restored / self.hidden if self.hidden else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One arm of a run: all of it, and cell by cell."""

    arm: str
    failed: int
    total: Figures
    cells: Mapping[tuple[tuple[str, Any], ...], Figures]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run; ``cell_names`` are the parameters that vary in it."""

    name: str
    plan: Plan
    cell_names: tuple[str, ...]
    arms: Mapping[str, ArmResult]


def read_run(folder: Path, *, prices: Prices | None = None) -> RunResult:
    """Read a run's folder and reckon its figures."""
    plan = load_plan(folder)
    records = list(iter_records(folder))
    return result_of(folder.resolve().name, plan, records, prices=prices or Prices())


def result_of(name: str, plan: Plan, records: Sequence[Record], *, prices: Prices) -> RunResult:
    """Return the figures of records; of several good ones of a sample the first counts."""
    finished = finished_records(records)
    errors = {(each.arm, each.index) for each in records if each.error is not None}
    names = _varying(finished.values())
    arms = {}
    for arm in plan.arms:
        own = [record for (its, _), record in finished.items() if its == arm]
        failed = sum(key[0] == arm and key not in finished for key in errors)
        if own:
            arms[arm] = _arm_result(arm, own, failed, names, plan, prices)
    return RunResult(name=name, plan=plan, cell_names=names, arms=arms)


def finished_records(records: Sequence[Record]) -> dict[tuple[str, int], Record]:
    """Return the records without an error by arm and index, in the order of both."""
    found: dict[tuple[str, int], Record] = {}
    for record in sorted(records, key=lambda each: (each.arm, each.index)):
        if record.error is None:
            found.setdefault((record.arm, record.index), record)
    return found


def result_json(result: RunResult) -> dict[str, Any]:
    """Return a result as JSON values."""
    return {
        "name": result.name,
        "plan": {k: v for k, v in asdict(result.plan).items() if k != "data"},
        "arms": {
            name: {
                "failed": arm.failed,
                "metrics": dict(arm.metrics),
                "total": _figures_json(arm.total),
                "cells": [
                    {"cell": dict(cell), **_figures_json(figures)}
                    for cell, figures in arm.cells.items()
                ],
            }
            for name, arm in result.arms.items()
        },
    }


def _arm_result(
    arm: str,
    records: Sequence[Record],
    failed: int,
    names: Sequence[str],
    plan: Plan,
    prices: Prices,
) -> ArmResult:
    groups: dict[tuple[tuple[str, Any], ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple((name, record.params.get(name)) for name in names), []).append(
            record
        )
    ordered = sorted(groups.items(), key=lambda item: [_sortable(value) for _, value in item[0]])
    rows = [(record.params, record.score) for record in records]
    return ArmResult(
        arm=arm,
        failed=failed,
        total=_figures(records, plan.full_score, prices),
        cells={cell: _figures(group, plan.full_score, prices) for cell, group in ordered},
        metrics=plan.load_task().metrics(rows),
    )


def _figures(records: Sequence[Record], full_score: float, prices: Prices) -> Figures:
    totals = [record.totals for record in records]
    scores = [record.score / full_score for record in records if record.score is not None]
    tools: Counter[str] = Counter()
    for each in totals:
        tools.update(each.tool_calls)
    ratios = [each.last_tokens / each.first_tokens for each in totals if each.first_tokens]
    sums = {
        name: sum(getattr(each, name) for each in totals)
        for name in ("input_tokens", "cached_tokens", "output_tokens")
    }
    fresh = sums["input_tokens"] - sums["cached_tokens"]
    return Figures(
        n=len(records),
        scored=len(scores),
        accuracy=bootstrap_mean(scores) if scores else None,
        requests=sum(each.requests for each in totals),
        calls=sum(each.calls for each in totals),
        most_calls=max(each.calls for each in totals),
        **sums,
        prefix_cost_tokens=fresh + CACHED_WEIGHT * sums["cached_tokens"],
        last_to_first=math.fsum(ratios) / len(ratios) if ratios else None,
        hidden=sum(each.hidden for each in totals),
        restored=sum(each.restored for each in totals),
        tool_calls=dict(sorted(tools.items())),
        seconds=math.fsum(each.seconds for each in totals),
        over_budget=sum(
            record.budget_tokens is not None and record.totals.last_tokens > record.budget_tokens
            for record in records
        ),
        cost=prices.cost(**sums) if prices.are_given else None,
    )


def _figures_json(figures: Figures) -> dict[str, Any]:
    return {**asdict(figures), "restore_rate": figures.restore_rate}


def _varying(records: Any) -> tuple[str, ...]:
    values: dict[str, set[Any]] = {}
    for record in records:
        for name in _CELL_NAMES:
            if name in record.params:
                values.setdefault(name, set()).add(repr(record.params[name]))
    return tuple(name for name in _CELL_NAMES if len(values.get(name, ())) > 1)


def _sortable(value: Any) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))
