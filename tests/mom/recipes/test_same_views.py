"""Requests kept on one runtime and asked again: the same, and one that differs is named."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.server.mom.builders import write_weights

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"
CELL = "tool-log:sculptor"


@pytest.fixture
def same_views(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(RECIPES))
    import same_views

    yield same_views
    for name in ("same_views", "same_views_pages", "kept_views", "model_cells", "origin"):
        sys.modules.pop(name, None)


def _done(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPES / "same_views.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def _run(*words: str | Path) -> None:
    done = _done(*words)
    assert done.returncode == 0, done.stderr


def _files(out: Path) -> list[Path]:
    return sorted(out.glob("views/*/samples.jsonl"))


def test_kept_requests_are_asked_again(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "weights"), tmp_path / "out"
    _run("record", weights, "--out", out, "--processes", "2", "--cells", f"{CELL}=1")
    kept = [json.loads(line) for file in _files(out) for line in file.read_text().splitlines()]
    assert sorted((sample["cell"], sample["index"]) for sample in kept) == [
        (CELL, index) for index in range(3)
    ]
    assert all(sample["asked"] for sample in kept)
    # What a kill leaves: the last line torn. Its sample alone is recorded again.
    file = _files(out)[0]
    torn = json.loads(file.read_text().splitlines()[-1])["index"]
    file.write_bytes(file.read_bytes()[:-30])
    _run("record", weights, "--out", out, "--processes", "1", "--cells", f"{CELL}=1")
    lines = [line for file in _files(out) for line in file.read_text().splitlines()]
    assert sorted(json.loads(line)["index"] for line in lines) == [0, 1, 2]
    assert torn in {json.loads(line)["index"] for line in _files(out)[0].read_text().splitlines()}

    _run("replay", weights, "--out", out)
    (cell,) = json.loads((out / "result.json").read_text())["cells"]
    assert cell["requests"] == cell["same"] >= 3
    assert (cell["samples"], cell["same_samples"], cell["indices"]) == (3, 3, [0, 1, 2])

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
    assert len(value["recorded"]) == 2
    assert "| 3 of 3 | 2 |" in (out / "report.md").read_text()

    other = write_weights(tmp_path / "other", seed=1)
    for what in ("record", "replay"):
        assert "holds requests to the weights" in _done(what, other, "--out", out).stderr
    assert "record some there first" in _done("replay", weights, "--out", tmp_path / "no").stderr


def test_rounding_settles_no_race_of_a_kept_request(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "weights"), tmp_path / "out"
    _run("record", weights, "--out", out, "--processes", "1", "--cells", f"{CELL}=1")
    kept = [json.loads(line) for file in _files(out) for line in file.read_text().splitlines()]
    sample, said = next(
        (sample["index"], asked["told"]["content"])
        for sample in kept
        for asked in sample["asked"]
        if asked["told"]["content"]
    )
    told = tmp_path / "rounding.json"
    command = [sys.executable, str(RECIPES / "rounding.py"), str(weights), str(out)]
    place = ["--cell", CELL, "--sample", str(sample), "--before", said[:2], "--marks", "3"]
    subprocess.run([*command, "--out", str(told), *place], check=True, timeout=110)
    value = json.loads(told.read_text())
    first, *others = value["readings"]
    assert (first["logits_apart"], first["races_settled_otherwise"]) == (0, 0)
    assert first["races"] >= value["tokens"]
    for reading in others:
        assert reading["logits_apart"] < (1e-9 if reading["dtype"] == "float64" else 1e-2)
        assert reading["races"] == first["races"]
        assert reading["races_settled_otherwise"] == 0 or reading["closest_race"] < 1e-4
    assert value["marks"] == {"n": 0}  # nothing was folded


def test_a_sample_that_failed_is_not_kept(
    same_views: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def solve(job: object, url: str) -> str:
        return "HTTP 500"

    monkeypatch.setattr(same_views, "_solve", solve)
    weights, jobs = write_weights(tmp_path / "weights"), [same_views.Job(CELL, 0)]
    with pytest.raises(SystemExit):
        same_views._answer_share(weights, tmp_path, jobs, 0, time.time() + 60)
    assert same_views.read_samples(tmp_path) == []
