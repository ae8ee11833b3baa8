"""An exam goes on where it was cut, and its unit is the scene."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sculptor.evals.stats import wilson
from tests.server.mom.builders import write_weights

RECIPE = Path(__file__).parents[3] / "evals" / "recipes" / "mom" / "exams.py"
SAMPLES = 6


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    return import_module("exam_figures")


def run(weights: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE), str(weights), "--out", str(out), "--chars", "300"]
    words = ("--samples", str(SAMPLES), *words)
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=110)


def kept(out: Path) -> list[dict[str, Any]]:
    files = sorted(out.with_suffix(".scenes").glob("*/samples.jsonl"))
    return [json.loads(line) for file in files for line in whole_lines(file)]


def whole_lines(file: Path) -> list[bytes]:
    return [line for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def test_a_cut_exam_goes_on_to_the_same_figures(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "weights")
    whole, cut = tmp_path / "whole.json", tmp_path / "cut.json"
    done = run(weights, whole, "--processes", "1")
    assert done.returncode == 0, done.stderr
    assert [scene["index"] for scene in kept(whole)] == list(range(SAMPLES))

    assert run(weights, cut, "--processes", "1").returncode == 0
    cut.unlink()
    (file,) = cut.with_suffix(".scenes").glob("*/samples.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:-30])  # as a kill leaves it, in the third line
    counted = run(weights, cut, "--processes", "1", "--seconds", "0")
    assert counted.returncode == 0, counted.stderr
    assert len(whole_lines(file)) == 2
    told = json.loads(cut.read_text())
    assert sum(part["scenes"] for part in told["families"].values()) == 2

    again = run(weights, cut, "--processes", "2")
    assert again.returncode == 0, again.stderr
    assert sorted(scene["index"] for scene in kept(cut)) == list(range(SAMPLES))
    assert cut.read_text() == whole.read_text()

    other = run(write_other(tmp_path), cut, "--processes", "1")
    assert other.returncode == 2
    assert "holds scenes of another exam (weights); remove it, or name" in other.stderr
    assert cut.read_text() == whole.read_text()


def test_a_scene_is_kept_as_soon_as_it_is_done(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "weights"), tmp_path / "exam.json"
    command = [sys.executable, str(RECIPE), str(weights), "--out", str(out), "--chars", "300"]
    running = subprocess.Popen(
        [*command, "--samples", "100000", "--processes", "1"], start_new_session=True
    )
    try:
        while not kept(out):
            assert running.poll() is None
            time.sleep(0.05)
        assert running.poll() is None
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert not out.exists()


def write_other(folder: Path) -> Path:
    other = write_weights(folder / "other")
    about = other / "config.json"
    about.write_text(about.read_text() + "\n")
    return other


def scenes(figures: Any, *rights: list[bool], **about: Any) -> list[Any]:
    told = {"family": "updates", "form": "tools", "chars": 300} | about
    return [
        figures.ExaminedScene(
            index=index,
            turns=tuple(
                figures.ExaminedTurn(right=right, calls=2, refused=1, wanted="w", told="t")
                for right in turns
            ),
            **told,
        )
        for index, turns in enumerate(rights)
    ]


def test_turns_of_a_scene_that_go_alike_widen_the_interval(figures) -> None:
    alike = figures.share(scenes(figures, *([[True] * 5] * 6), *([[False] * 5] * 6)))
    alone = figures.share(scenes(figures, *([[True]] * 30), *([[False]] * 30)))
    assert (alike["right"], alike["n"], alike["scenes"]) == (30, 60, 12)
    assert (alone["right"], alone["n"], alone["scenes"]) == (30, 60, 60)
    assert alike["share"] == alone["share"] == 0.5
    widths = [high - low for low, high in (alike["interval"], alone["interval"])]
    assert widths[0] == pytest.approx(widths[1] * 5**0.5, rel=0.12)
    assert alone["interval"] == pytest.approx(wilson(30, 60), abs=0.02)


def test_long_scenes_count_by_their_turns(figures) -> None:
    """The share is of turns; the mean of the scenes' own shares would be a half."""
    told = figures.share(scenes(figures, [True] * 9, [False]))
    assert told["share"] == 0.9
    assert told["interval"] == [0.0, 1.0]


def test_where_all_went_alike_scenes_are_what_is_counted(figures) -> None:
    right = figures.share(scenes(figures, [True] * 4, [True] * 4, [True] * 4))
    assert right["interval"] == [round(bound, 4) for bound in wilson(3, 3)]
    wrong = figures.share(scenes(figures, [False, False]))
    assert wrong["interval"] == [round(bound, 4) for bound in wilson(0, 1)]
    nothing = {"right": 0, "n": 0, "share": 0.0, "interval": [0.0, 1.0], "scenes": 0}
    assert figures.share([]) == nothing


def test_figures_tell_families_forms_lengths_and_what_went_wrong(figures) -> None:
    given = [
        *scenes(figures, [True, False], [True]),
        *scenes(figures, [True], form="direct", chars=5_000),
        *scenes(figures, [False], [False], family="whereabouts"),
    ]
    told = figures.summarize(given, about={"seed": 7})
    counts = {name: (part["right"], part["n"]) for name, part in told["families"].items()}
    assert counts == {
        "updates direct": (1, 1),
        "updates tools": (2, 3),
        "whereabouts direct": (0, 0),
        "whereabouts tools": (0, 2),
    }
    names = ("trained_families", "with_tools", "direct", "under_1k_chars")
    assert [(told[n]["right"], told[n]["n"]) for n in names] == [(3, 4), (2, 3), (1, 1), (2, 3)]
    assert (told["seed"], told["calls"], told["refused"]) == (7, 12, 6)
    assert [turn["family"] for turn in told["wrong"]] == ["updates", "whereabouts", "whereabouts"]
    assert told["wrong"][0] == {
        "family": "updates", "form": "tools", "chars": 300, "right": False, "calls": 2,
        "refused": 1, "wanted": "w", "told": "t",
    }  # fmt: skip
