"""The figures of `same_views.py` and their page: what was answered alike, and what was not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model_cells import CELLS

from sculptor.evals.stats import wilson

Told = Mapping[str, Any]
Pair = tuple[Mapping[str, Any], Sequence[Told]]
"""A sample with its requests, and what was written when they were asked again."""


def cells_of(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return how many requests and whole samples of each cell were answered alike."""
    found = {sample["cell"] for sample, _ in pairs}
    return [_cell(n, [p for p in pairs if p[0]["cell"] == n]) for n in CELLS if n in found]


def _cell(name: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    alike = [[a["told"] == b for a, b in zip(s["asked"], t, strict=True)] for s, t in pairs]
    requests, same = sum(map(len, alike)), sum(map(sum, alike))
    whole = sum(map(all, alike))
    return {
        "cell": name,
        "requests": requests,
        "same": same,
        "samples": len(alike),
        "same_samples": whole,
        "interval": [round(x, 4) for x in wilson(whole, len(alike))],
    }


def differences(sample: Mapping[str, Any], answers: Sequence[Told]) -> Iterator[Told]:
    """Yield the requests that were answered in another way, with both answers."""
    for at, (asked, answer) in enumerate(zip(sample["asked"], answers, strict=True)):
        if asked["told"] != answer:
            where = {"cell": sample["cell"], "index": sample["index"], "request": at}
            yield where | {"recorded": asked["told"], "replayed": answer}


def page(value: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report."""
    cells = value["cells"]
    total = {k: sum(c[k] for c in cells) for k in ("requests", "same", "samples", "same_samples")}
    before, after = value["recorded"], value["replayed"]
    return [
        f"# {value['title']}",
        "",
        f"Recorded on {before['machine']}, `{before['command']}`; asked again on "
        f"{after['machine']}, `{after['command']}`. Weights `{value['weights']}`. What was written "
        "is compared byte by byte, text and calls; the interval is Wilson's, over samples.",
        "",
        "| cell | requests | the same | samples | the same throughout | 95 % |",
        "|---|---|---|---|---|---|",
        *(
            f"| {c['cell']} | {c['requests']} | {c['same']} | {c['samples']} "
            f"| {c['same_samples']} | {c['interval'][0]:.1%} to {c['interval'][1]:.1%} |"
            for c in cells
        ),
        "",
        f"In all {total['same']:,} of {total['requests']:,} requests, "
        f"{total['same_samples']} of {total['samples']} samples.",
    ]
