"""Figures of a model's answers: by cell, by setting, and each against the plain arm's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from model_cells import Cell
from model_records import Row

from sculptor.evals.stats import bootstrap_mean, paired_bootstrap
from sculptor.loop.turn import Budget

Rows = Mapping[int, Row]
_NOTHING = (None, "", "None")
"""What scorers say they read where nothing was there to read."""


def cell_json(cell: Cell, rows: Rows, plain: Rows, *, full_score: float) -> dict[str, Any]:
    """Return a cell's figures; ``plain`` holds the same task's rows without the tools."""
    groups: dict[tuple[Any, ...], dict[int, Row]] = {}
    for index, row in rows.items():
        groups.setdefault(tuple(row["params"].get(n) for n in cell.names), {})[index] = row
    return {
        "task": cell.task,
        "arm": cell.arm,
        "names": list(cell.names),
        "total": _figures(rows, plain, full_score),
        "settings": [
            {
                "setting": dict(zip(cell.names, setting, strict=True)),
                **_figures(group, plain, full_score),
            }
            for setting, group in sorted(groups.items(), key=_in_order)
        ],
    }


def _in_order(item: tuple[Sequence[Any], object]) -> list[float]:
    return [float(value) for value in item[0]]


def _figures(rows: Rows, plain: Rows, full_score: float) -> dict[str, Any]:
    """Return the figures of some samples; failed requests are counted and are in nothing else."""
    good = {index: row for index, row in rows.items() if row["error"] is None}
    scores = {index: row["score"] / full_score for index, row in good.items()}
    sums = {name: _sum(good, "totals", name) for name in ("calls", "input_tokens", "output_tokens")}
    calls, refused = _sum(good, "told", "calls"), _sum(good, "told", "refused")
    return {
        "n": len(good),
        "failed": len(rows) - len(good),
        "accuracy": asdict(bootstrap_mean(list(scores.values()))) if scores else None,
        "against_plain": _against(scores, plain, full_score),
        "calls": calls,
        "refused": refused,
        "took_effect": (calls - refused) / calls if calls else None,
        "model_steps": sums["calls"],
        "billed_tokens": sums["input_tokens"],
        "cached_tokens": _sum(good, "totals", "cached_tokens"),
        "answered_tokens": sums["output_tokens"],
        "seconds_a_sample": _sum(good, "totals", "seconds") / len(good) if good else None,
        "failures": dict(Counter(_failure(r) for i, r in good.items() if scores[i] < 1)),
        "asked": _asked(good),
    }


def _sum(rows: Rows, part: str, name: str) -> Any:
    return sum(row[part][name] for row in rows.values())


def _against(scores: Mapping[int, float], plain: Rows, full_score: float) -> dict[str, Any] | None:
    """Return the difference to the plain arm over the samples that both have answered."""
    shared = [i for i in scores if i in plain and plain[i]["error"] is None]
    if not shared:
        return None
    before = [plain[index]["score"] / full_score for index in shared]
    return asdict(paired_bootstrap(before, [scores[index] for index in shared]))


def _failure(row: Row) -> str:
    """Return why a sample is not right in full, the first reason that fits."""
    if row["told"]["steps"] >= Budget().max_steps:
        return "steps used up"
    if row["told"]["finish"] == "length":
        return "cut at the limit of tokens"
    return "no answer" if _is_silent(row) else "wrong value"


def _is_silent(row: Row) -> bool:
    detail = row["detail"]
    answers = detail.get("answers")
    return (
        not (row["reply"] or "").strip()
        or detail.get("answered") is False
        or detail.get("answer", row["reply"]) in _NOTHING
        or (isinstance(answers, dict) and all(a in _NOTHING for a in answers.values()))
    )


def _asked(rows: Rows) -> dict[str, int] | None:
    """Return how single questions went, for tasks that ask for several values in one sample."""
    found: Counter[str] = Counter()
    for row in rows.values():
        if not isinstance(row["reference"], dict):
            return None
        answers = row["detail"].get("answers") or {}
        for key, value in row["reference"].items():
            answer = answers.get(key)
            found["missing" if answer is None else "right" if answer == value else "wrong"] += 1
    return dict(found)
