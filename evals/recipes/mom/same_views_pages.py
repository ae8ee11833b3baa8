"""The figures of `same_views.py` and their page: what was answered alike, and what was not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kept_views import Told
from model_cells import CELLS

from sculptor.evals.stats import wilson

Pair = tuple[Mapping[str, Any], Sequence[Told]]
"""A sample with its requests, and what was written when they were asked again."""

_COUNTS = ("requests", "same", "samples", "same_samples", "wanted")


def cells_of(pairs: Sequence[Pair], *, wanted: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return how many requests and whole samples of each cell were answered alike."""
    return [
        _cell(name, [pair for pair in pairs if pair[0]["cell"] == name], wanted=wanted[name])
        for name in CELLS
        if name in wanted
    ]


def _cell(name: str, pairs: Sequence[Pair], *, wanted: int) -> dict[str, Any]:
    alike = [[a["told"] == b for a, b in zip(s["asked"], t, strict=True)] for s, t in pairs]
    whole = sum(map(all, alike))
    return {
        "cell": name,
        "requests": sum(map(len, alike)),
        "same": sum(map(sum, alike)),
        "samples": len(alike),
        "same_samples": whole,
        "wanted": wanted,
        "interval": _interval(whole, len(alike)),
        "indices": sorted(sample["index"] for sample, _ in pairs),
    }


def _interval(same: int, samples: int) -> list[float] | None:
    return [round(x, 4) for x in wilson(same, samples)] if samples else None


def differences(sample: Mapping[str, Any], answers: Sequence[Told]) -> Iterator[Told]:
    """Yield the requests that were answered in another way, with both answers."""
    for at, (asked, answer) in enumerate(zip(sample["asked"], answers, strict=True)):
        if asked["told"] != answer:
            where = {"cell": sample["cell"], "index": sample["index"], "request": at}
            yield where | {"recorded": asked["told"], "replayed": answer}


def page(value: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report."""
    cells, after = value["cells"], value["replayed"]
    total = {name: sum(cell[name] for cell in cells) for name in _COUNTS}
    total |= {"cell": "all", "interval": _interval(total["same_samples"], total["samples"])}
    return [
        f"# {value['title']}",
        "",
        *(_line("Recorded", call) for call in value["recorded"]),
        _line(f"Asked again, {after['concurrency']} samples at a time,", after),
        "",
        f"Weights `{value['weights']}`. What was written is compared byte by byte, text and calls; "
        "the interval is Wilson's, over samples.",
        "",
        "| cell | requests | the same | samples | the same throughout | 95 % |",
        "|---|---|---|---|---|---|",
        *map(_row, (*cells, total)),
    ]


def _line(what: str, call: Mapping[str, Any]) -> str:
    told = f", {call['note']}" if "note" in call else ""
    return f"- {what} on {call['machine']}, commit `{call['commit']}`: `{call['command']}`{told}"


def _row(cell: Mapping[str, Any]) -> str:
    low, high = cell["interval"] or (0.0, 1.0)
    return (
        f"| {cell['cell']} | {cell['requests']} | {cell['same']} "
        f"| {cell['samples']} of {cell['wanted']} | {cell['same_samples']} "
        f"| {low:.1%} to {high:.1%} |"
    )
