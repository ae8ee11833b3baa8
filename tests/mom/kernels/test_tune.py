"""The program that tries launch settings on the card, small, in the interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sculptor.mom.ops.kernels import launches
from sculptor.mom.ops.kernels.launches import Case, Setting, setting

FOLDER = Path(__file__).parents[3] / "evals" / "recipes" / "mom"
KERNELS = "erase_gradient_kernel,heads_kernel"


def _run(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "tune.py"), "--quick", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def test_candidates_are_timed_and_checked_once_and_a_table_ends_it(tmp_path) -> None:
    first = _run(tmp_path, "--kernels", KERNELS)
    assert first.returncode == 0, first.stderr
    lines = [json.loads(x) for x in (tmp_path / "tune.jsonl").read_text().splitlines()]
    assert {line["part"] for line in lines} == set(KERNELS.split(","))
    assert all(line["ok"] and line["error"] < 1e-2 and line["ms"] > 0 for line in lines)
    assert {line["variant"] for line in lines if line["part"] == "heads_kernel"} == {
        "GATHERS=True UNIT=True", "GATHERS=False UNIT=True", "GATHERS=False UNIT=False",
    }  # fmt: skip
    table = first.stdout.splitlines()[len(lines) :]
    assert [line.split()[0] for line in table[1:-1]] == ["erase_gradient", "heads"]
    again = _run(tmp_path, "--kernels", "heads_kernel")
    assert again.returncode == 0, again.stderr
    assert len((tmp_path / "tune.jsonl").read_text().splitlines()) == len(lines)


def test_without_time_nothing_is_begun_and_an_unknown_kernel_is_named(tmp_path) -> None:
    assert _run(tmp_path, "--seconds", "0").returncode == 0
    assert not (tmp_path / "tune.jsonl").exists()
    wrong = _run(tmp_path, "--kernels", "sums")
    assert wrong.returncode == 2
    assert "no kernel sums; there are erase_gradient_kernel" in wrong.stderr


def test_a_candidate_that_cannot_be_had_says_why(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    tune = __import__("tune")

    class Kernel:
        def __getitem__(self, grid):
            return self

        def __call__(self, *, num_warps, num_stages):
            if num_warps == 8:
                raise RuntimeError("out of resource: shared memory")

    call = tune.Call(
        kernel=Kernel(), grid=(1,), arguments=(), case=Case(16, 16, True), constants={},
        present=Setting(),
    )  # fmt: skip
    assert tune.try_setting(call, Setting(warps=2))["ok"]
    told = tune.try_setting(call, Setting(warps=8))
    assert told == {"ok": False, "failed": "RuntimeError: out of resource: shared memory"}


def test_what_a_card_measured_wins_for_its_case_alone(monkeypatch) -> None:
    case, other = Case(64, 64, True), Case(128, 64, True)
    best = Setting(warps=2, stages=1, tiles={"BV": 32})
    monkeypatch.setitem(launches.MEASURED, ("chunk_states_kernel", case), best)
    assert setting("chunk_states_kernel", case).options() == {
        "BV": 32, "num_warps": 2, "num_stages": 1,
    }  # fmt: skip
    assert setting("chunk_states_kernel", Case(64, 64, True, few=True)) == best
    small = Setting(tiles={"BV": 16})
    few = Case(64, 64, True, few=True)
    monkeypatch.setitem(launches.MEASURED, ("chunk_states_kernel", few), small)
    assert setting("chunk_states_kernel", few) == small
    assert setting("chunk_states_kernel", case) == best
    assert setting("chunk_states_kernel", other).tiles == {"BV": 32}
    assert setting("chunk_states_kernel", other).warps == 4


@pytest.mark.parametrize("kernel", sorted(launches.DEFAULTS))
def test_every_candidate_keeps_its_tiles_within_a_head(kernel: str, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    tried = __import__("candidates").candidates
    for widths in ((64, 64), (128, 128), (256, 256), (64, 4)):
        case = Case(*widths, True)
        present = setting(kernel, case)
        found = tried(kernel, present, case, quick=False)
        assert found[0] == present
        assert len(found) > 3
        assert all(x.tiles.get("BV", 0) <= case.second for x in found)
