"""Training told to stop, and training that is killed: what is kept, and what lives on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

RECIPE = """
[model]
vocab_size = 65
d_model = 16
layers = 2
mlp_width = 24
heads = 2
key_dim = 4
value_dim = 4

[task]
kind = "mqar"
pairs = 3
length = 12
vocab_size = 65

[train]
steps = 100000
batch = 4
rate = 1e-3
workers = 2
eval_every = 100000
"""


@contextmanager
def training(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Train in a process group of its own and yield once steps are made."""
    recipe = folder.with_suffix(".toml")
    recipe.write_text(RECIPE)
    words = ["mom", "train", str(recipe), "--out", str(folder), "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from sculptor.cli import main; main()", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr
        while not (line := process.stderr.readline()).startswith("step "):
            assert line, "it ended before its first step"
        yield process
    finally:
        for pid in living(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def living(group: int) -> dict[int, int]:
    """Return the processes of a group and their parents; none that only waits to be read off."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, owner = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(owner) == group and state not in "ZX":
            found[int(status.parent.name)] = int(parent)
    return found


def wait_until_gone(group: int) -> bool:
    """Wait a while for a group to end."""
    for _ in range(300):
        if not living(group):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_and_says_where_to_go_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    with training(tmp_path / "run") as process:
        # As a terminal, `timeout` and a service manager do: the workers get it too.
        os.killpg(process.pid, number)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130, told
        assert wait_until_gone(process.pid)
    step = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"]
    assert step > 0
    assert f"Stopped at step {step}; the same command goes on there." in told
    assert "Traceback" not in told


def test_workers_leave_signals_to_their_trainer(tmp_path: Path) -> None:
    with training(tmp_path / "run") as process:
        assert process.stderr
        there = living(process.pid)
        workers = [pid for pid, server in there.items() if server in there.keys() - {process.pid}]
        assert len(workers) == 2
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        for _ in range(3):
            assert process.stderr.readline().startswith("step ")
        assert set(workers) <= living(process.pid).keys()


def test_no_worker_outlives_its_trainer(tmp_path: Path) -> None:
    with training(tmp_path / "run") as process:
        assert len(living(process.pid)) >= 3
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        assert wait_until_gone(process.pid)
