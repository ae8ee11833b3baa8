"""The report of a training in parts: token accuracy by step, and what each part's weights could do.

``python evals/recipes/mom/training_report.py ABOUT.json OUT`` reads what was done (title, machine,
commits, commands; the parts, each with the folder of its run; what was examined after each) and
writes ``OUT/result.json``, ``report.md`` and ``plot.svg``. Without folders in ``ABOUT.json`` the
figures of ``OUT/result.json`` stay, and the pages are made from them again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from sculptor.evals.stats import wilson
from sculptor.mom.recipes.plot import line_plot


def main() -> None:
    """Write the figures and their pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("about", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    told = json.loads(arguments.about.read_text(encoding="utf-8"))
    for part in told["parts"]:
        if folder := part.pop("folder", ""):
            part["curve"] = _curve(Path(folder), tokens=part["tokens_per_step"])
    arguments.out.mkdir(parents=True, exist_ok=True)
    write = (arguments.out / "result.json").write_text
    write(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (arguments.out / "report.md").write_text(_page(told), encoding="utf-8")
    (arguments.out / "plot.svg").write_text(_plot(told), encoding="utf-8")


def _curve(folder: Path, *, tokens: int) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [_point(json.loads(line), tokens) for line in lines]


def _point(row: dict[str, Any], tokens: int) -> dict[str, Any]:
    score = row["score"]
    return {
        "step": row["step"],
        "tokens": row["step"] * tokens,
        "right": score["right"],
        "n": score["asked"],
        "token_accuracy": round(score["right"] / score["asked"], 5),
        "interval": [round(x, 5) for x in wilson(score["right"], score["asked"])],
        "entropy": round(score["entropy"], 4),
        "balance": round(row["balance"], 3),
        "tokens_per_s": row["tokens_per_s"],
    }


def _page(told: dict[str, Any]) -> str:
    rows = [
        f"| {part['name']} | {p['step']:,} | {p['tokens'] / 1e6:.0f}M | {p['token_accuracy']:.3f} "
        f"| {p['interval'][0]:.3f} to {p['interval'][1]:.3f} | {p['n']:,} | {p['balance']} "
        f"| {p['tokens_per_s'] / 1e3:.0f}k |"
        for part in told["parts"]
        for p in part["curve"]
    ]
    exams = [
        f"| {e['after']} | {e['task']} | {e['n']} | {e['right']} | {e['share']:.1%} | {e['said']} |"
        for e in told["examined"]
    ]
    return "\n".join(
        (
            f"# {told['title']}",
            "",
            f"{told['machine']}. Commits, commands and recipes: `result.json`.",
            "",
            "## Token accuracy on unseen scenes (teacher forcing; each part draws its own mix)",
            "",
            "![token accuracy](plot.svg)",
            "",
            "| part | step | tokens | accuracy | 95 % interval | n | balance | tokens/s so far |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            "## With the tools, on the evaluations' own prompts, after each part",
            "",
            "| after | task | n | all right | accuracy | |",
            "|---|---|---|---|---|---|",
            *exams,
            "",
            f"{_tokens(told) / 1e6:.0f}M tokens in all. {told['notes']}",
            "",
        )
    )


def _tokens(told: dict[str, Any]) -> int:
    return sum(part["tokens_per_step"] * part["steps"] for part in told["parts"])


def _plot(told: dict[str, Any]) -> str:
    series: dict[str, list[tuple[float, float]]] = {}
    before = 0
    for part in told["parts"]:
        curve = part["curve"]
        series[part["name"]] = [
            (round((before + p["tokens"]) / 1e6), p["token_accuracy"]) for p in curve
        ]
        before += part["tokens_per_step"] * part["steps"]
    title = "token accuracy on unseen scenes, each part's own mix"
    return line_plot(series, title=title, x_label="million tokens, all parts", y_label="")


if __name__ == "__main__":
    main()
