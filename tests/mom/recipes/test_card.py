"""The one command for the card: every stage at its smallest on a CPU, cut and resumed."""

import json
import subprocess
import sys
from pathlib import Path

CARD = Path(__file__).parents[3] / "evals" / "recipes" / "mom" / "card.py"


def _run(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CARD), "--quick", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def _lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "card.jsonl").read_text().splitlines()]


def test_every_stage_leaves_its_figures_and_is_made_once(tmp_path) -> None:
    first = _run(tmp_path)
    assert first.returncode == 0, first.stderr
    lines = _lines(tmp_path)
    assert {line["part"] for line in lines} == {
        "ceilings", "correctness", "steps", "layer", "decode", "beside", "train", "recall",
        "stretch", "pairs", "length",
    }  # fmt: skip
    assert all(line["ok"] for line in lines if "ok" in line)
    assert sum(line["part"] == "correctness" and line["ok"] for line in lines) > 1
    assert "flash-linear-attention" in next(x["why"] for x in lines if x["part"] == "beside")
    study = json.loads((tmp_path / "mqar_cpu" / "result.json").read_text())
    assert [(r["arm"], r["seed"]) for r in study["runs"]] == [
        (arm, seed) for arm in ("mom", "shared_only") for seed in (0, 0, 1)
    ]
    assert len({line["state_bytes"] for line in lines if line["part"] == "length"}) == 1
    again = _run(tmp_path)
    assert again.returncode == 0, again.stderr
    # Only what says that a library is absent is said again.
    assert [line for line in _lines(tmp_path)[len(lines) :] if line["part"] != "beside"] == []


def test_without_time_nothing_is_begun_and_an_unknown_stage_is_named(tmp_path) -> None:
    assert _run(tmp_path, "--seconds", "0", "--stages", "correctness,mqar").returncode == 0
    assert not (tmp_path / "card.jsonl").exists()
    wrong = _run(tmp_path, "--stages", "sums")
    assert wrong.returncode == 2
    assert "no stage sums; there are correctness, layers" in wrong.stderr
