"""Running a plan: what is missing is done, each finished sample is written at once.

A worker takes one index at a time, builds its sample once and lets the arms answer it in turn, so
that only as many samples are in memory as there are workers. Nothing about a sample depends on
which worker made it, or when.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio

from sculptor.evals.arms import find_arms
from sculptor.evals.runs.client import ChatClient
from sculptor.evals.runs.plan import Endpoint, Job, Plan, ensure_plan
from sculptor.evals.runs.records import RecordFile, Totals, iter_records
from sculptor.evals.runs.solving import solve
from sculptor.evals.types import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One sample answered by one arm; ``line`` is its record, empty if it was there before."""

    arm: str
    index: int
    line: bytes
    totals: Totals
    score: float | None
    error: str | None


Keep = Callable[[Finished], None]


class Executor(Protocol):
    """Does jobs somewhere and hands each finished sample back, in any order."""

    def run(self, plan: Plan, endpoint: Endpoint, jobs: Iterator[Job], keep: Keep) -> None:
        """Do all jobs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalExecutor:
    """Everything in this process, in one event loop."""

    concurrency: int = 8

    def run(self, plan: Plan, endpoint: Endpoint, jobs: Iterator[Job], keep: Keep) -> None:
        """Do all jobs."""
        anyio.run(run_jobs, plan, endpoint, jobs, keep, self.concurrency)


def run_plan(
    plan: Plan,
    endpoint: Endpoint,
    folder: Path,
    *,
    executor: Executor | None = None,
    on_finished: Keep | None = None,
) -> int:
    """Do what a run's folder lacks of its plan, and return the number of failed samples.

    ``on_finished`` hears of every finished sample, those of earlier sittings first.

    Raises:
        EvalError: the folder holds another run, or another runner writes there.
    """
    tell = on_finished or (lambda finished: None)
    failed = 0

    with RecordFile(folder) as file:
        ensure_plan(folder, plan)

        def keep(finished: Finished) -> None:
            nonlocal failed
            failed += finished.error is not None
            file.append(finished.line)
            tell(finished)

        done, matched = _read_done(plan, folder, tell)
        jobs = iter_jobs(plan, done, matched)
        (executor or LocalExecutor()).run(plan, endpoint, jobs, keep)
    return failed


def iter_jobs(
    plan: Plan, done: Mapping[str, bytearray], matched: Mapping[int, int]
) -> Iterator[Job]:
    """Yield a job for each sample that an arm has not answered."""
    for at, index in enumerate(plan.indexes):
        left = tuple(arm for arm in plan.arms if not done[arm][at])
        if left:
            yield Job(index=index, arms=left, matched_tokens=matched.get(index))


async def run_jobs(
    plan: Plan, endpoint: Endpoint, jobs: Iterator[Job], keep: Keep, concurrency: int
) -> None:
    """Do jobs with so many workers."""
    task = plan.load_task()
    connections = max(1, concurrency)
    async with ChatClient(endpoint, connections=connections) as client:

        async def work() -> None:
            for job in jobs:
                await _do(job, task=task, plan=plan, client=client, keep=keep)

        async with anyio.create_task_group() as group:
            for _ in range(connections):
                group.start_soon(work)


async def _do(job: Job, *, task: Task, plan: Plan, client: ChatClient, keep: Keep) -> None:
    sample = task.sample(task.draw(job.index, seed=plan.seed))
    budget = plan.budget_tokens or job.matched_tokens
    for arm in find_arms(job.arms):
        if arm.needs_budget and budget is None:
            return  # nothing to match to: the sculptor arm failed, a later sitting tries again
        line, totals, score, error = await solve(
            task, sample, arm, index=job.index, plan=plan, client=client, budget=budget
        )
        if arm.name == "sculptor" and plan.budget_tokens is None and error is None:
            budget = totals.last_tokens
        keep(
            Finished(
                arm=arm.name, index=job.index, line=line, totals=totals, score=score, error=error
            )
        )


def _read_done(
    plan: Plan, folder: Path, tell: Keep
) -> tuple[Mapping[str, bytearray], Mapping[int, int]]:
    """Return what is finished by arm and index, and the views to match budgets to."""
    done = {arm: bytearray(plan.limit) for arm in plan.arms}
    matched: dict[int, int] = {}
    matches = plan.budget_tokens is None and any(a.needs_budget for a in find_arms(plan.arms))
    for record in iter_records(folder):
        at = plan.indexes.index(record.index)
        if record.error is not None or done[record.arm][at]:
            continue
        done[record.arm][at] = 1
        if matches and record.arm == "sculptor":
            matched[record.index] = record.totals.last_tokens
        tell(
            Finished(
                arm=record.arm,
                index=record.index,
                line=b"",
                totals=record.totals,
                score=record.score,
                error=None,
            )
        )
    return done, matched
