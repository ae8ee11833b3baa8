"""The check of narrow heads that a card runs first, small, on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "evals" / "recipes" / "mom" / "narrow.py"


def test_each_layer_is_told_of(tmp_path) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(x) for x in (tmp_path / "narrow.jsonl").read_text().splitlines()]
    assert [line["item"] for line in lines] == [
        "16 memory float32", "16 memory bfloat16", "16 before float32", "16 before bfloat16",
    ]  # fmt: skip


def test_what_is_not_right_fails(tmp_path) -> None:
    wrong = {"part": "correctness", "item": "16 memory float32", "ok": False}
    (tmp_path / "narrow.jsonl").write_text(json.dumps(wrong) + "\n", encoding="utf-8")
    command = [sys.executable, str(SCRIPT), "--quick", "--out", str(tmp_path), "--seconds", "0"]
    assert subprocess.run(command, timeout=110, check=False).returncode == 1
