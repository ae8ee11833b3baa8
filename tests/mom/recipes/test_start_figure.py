"""The figure of a start is of servers that were really called."""

import json
import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).parents[3] / "evals" / "recipes" / "mom" / "start.py"


def test_both_backends_are_called_and_answer(tmp_path: Path) -> None:
    out = tmp_path / "start.json"
    command = [sys.executable, str(RECIPE), "--out", str(out), "--runs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(out.read_text(encoding="utf-8"))
    assert set(told["backends"]) == {"mom", "scripted"}
    for found in told["backends"].values():
        assert found["ready_s"]["n"] == len(found["ready_s"]["runs"]) == 1
        assert found["ready_s"]["mean"] > 0
        assert found["first_answer_s"]["mean"] > 0
