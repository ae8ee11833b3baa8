"""Pages from the figures of a card; nothing is measured here.

``python evals/recipes/mom/card_pages.py FOLDER`` reads ``card.jsonl`` of a folder, a
line a figure, with ``about.json`` (machine, command, aims, what was not run), and writes
``result.json`` (the lines by part) and ``report.md`` (a table a part).
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

TITLES = {
    "ceilings": "Ceilings: an 8192 bf16 product, a copy of 4 GiB",
    "correctness": "The layer against fp64, outputs and every gradient (largest relative error)",
    "pieces": "A sequence of 20,000 in pieces against the same in whole",
    "steps": "Single steps, and steps under a graph, against one pass (fp32)",
    "correctness, narrow heads": "The layer at heads of 16 and 32 against fp64",
    "pieces, narrow heads": "The same in pieces, at heads of 32",
    "steps, narrow heads": "The same in single steps, at heads of 32",
    "decode": "One layer-step at batch 1, microseconds",
    "layer": "A layer forward and backward",
    "train": "A training step of eight layers",
    "language training": "Training of the shipped model, end to end",
    "engine": "The runtime on a GPU: fp32 weights from int8, against the CPU runtime",
    "beside outputs": "Outputs beside flash-linear-attention 0.6.0, same weights, relative to fp64",
    "beside decode": "A decode step beside flash-linear-attention 0.6.0",
    "beside layer": "A layer beside flash-linear-attention 0.6.0",
    "layer before": "Our layer before router, gates and heads were fused",
    "length": "Constant memory",
}
"""Parts in the order of the page; what is not named here follows."""

_LEFT_OUT = frozenset({"part", "item", "errors", "over", "costliest"})


def main() -> None:
    """Write both pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    lines = (folder / "card.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    parts = {row["part"]: [r for r in rows if r["part"] == row["part"]] for row in rows}
    order = [*(part for part in TITLES if part in parts), *sorted(set(parts) - set(TITLES))]
    result = about | {"figures": {part: parts[part] for part in order}}
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    tables = [_section(part, parts[part]) for part in order]
    aims, missing = ("\n".join(f"- {text}" for text in about[part]) for part in ("aims", "not_run"))
    page = [
        "# Figures of a card",
        f"{about['machine']}. `{about['command']}`. Each figure names the commit it was made at; "
        "times are medians, with the fastest and the slowest run beside them.",
        "## Aims, and what stands in their way",
        aims,
        *tables,
        "## Not run",
        missing,
    ]
    (folder / "report.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")


def _section(part: str, rows: Sequence[Mapping[str, object]]) -> str:
    shown = [_shown(row) for row in rows]
    columns = list(dict.fromkeys(name for row in shown for name in row))
    head = "| " + " | ".join(name.replace("_", " ") for name in columns) + " |"
    rule = "|" + "---|" * len(columns)
    body = ["| " + " | ".join(row.get(name, "") for name in columns) + " |" for row in shown]
    return "\n".join([f"## {TITLES.get(part, part)}", "", head, rule, *body])


def _shown(row: Mapping[str, object]) -> dict[str, str]:
    """Return a figure's cells; of errors the largest and its name."""
    cells = {"what": str(row["item"])}
    errors = row.get("errors")
    if isinstance(errors, Mapping) and errors:
        name, worst = max(errors.items(), key=lambda entry: entry[1])
        cells |= {"largest error": f"{worst:.2g}", "of": str(name)}
    cells |= {name: _cell(value) for name, value in row.items() if name not in _LEFT_OUT}
    costliest = row.get("costliest")
    if isinstance(costliest, Mapping):
        named = list(costliest.items())[:4]
        cells["costliest (ms)"] = ", ".join(f"{name[:24]} {ms:.1f}" for name, ms in named)
    return cells


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return str(value)


if __name__ == "__main__":
    main()
