"""One plan on this process, on a process pool: the same results; the executor protocol's proof.

The same comparison for Ray lies in ``tests/evals/ray_two_workers.py``; ``test_extras.py`` runs it
in an environment of its own, because Ray is an extra.
"""

from pathlib import Path

import pytest

from sculptor.errors import EvalError
from sculptor.evals.runs.executors import ProcessExecutor, find_executor
from sculptor.evals.runs.plan import Endpoint, make_plan
from sculptor.evals.runs.records import iter_records
from sculptor.evals.runs.runner import Executor, LocalExecutor, run_plan
from tests.evals.mock_upstream import MockUpstream, say


def outcome(folder: Path) -> dict[tuple[str, int], tuple[str, float | None, int | None, int]]:
    return {
        (each.arm, each.index): (
            each.id,
            each.score,
            each.budget_tokens,
            each.totals.input_tokens,
        )
        for each in iter_records(folder)
    }


def run_twice(folder: Path, other: Executor) -> None:
    """Run a plan locally and by another executor, and compare all that is recorded."""
    plan = make_plan(
        "tool-log", arms=["plain", "truncate-middle"], model="m", limit=40, budget_tokens=1500
    )
    with MockUpstream(lambda body, headers: say(body["messages"][-1]["content"][-40:])) as upstream:
        endpoint = Endpoint(base_url=upstream.url)
        for name, executor in (("local", LocalExecutor()), ("other", other)):
            assert run_plan(plan, endpoint, folder / name, executor=executor) == 0
    assert len(outcome(folder / "local")) == 80
    assert outcome(folder / "local") == outcome(folder / "other")


def test_processes_get_the_same_results(tmp_path: Path) -> None:
    run_twice(tmp_path, ProcessExecutor(workers=2))


def test_names() -> None:
    assert isinstance(find_executor("local", workers=1, concurrency=3), LocalExecutor)
    assert isinstance(find_executor("processes", workers=1, concurrency=3), ProcessExecutor)
    with pytest.raises(EvalError, match="choose local, processes or ray"):
        find_executor("slurm", workers=1, concurrency=1)
