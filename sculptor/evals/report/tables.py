"""The tables of a report; every ratio stands beside the numbers it was made of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sculptor.evals.report.svg import short_number
from sculptor.evals.runs.results import CACHED_WEIGHT, Figures, RunResult


class Table(NamedTuple):
    """A heading, column names and rows of text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


_COST = (
    "arm",
    "samples",
    "failed",
    "accuracy (95 %)",
    "requests",
    "model calls",
    "input",
    "cached",
    "output",
    "prefix cost",
    "restored / hidden",
    "tool calls",
    "over budget",
    "seconds",
)

WORD_COLUMNS = frozenset({"arm", "tool calls", "language", "task", "figure"})

LEGEND = (
    "Accuracy is the mean over samples; its interval is a percentile bootstrap over samples. "
    "Tokens, requests and seconds are sums over all samples of the row; seconds add up what each "
    "request took. Prefix cost counts an input token of a reused prefix "
    f"{CACHED_WEIGHT:g} and any other 1. Over budget counts samples whose last prompt was "
    "longer than the arm's budget. An interval of no width means that all samples scored alike: "
    "with n of n right, a true share of wrong ones up to about 3/n remains likely."
)


def tables_of(result: RunResult) -> list[Table]:
    """Return the tables of one run: by arm, then by cell."""
    tables = [Table("All samples", _cost_head(result), [*_arm_rows(result)])]
    if result.cell_names:
        tables.append(_cell_table(result))
    metrics = _metric_table(result)
    return [*tables, metrics] if metrics.rows else tables


def heading_of(result: RunResult) -> str:
    """Return what a run was, in one line."""
    plan = result.plan
    budget = f"{plan.budget_tokens:,} tokens" if plan.budget_tokens else "the sculptor arm's view"
    return (
        f"Task `{plan.task}`, model `{plan.model}`, scorer `{plan.scorer}`, seed {plan.seed}, "
        f"{plan.limit:,} samples an arm planned, tools `{plan.admission}`, budget of shortening "
        f"arms: {budget}."
    )


def _cost_head(result: RunResult) -> Sequence[str]:
    priced = any(arm.total.cost is not None for arm in result.arms.values())
    return [*_COST, "cost"] if priced else _COST


def _arm_rows(result: RunResult) -> Sequence[Sequence[str]]:
    rows = []
    for arm in result.arms.values():
        total = arm.total
        row = [
            arm.arm,
            f"{total.n:,}",
            f"{arm.failed:,}",
            accuracy_text(total),
            f"{total.requests:,}",
            f"{total.calls:,}",
            f"{total.input_tokens:,}",
            f"{total.cached_tokens:,}",
            f"{total.output_tokens:,}",
            f"{total.prefix_cost_tokens:,.0f}",
            f"{total.restored:,} / {total.hidden:,}",
            _counts(total.tool_calls),
            f"{total.over_budget:,} / {total.n:,}",
            f"{total.seconds:,.1f}",
        ]
        rows.append([*row, f"{total.cost:,.4f}"] if total.cost is not None else row)
    return rows


def _cell_table(result: RunResult) -> Table:
    head = [
        *result.cell_names,
        "arm",
        "n",
        "accuracy (95 %)",
        "input a sample",
        "most calls",
        "last / first prompt",
    ]
    rows = []
    for arm in result.arms.values():
        for cell, figures in arm.cells.items():
            ratio = figures.last_to_first
            rows.append(
                [
                    *(str(value) for _, value in cell),
                    arm.arm,
                    f"{figures.n:,}",
                    accuracy_text(figures),
                    short_number(round(figures.input_tokens / figures.n)),
                    str(figures.most_calls),
                    "–" if ratio is None else f"{100 * ratio:.1f} %",
                ]
            )
    return Table("By cell", head, rows)


def _metric_table(result: RunResult) -> Table:
    names = list(dict.fromkeys(name for arm in result.arms.values() for name in arm.metrics))
    rows = [
        [name, *(_number(arm.metrics.get(name)) for arm in result.arms.values())] for name in names
    ]
    return Table("The benchmark's own figures", ["figure", *result.arms], rows)


def accuracy_text(figures: Figures) -> str:
    """Return a mean with its interval and denominator."""
    found = figures.accuracy
    if found is None:
        return "–"
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.mean:.2f} % ({low:.2f} to {high:.2f}, n = {found.n:,})"


def _counts(calls: Mapping[str, int]) -> str:
    """Return a line for each kind of call."""
    return "\n".join(f"{name} {count:,}" for name, count in calls.items()) or "–"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}"
