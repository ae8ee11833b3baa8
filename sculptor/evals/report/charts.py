"""Which charts a set of runs calls for.

Runs of one task are drawn together, one series an arm (and run, where several runs share an arm):
accuracy against updates for PI-LLM, a heat map an arm where length varies, and for every task
accuracy against the tokens billed for one sample.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sculptor.evals.report.svg import Point, heat_map, line_chart, scatter_chart, short_number
from sculptor.evals.runs.results import ArmResult, Figures, RunResult

_ROWS = ("depth", "num_needles", "n_needles", "question_type")


class Chart(NamedTuple):
    """One picture: a name fit for a file, and the SVG text."""

    name: str
    svg: str


def charts_of(results: Sequence[RunResult]) -> list[Chart]:
    """Return all charts, task by task."""
    found: list[Chart] = []
    for task in dict.fromkeys(result.plan.task for result in results):
        runs = [result for result in results if result.plan.task == task]
        series = _series(runs)
        if any("n_updates" in run.cell_names for run in runs):
            found += _updates(task, series)
        for name, (run, arm) in series.items():
            found += _heat(task, name, run, arm)
        found += _billed(task, series)
    return found


def _series(runs: Sequence[RunResult]) -> Mapping[str, tuple[RunResult, ArmResult]]:
    several = len(runs) > 1
    return {
        f"{run.name}: {arm.arm}" if several else arm.arm: (run, arm)
        for run in runs
        for arm in run.arms.values()
    }


def _updates(task: str, series: Mapping[str, tuple[RunResult, ArmResult]]) -> Iterable[Chart]:
    drawn = {
        name: [
            _point(float(dict(cell)["n_updates"]), figures)
            for cell, figures in arm.cells.items()
            if figures.accuracy is not None
        ]
        for name, (run, arm) in series.items()
        if run.cell_names == ("n_updates",)
    }
    if drawn:
        title = f"{task}: accuracy against updates a key (95 % intervals)"
        yield Chart(f"{task}-updates", line_chart(title, drawn, x_label="updates a key"))


def _heat(task: str, name: str, run: RunResult, arm: ArmResult) -> Iterable[Chart]:
    rows = next((each for each in _ROWS if each in run.cell_names), None)
    if "length" not in run.cell_names or rows is None:
        return
    languages = _values(arm, "language") if "language" in run.cell_names else [None]
    for language in languages:
        picked = {
            cell: figures
            for cell, figures in arm.cells.items()
            if language is None or dict(cell)["language"] == language
        }
        tail = "" if language is None else f", {language}"
        title = f"{task}, {name}{tail}: accuracy in %, {rows} by length"
        file = "-".join(filter(None, (task, name.replace(": ", "-"), language, "heat")))
        yield Chart(file, _grid(title, picked, rows))


def _grid(title: str, cells: Mapping[tuple[tuple[str, Any], ...], Figures], rows: str) -> str:
    heights = sorted({dict(cell)[rows] for cell in cells})
    lengths = sorted({dict(cell)["length"] for cell in cells})
    groups: dict[tuple[int, int], list[Figures]] = {}
    for cell, figures in cells.items():
        values = dict(cell)
        place = heights.index(values[rows]), lengths.index(values["length"])
        groups.setdefault(place, []).append(figures)
    means = {place: _joined(group) for place, group in groups.items()}
    return heat_map(
        title,
        [str(value) for value in heights],
        [short_number(value) for value in lengths],
        {place: (mean, f"{100 * mean:.1f} %, n = {n}") for place, (mean, n) in means.items() if n},
        row_label=rows,
        column_label="length in tokens",
    )


def _billed(task: str, series: Mapping[str, tuple[RunResult, ArmResult]]) -> Iterable[Chart]:
    drawn = {
        name: points
        for name, (_, arm) in series.items()
        if (
            points := [
                _billed_point(figures) for figures in arm.cells.values() if _is_full(figures)
            ]
        )
    }
    if drawn:
        title = f"{task}: accuracy against billed tokens, a point a cell"
        label = "tokens billed for one sample, input and output of all calls"
        yield Chart(f"{task}-billed", scatter_chart(title, drawn, x_label=label))


def _is_full(figures: Figures) -> bool:
    return figures.accuracy is not None and figures.input_tokens > 0


def _billed_point(figures: Figures) -> Point:
    return _point((figures.input_tokens + figures.output_tokens) / figures.n, figures)


def _point(x: float, figures: Figures) -> Point:
    found = figures.accuracy
    assert found is not None
    return Point(
        x=x,
        y=found.mean,
        low=found.low,
        high=found.high,
        note=f"{100 * found.mean:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f}), "
        f"n = {found.n}, at {short_number(x)}",
    )


def _joined(group: Sequence[Figures]) -> tuple[float, int]:
    found = [figures.accuracy for figures in group if figures.accuracy is not None]
    n = sum(each.n for each in found)
    return (sum(each.mean * each.n for each in found) / n if n else 0.0), n


def _values(arm: ArmResult, name: str) -> list[Any]:
    return sorted({dict(cell)[name] for cell in arm.cells})
