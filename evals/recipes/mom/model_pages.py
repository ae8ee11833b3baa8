"""The pages of a model's figures, made from ``result.json`` alone: ``report.md`` and its charts."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from sculptor.evals.report.svg import Point, heat_map, line_chart, short_number

Json = Mapping[str, Any]
_HEAD = (
    "cell", "n", "accuracy (95 %)", "against plain", "calls", "refused", "steps a sample",
    "billed a sample", "answered a sample", "seconds a sample", "failures",
    "values right / wrong / missing",
)  # fmt: skip
_LEGEND = (
    "Accuracy is the mean over samples (sessions) with a percentile bootstrap over them, which has "
    "no width where all scores are equal, whatever n is. Against "
    "plain is the mean difference over the samples that both arms answered. Calls are those of the "
    "context tools; refused ones were answered with an error. Tokens are the model's own. Seconds "
    "are those of one sample while others ran beside it. Failures are samples not right in full, "
    "by the first reason that fits. Values are counted where a sample asks for several."
)


def write_pages(out: Path) -> None:
    """Write ``report.md`` and the charts that ``result.json`` calls for."""
    result = orjson.loads((out / "result.json").read_bytes())
    charts = dict(_charts(result["cells"]))
    for name, svg in charts.items():
        (out / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")
    (out / "report.md").write_text(_page(result, list(charts)), encoding="utf-8")


def _page(result: Json, charts: Sequence[str]) -> str:
    weights, machine, how = result["weights"], result["machine"], result["how"]
    cells = result["cells"]
    free = ", nothing held to its form" if how.get("unheld") else ""
    lines = [
        f"# {result['title']}",
        "",
        f"Weights `{weights['fingerprint']}` ({weights['name']}), {machine['device']}, commit "
        f"`{result['commit'][:12]}`, {result['made']}. Seed {how['seed']}, tools "
        f"`{how['admission']}`{free}; answered in {result['sittings']} sittings:",
        "",
        *(line for command in result["command"].splitlines() for line in (f"`{command}`", "")),
        *((result["note"], "") if "note" in result else ()),
        *(line for name in charts for line in (f"![{name}]({name}.svg)", "")),
        "## All cells",
        "",
        *_table(_HEAD, [_row(f"{c['task']}, {c['arm']}", c["total"]) for c in cells]),
        "",
        _LEGEND,
    ]
    for cell in cells:
        head = (*cell["names"], *_HEAD[1:])
        rows = [_row(_setting(s["setting"]), s) for s in cell["settings"]]
        lines += ["", f"## {cell['task']}, {cell['arm']}", ""]
        lines += [*_before(cell), *_table(head, rows)]
    return "\n".join([*lines, ""])


def _before(cell: Json) -> list[str]:
    """Return what is said above a cell that was answered before the others."""
    before = cell.get("before")
    if before is None:
        return []
    told = (
        f"Answered before, {before['made']}, {before['device']}, commit `{before['commit'][:12]}`"
    )
    commands = ", ".join(f"`{command}`" for command in before["command"].splitlines())
    return [f"{told}: {commands}. {before['note']}".rstrip(), ""]


def _setting(setting: Json) -> str:
    return " | ".join(str(value) for value in setting.values())


def _row(first: str, figures: Json) -> list[str]:
    n, asked = max(1, figures["n"]), figures["asked"]
    return [
        first,
        f"{figures['n']}" + (f" (+{figures['failed']} failed)" if figures["failed"] else ""),
        _interval(figures["accuracy"]),
        _interval((figures["against_plain"] or {}).get("interval"), sign="+"),
        f"{figures['calls']:,}",
        f"{figures['refused']:,}",
        f"{figures['model_steps'] / n:.1f}",
        f"{figures['billed_tokens'] / n:,.0f}",
        f"{figures['answered_tokens'] / n:,.0f}",
        "–" if figures["seconds_a_sample"] is None else f"{figures['seconds_a_sample']:.1f}",
        ", ".join(f"{name} {count}" for name, count in sorted(figures["failures"].items())) or "–",
        " / ".join(f"{asked.get(n, 0):,}" for n in ("right", "wrong", "missing")) if asked else "–",
    ]


def _interval(found: Json | None, *, sign: str = "") -> str:
    if found is None:
        return "–"
    mean, low, high = (f"{100 * found[name]:{sign}.1f}" for name in ("mean", "low", "high"))
    return f"{mean} % ({low} to {high})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(row)} |" for row in cells]


def _charts(cells: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Yield a line chart for each task of one parameter, a heat map for each arm of two."""
    for task in dict.fromkeys(cell["task"] for cell in cells):
        own = [cell for cell in cells if cell["task"] == task and _drawn(cell)]
        if own and len(own[0]["names"]) == 1:
            (name,) = own[0]["names"]
            lines = {c["arm"]: [_point(s, name) for s in _drawn(c)] for c in own}
            title = f"{task}: accuracy (95 % intervals)"
            yield task, line_chart(title, lines, x_label=name.removeprefix("n_"))
        elif own:
            yield from ((f"{task}-{c['arm']}", _heat(c)) for c in own)


def _drawn(cell: Json) -> list[Json]:
    return [setting for setting in cell["settings"] if setting["accuracy"]]


def _point(figures: Json, name: str) -> Point:
    found = figures["accuracy"]
    note = f"{_interval(found)}, n = {found['n']}"
    return Point(
        x=figures["setting"][name], y=found["mean"], low=found["low"], high=found["high"], note=note
    )


def _heat(cell: Json) -> str:
    """Return a cell's grid, the second parameter's values upon the first's."""
    across, up = cell["names"]
    settings = _drawn(cell)
    columns, rows = (sorted({s["setting"][name] for s in settings}) for name in (across, up))
    return heat_map(
        f"{cell['task']}, {cell['arm']}: accuracy in %",
        [str(value) for value in rows],
        [short_number(value) for value in columns],
        {
            (rows.index(s["setting"][up]), columns.index(s["setting"][across])): (
                s["accuracy"]["mean"],
                f"{_interval(s['accuracy'])}, n = {s['n']}",
            )
            for s in settings
        },
        row_label=up,
        column_label=across,
    )
