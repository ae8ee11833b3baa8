"""Whether two runtimes answered alike: the answers of two sets of figures, sample by sample.

``python evals/recipes/mom/parity.py GPU CPU --out FOLDER`` takes two folders that
`model_figures.py` wrote for the same weights and seed, compares what both answered, and writes
``FOLDER/result.json`` and ``report.md``. Samples that failed, and those that only one of the two
was asked, are counted and not compared.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from sculptor.evals.stats import wilson


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folders = (arguments.first, arguments.second)
    results = [_read(folder / "result.json") for folder in folders]
    if results[0]["weights"] != results[1]["weights"]:
        parser.error("the folders hold answers of different weights")
    if results[0]["how"]["seed"] != results[1]["how"]["seed"]:
        parser.error("the folders hold answers to different samples: their seeds differ")
    first, second = (_read(folder / "answers.json") for folder in folders)
    value = {
        "title": "The same views answered by two runtimes",
        "command": f"python evals/recipes/mom/parity.py {folders[0]} {folders[1]} --out FOLDER",
        "weights": results[0]["weights"],
        "runtimes": [
            {name: result[name] for name in ("machine", "commit", "made")} for result in results
        ],
        "cells": [_cell(name, first[name], second[name]) for name in first if name in second],
        "cells_of_one": sorted(first.keys() ^ second.keys()),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write = (arguments.out / "result.json").write_text
    write(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "report.md").write_text(_page(value), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _cell(name: str, first: dict[str, str], second: dict[str, str]) -> dict[str, Any]:
    """Compare the answers to a cell's samples, each by its number; a failed one is empty."""
    common = first.keys() & second.keys()
    both = [index for index in common if first[index] and second[index]]
    same = sum(first[index] == second[index] for index in both)
    return {
        "cell": name,
        "n": len(both),
        "same": same,
        "interval": [round(x, 4) for x in wilson(same, len(both))] if both else None,
        "failed": len(common) - len(both),
        "first_alone": len(first.keys() - common),
        "second_alone": len(second.keys() - common),
    }


def _page(value: dict[str, Any]) -> str:
    devices = " and ".join(str(told["machine"]["device"]) for told in value["runtimes"])
    cells = value["cells"]
    same, n = (sum(cell[name] for cell in cells) for name in ("same", "n"))
    lines = [
        f"# {value['title']}",
        "",
        f"{devices}; weights `{value['weights']['fingerprint']}`; answers compared byte by byte. "
        "Failed samples (in one or both) and those that only one was asked are not compared.",
        "",
        "| cell | answered by both | the same | 95 % (Wilson) "
        "| failed | first alone | second alone |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {cell['cell']} | {cell['n']} | {cell['same']} "
        f"| {_interval(cell['interval'])} | {cell['failed']} "
        f"| {cell['first_alone']} | {cell['second_alone']} |"
        for cell in cells
    ]
    told = f"{same} of {n} in all."
    if value["cells_of_one"]:
        told += f" In one of them alone: {', '.join(value['cells_of_one'])}."
    return "\n".join((*lines, "", told, ""))


def _interval(found: list[float] | None) -> str:
    return "–" if found is None else f"{found[0]:.1%} to {found[1]:.1%}"


if __name__ == "__main__":
    main()
