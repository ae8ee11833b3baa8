"""The figures of `ablations.py` and their page: what every arm reached, beside the three seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablation_run import TRAINED_FILE, curve
from origin import origin

from sculptor.errors import EvalError
from sculptor.mom.recipes.metrics import METRICS_FILE

CALLS_FILE = "calls.jsonl"
EXAMINED = ("trained_families", "with_tools", "direct", "under_1k_chars")
TASKS = {"pi-llm-sculptor": "PI-LLM", "needlebench-sculptor": "NeedleBench", "tool-log": "tool log"}
WAYS = {"sculptor": "with tools", "plain": "plain"}


def note_command(out: Path, *, gpus: int) -> None:
    """Keep this call's command and where it runs; the pages name all of them."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / CALLS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(origin(gpus=gpus)) + "\n")


def write_pages(out: Path, folders: Mapping[str, Path]) -> None:
    """Write ``result.json`` and ``report.md``; where no arm's folder is, from the former alone.

    What stands under ``note`` in ``result.json`` is written by hand and kept.

    Raises:
        EvalError: no arm was trained to its end.
    """
    path = out / "result.json"
    if any(folder.exists() for folder in folders.values()):
        calls = (out / CALLS_FILE).read_text(encoding="utf-8").splitlines()
        rows = [_row(n, f) for n, f in folders.items() if (f / METRICS_FILE).exists()]
        note = _read(path).get("note", "")
        value: dict[str, Any] = {
            "calls": [json.loads(call) for call in calls], "note": note, "arms": rows,
        }  # fmt: skip
        path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    value = _read(path)
    if not any("tokens" in row for row in value.get("arms", ())):
        raise EvalError(f"{out} holds no arm that was trained to its end; train one first.")
    (out / "report.md").write_text("\n".join(_page(value)) + "\n", encoding="utf-8")


def _row(name: str, folder: Path) -> dict[str, Any]:
    """Return all figures of an arm; of one that was cut, how far it came."""
    row = {"arm": name, **(_read(folder / TRAINED_FILE) or {"token_accuracy": curve(folder)})}
    exam = _read(folder / "exam.json")
    row["exam"] = {part: exam[part] for part in (*EXAMINED, "calls", "refused") if part in exam}
    cells = _read(folder / "figures" / "result.json").get("cells", [])
    row["cells"] = [_cell(cell) for cell in cells]
    return row


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return value


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("n", "failed", "accuracy", "calls", "refused")
    total = cell["total"]
    return {
        "task": cell["task"],
        "arm": cell["arm"],
        **{part: total[part] for part in kept},
        "settings": [
            {"setting": s["setting"], "n": s["n"], "accuracy": s["accuracy"]}
            for s in cell["settings"]
        ],
    }


def _page(value: Mapping[str, Any]) -> list[str]:
    rows, last = value["arms"], value["calls"][-1]
    whole = next(row for row in rows if "tokens" in row)
    steps = list(whole["token_accuracy"])
    columns = [f"{task}, {way}" for task in TASKS.values() for way in WAYS.values()]
    at = [f"after {step}" for step in steps]
    return [
        "# The shortened recipe: three seeds, and parts left out",
        "",
        f"{whole['tokens'] / 1e6:.0f}M tokens an arm from nothing, a GPU each "
        "(`evals/recipes/mom/language_short.toml`).",
        f"{last['machine']}, commit `{last['commit']}`:",
        "",
        *(f"    {call['command']}" for call in value["calls"]),
        "",
        *(part for part in (value["note"], "") if value["note"]),
        "## Our tasks, in their own words, through the proxy",
        "",
        "Mean score; 95 % bootstrap over samples.",
        "",
        *_head("arm", *columns, "calls refused"),
        *(_answers(row) for row in rows),
        "",
        "## Training, and turns of unseen scenes answered exactly in closed loop",
        "",
        "Token accuracy is on each arm's own mix and seed; turns with 95 % intervals over scenes.",
        "",
        *_head("arm", "active weights", "tokens/s", *at, "tools offered", "direct", "short"),
        *(_training(row, steps) for row in rows),
        "",
        "Tokens/s: in parts where a call cut the training. Short: under 1,000 characters.",
    ]


def _head(*columns: str) -> tuple[str, str]:
    return f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"


def _answers(row: Mapping[str, Any]) -> str:
    cells = {(cell["task"], cell["arm"]): cell for cell in row["cells"]}
    told = [_mean(cells.get((task, way))) for task in TASKS for way in WAYS]
    calls, refused = (sum(cell[part] for cell in row["cells"]) for part in ("calls", "refused"))
    of_calls = f"{refused} of {calls:,}" if cells else "not asked"
    return f"| {' | '.join((row['arm'], *told, of_calls))} |"


def _mean(cell: Mapping[str, Any] | None) -> str:
    if cell is None or not cell["n"]:
        return "not asked"
    found = cell["accuracy"]
    return f"{found['mean']:.1%} ({found['low']:.0%} to {found['high']:.0%}), n = {cell['n']}"


def _training(row: Mapping[str, Any], steps: Sequence[str]) -> str:
    pace = f"{row['tokens_per_s'] / 1e3:,.0f}k" if row.get("tokens_per_s") else "in parts"
    active = f"{row['active']:,}" if "active" in row else ""
    found = row["token_accuracy"]
    accuracies = (f"{found[step]:.4f}" if step in found else "cut" for step in steps)
    shares = (_share(row["exam"].get(part)) for part in EXAMINED[1:])
    return f"| {' | '.join((row['arm'], active, pace, *accuracies, *shares))} |"


def _share(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "not asked"
    low, high = value["interval"]
    return f"{value['right']} of {value['n']} ({low:.2f} to {high:.2f})"
