"""Requests kept on one runtime and asked again: the same, and one that differs is named."""

import json
import subprocess
import sys
from pathlib import Path

from tests.server.mom.builders import write_weights

RECIPE = Path(__file__).parents[3] / "evals" / "recipes" / "mom" / "same_views.py"
CELL = "tool-log:sculptor"


def _done(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def _run(*words: str | Path) -> None:
    done = _done(*words)
    assert done.returncode == 0, done.stderr


def test_kept_requests_are_asked_again(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "weights"), tmp_path / "out"
    _run("record", weights, "--out", out, "--processes", "2", "--cells", f"{CELL}=1")
    kept = [json.loads(line) for file in _files(out) for line in file.read_text().splitlines()]
    assert sorted((sample["cell"], sample["index"]) for sample in kept) == [
        (CELL, index) for index in range(3)
    ]
    assert all(sample["asked"] for sample in kept)
    _run("record", weights, "--out", out, "--processes", "1", "--cells", f"{CELL}=1")
    assert sum(file.read_text().count("\n") for file in _files(out)) == 3

    _run("replay", weights, "--out", out)
    (cell,) = json.loads((out / "result.json").read_text())["cells"]
    assert cell["requests"] == cell["same"] == sum(len(sample["asked"]) for sample in kept)
    assert (cell["samples"], cell["same_samples"]) == (3, 3)

    file = _files(out)[0]
    first, *rest = file.read_text().splitlines(keepends=True)
    sample = json.loads(first)
    wanted = sample["asked"][-1]["told"]
    sample["asked"][-1]["told"] = wanted | {"content": "another"}
    file.write_text("".join((json.dumps(sample) + "\n", *rest)))
    _run("replay", weights, "--out", out)
    value = json.loads((out / "result.json").read_text())
    (row,) = value["different"]
    assert (row["cell"], row["index"]) == (CELL, sample["index"])
    assert (row["recorded"]["content"], row["replayed"]) == ("another", wanted)
    assert value["cells"][0]["same_samples"] == 2
    assert "2 of 3 samples" in (out / "report.md").read_text()

    other = write_weights(tmp_path / "other", seed=1)
    for what in ("record", "replay"):
        assert "holds requests to the weights" in _done(what, other, "--out", out).stderr
    assert "record some there first" in _done("replay", weights, "--out", tmp_path / "no").stderr


def _files(out: Path) -> list[Path]:
    return sorted(out.glob("views/*/samples.jsonl"))
