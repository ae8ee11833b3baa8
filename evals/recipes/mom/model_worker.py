"""One process that answers samples: a server of its own, and a client that keeps it busy."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import anyio
from model_cells import CELLS, Job
from model_records import CellFiles

from sculptor.cli.mom_serving import serving
from sculptor.evals.arms import find_arms
from sculptor.evals.runs.client import ChatClient
from sculptor.evals.runs.plan import Endpoint, Plan
from sculptor.evals.runs.solving import solve
from sculptor.server.mom.asking import Ask, AskReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every worker is told; times are by the machine's clock."""

    weights: Path
    out: Path
    plans: Mapping[str, Plan]
    jobs: Sequence[Job]
    begin_until: float
    end_until: float
    device: str
    gpus: int
    processes: int
    concurrency: int
    memory_mib: int
    unheld: bool


def answer_share(work: Work, worker: int, taken: "Synchronized[int]") -> None:
    """Answer samples until there are no more, or no more time; ``taken`` counts those begun.

    Workers take from one list, since samples are of very different lengths.
    """
    _take_place(work, worker)
    if work.unheld:
        _let_go()
    files = CellFiles(work.out, worker)
    try:
        with serving(str(work.weights)) as served:
            anyio.run(_answer_all, work, f"{served.url}/v1", _jobs(work, taken), files)
    finally:
        files.close()


def _take_place(work: Work, worker: int) -> None:
    """Choose this process's processors or GPU; to be done before torch or the engine is loaded."""
    os.environ["SCULPTOR_MOM_DEVICE"] = work.device
    os.environ["SCULPTOR_MOM_MEMORY_MIB"] = str(work.memory_mib)
    if work.device == "cuda":
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        cards = given.split(",") if given else [str(card) for card in range(work.gpus)]
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[worker % work.gpus]
        os.environ["OMP_NUM_THREADS"] = "1"
    elif hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))[worker :: work.processes]
        if mine:
            os.sched_setaffinity(0, mine)


def _let_go() -> None:
    """Have this process's server write freely: no turn's form and no schema is enforced."""
    read = AskReader.read

    def freely(self: AskReader, body: bytes, *, owner: str = "", hidden: bool = False) -> Ask:
        ask = read(self, body, owner=owner, hidden=hidden)
        return replace(ask, request=replace(ask.request, mask=None))

    AskReader.read = freely  # type: ignore[method-assign]


def _jobs(work: Work, taken: "Synchronized[int]") -> Iterator[Job]:
    while time.time() < work.begin_until:
        with taken.get_lock():
            at = taken.value
            if at == len(work.jobs):
                return
            taken.value += 1
        yield work.jobs[at]


async def _answer_all(work: Work, url: str, jobs: Iterator[Job], files: CellFiles) -> None:
    tasks = {name: plan.load_task() for name, plan in work.plans.items()}

    async def keep_busy() -> None:
        for job in jobs:
            plan, task = work.plans[job.cell], tasks[job.cell]
            sample = task.sample(task.draw(job.index, seed=plan.seed))
            (arm,) = find_arms(plan.arms)
            line, *_ = await solve(
                task, sample, arm, index=job.index, plan=plan, client=client, budget=None
            )
            files.append(CELLS[job.cell], job.index, line)

    # What is still under way at the end leaves no line, and is begun anew by the next call.
    with anyio.move_on_after(work.end_until - time.time()):
        endpoint = Endpoint(base_url=url)
        async with (
            ChatClient(endpoint, connections=work.concurrency) as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(work.concurrency):
                group.start_soon(keep_busy)
