"""The extras at work, each in an environment of its own: Ray on two workers, Inspect on our tasks.

Both are large and neither belongs to the default install, so the tests' own environment lacks them.
"""

import os
import subprocess
from pathlib import Path

import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.clients.environments import ROOT, make

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

PINS = Path(__file__).parent / "extras"


def run(extra: str, module: str, *arguments: str, home: Path) -> str:
    """Run a program of ours in the environment of an extra and return what it printed."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        [make(PINS / f"{extra}.txt"), "-m", module, *arguments],
        env={**kept, "HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_ray_workers_get_the_results_of_one_process(tmp_path: Path) -> None:
    told = run("ray", "tests.evals.ray_two_workers", home=tmp_path)
    assert "got the same results" in told


def test_inspect_scores_our_tasks_as_our_own_runner_does(tmp_path: Path) -> None:
    url, stop = serve_in_thread(
        Settings(port=0, store="memory", drain_seconds=1, backend="scripted")
    )
    try:
        told = run("inspect", "tests.evals.inspect_adapter", url, home=tmp_path)
    finally:
        stop()
    assert "Inspect and the runner agree" in told
