"""Two records of answers compared: the same, different, failed, and asked of one alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sculptor.evals.stats import wilson

RECIPE = Path(__file__).parents[3] / "evals" / "recipes" / "mom" / "parity.py"

FIRST = {
    "task:tools": {"0": "aa", "1": "bb", "2": "cc", "3": "", "4": "ee", "10": "", "11": "kk"},
    "task:plain": {"0": "aa"},
    "task:failed": {"0": ""},
    "task:long": {"0": "aa"},
}
SECOND = {
    "task:tools": {"0": "aa", "1": "bb", "2": "xx", "3": "dd", "4": "", "10": "", "12": "ll"},
    "task:plain": {"1": "aa", "2": "bb"},
    "task:failed": {"0": "aa"},
}
"""Of the first cell's samples 0 and 1 are the same, 2 is not, 3, 4 and 10 failed somewhere."""


def write(folder: Path, answers: object, *, fingerprint: str = "mom_1", seed: int = 0) -> Path:
    folder.mkdir()
    about = {
        "weights": {"name": "m", "fingerprint": fingerprint},
        "machine": {"device": f"device of {folder.name}"},
        "commit": "c",
        "made": "now",
        "how": {"seed": seed},
    }
    (folder / "result.json").write_text(json.dumps(about))
    (folder / "answers.json").write_text(json.dumps(answers))
    return folder


def compare(first: Path, second: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE), str(first), str(second), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_same_different_failed_and_missing_are_told_apart(tmp_path: Path) -> None:
    folders = write(tmp_path / "gpu", FIRST), write(tmp_path / "cpu", SECOND)
    done = compare(*folders, tmp_path / "out" / "parity")
    assert done.returncode == 0, done.stderr
    value = json.loads((tmp_path / "out" / "parity" / "result.json").read_text())
    cells = {cell.pop("cell"): cell for cell in value["cells"]}
    assert cells == {
        "task:tools": {
            "n": 3, "same": 2, "interval": [round(bound, 4) for bound in wilson(2, 3)],
            "failed": 3, "first_alone": 1, "second_alone": 1,
        },
        "task:plain": {
            "n": 0, "same": 0, "interval": None, "failed": 0, "first_alone": 1, "second_alone": 2,
        },
        "task:failed": {
            "n": 0, "same": 0, "interval": None, "failed": 1, "first_alone": 0, "second_alone": 0,
        },
    }  # fmt: skip
    assert value["cells_of_one"] == ["task:long"]
    assert [told["machine"]["device"] for told in value["runtimes"]] == [
        "device of gpu",
        "device of cpu",
    ]
    page = (tmp_path / "out" / "parity" / "report.md").read_text()
    assert "device of gpu and device of cpu; weights `mom_1`" in page
    assert "| task:tools | 3 | 2 | 20.8% to 93.8% | 3 | 1 | 1 |" in page
    assert "| task:plain | 0 | 0 | – | 0 | 1 | 2 |" in page
    assert "2 of 3 in all. In one of them alone: task:long." in page


def test_a_record_is_the_same_as_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / "gpu", FIRST)
    assert compare(folder, folder, tmp_path / "out").returncode == 0
    value = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [(cell["n"], cell["same"]) for cell in value["cells"]] == [
        (5, 5),
        (1, 1),
        (0, 0),
        (1, 1),
    ]
    assert value["cells_of_one"] == []
    assert "7 of 7 in all.\n" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("how", "says"),
    [({"fingerprint": "mom_2"}, "of different weights"), ({"seed": 1}, "their seeds differ")],
)
def test_answers_that_cannot_be_compared_are_refused(tmp_path: Path, how, says) -> None:
    done = compare(write(tmp_path / "a", FIRST), write(tmp_path / "b", SECOND, **how), tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "result.json").exists()
