"""The report of a training in parts: counted from its runs, and made again from its own figures."""

import json
import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).parents[3] / "evals" / "recipes" / "mom" / "training_report.py"


def _run(about: Path, out: Path) -> None:
    subprocess.run([sys.executable, str(RECIPE), str(about), str(out)], check=True, timeout=60)


def test_parts_are_counted_one_behind_the_other(tmp_path: Path) -> None:
    parts = []
    for name, right in (("one", 50), ("two", 90)):
        score = {"right": right, "asked": 100, "entropy": 0.5, "load": []}
        line = {"step": 10, "balance": 2.0, "tokens_per_s": 1000.0, "score": score}
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        folder = str(tmp_path / name)
        parts.append({"name": name, "steps": 20, "tokens_per_step": 10**6, "folder": folder})
    examined = [{"after": "two", "task": "t", "n": 4, "right": 1, "share": 0.25, "said": "so"}]
    told = {"title": "T", "machine": "M", "parts": parts, "examined": examined, "notes": "N."}
    about, out = tmp_path / "about.json", tmp_path / "out"
    about.write_text(json.dumps(told))
    _run(about, out)
    page = (out / "report.md").read_text()
    assert "| one | 10 | 10M | 0.500 | 0.404 to 0.596 | 100 | 2.0 | 1k |" in page
    assert "| two | t | 4 | 1 | 25.0% | so |" in page
    assert "40M tokens in all. N." in page
    assert ">30<" in (out / "plot.svg").read_text()
    _run(out / "result.json", tmp_path / "again")
    for name in ("result.json", "report.md", "plot.svg"):
        assert (tmp_path / "again" / name).read_text() == (out / name).read_text()
