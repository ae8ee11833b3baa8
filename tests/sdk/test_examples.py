"""Every example runs as it is written, offline, and says what it promises."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
PROMISES = {
    "manage.py": ["Folded: ", "Found, though folded: 1", "'o3 undo'", "Sessions left: 0"],
    "own_loop.py": [
        "Build 23 was deployed last.",
        "Still found, though folded: 07:00 deployed build 7, all checks passed.",
        "Undone: ",
    ],
    "own_loop_async.py": [
        "There was no vote.",
        "Loaded the same version: True",
        "the notes are whole: True",
    ],
    "streaming.py": ["Let me look.\n\nThe value is 2884."],
    "wrap_async.py": [
        "The program is asked for: ['get_weather']",
        "['assistant', 'tool', 'tool']",
    ],
    "wrap_openai.py": ["Valve 599 comes last.", "Bytes sent: "],
}


def test_every_example_is_run() -> None:
    assert {path.name for path in FOLDER.glob("*.py")} == set(PROMISES)


@pytest.mark.parametrize("name", sorted(PROMISES))
def test_an_example_does_what_it_says(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for promise in PROMISES[name]:
        assert promise in done.stdout
