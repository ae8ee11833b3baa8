"""The program that times settings within a layer's pass, small, in the interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sculptor.mom.ops.kernels.launches import DEFAULTS, Case, Setting

FOLDER = Path(__file__).parents[3] / "evals" / "recipes" / "mom"
TINY = """
[tiny]
erase_gradient_kernel = ["w2 s1 BK8 BV16"]
sum_rows_kernel = ["w4 s3 BT8"]
"""


def _run(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "settings.toml").write_text(text)
    command = [sys.executable, str(FOLDER / "tune_pass.py"), "--quick", "--out", str(tmp_path)]
    command += ["--settings", str(tmp_path / "settings.toml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_setting_is_a_line_and_one_that_cannot_be_had_says_why(tmp_path) -> None:
    done = _run(tmp_path, TINY)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(x) for x in (tmp_path / "tune_pass.jsonl").read_text().splitlines()]
    assert [(line["part"], line["item"].removeprefix("tiny 1x4 ")) for line in lines] == [
        ("erase_gradient_kernel", "present"), ("sum_rows_kernel", "present"),
        ("erase_gradient_kernel", "w2 s1 BK8 BV16"), ("sum_rows_kernel", "w4 s3 BT8"),
    ]  # fmt: skip
    assert all(line["us"] > 0 for line in lines)
    failed = [line for line in lines if "failed" in line]
    assert [line["item"] for line in failed] == ["tiny 1x4 w4 s3 BT8"]
    assert "BD" in failed[0]["failed"]


def test_a_shape_that_is_not_there_is_named(tmp_path) -> None:
    done = _run(tmp_path, "[huge]\n")
    assert done.returncode == 2
    assert "no shape huge; there are tiny" in done.stderr


def test_what_is_to_be_tried_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    tune = __import__("tune_pass")
    want = Setting(warps=1, stages=3, registers=168, tiles={"BT": 1, "TILES": 64, "AHEAD": 2})
    assert tune.read_setting("w1 s3 r168 BT1 TILES64 AHEAD2") == want
    wanted = tune.tomllib.loads((FOLDER / "tune_pass.toml").read_text())
    case = Case(128, 128, True)
    for kernels in wanted.values():
        for kernel, words in kernels.items():
            tiles = set(DEFAULTS[kernel](case).tiles)
            assert all(set(tune.read_setting(word).tiles) == tiles for word in words), kernel
