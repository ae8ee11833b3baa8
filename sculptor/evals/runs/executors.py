"""Running past one process: shards of jobs go to workers, finished lines come back.

A shard is a few jobs; a worker does it with an event loop of its own and returns its records, so
that only the runner writes to the run's folder. Samples follow from the plan and the index alone,
therefore every executor gets the same results, in another order.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from multiprocessing import get_context
from typing import Any

import anyio

from sculptor.errors import EvalError
from sculptor.evals.runs.plan import Endpoint, Job, Plan
from sculptor.evals.runs.runner import Executor, Finished, Keep, LocalExecutor, run_jobs

_SHARD = 16


def find_executor(name: str, *, workers: int, concurrency: int) -> Executor:
    """Return the executor of a name.

    Raises:
        EvalError: there is none, or it needs an extra.
    """
    match name:
        case "local":
            return LocalExecutor(concurrency=concurrency)
        case "processes":
            return ProcessExecutor(workers=workers, concurrency=concurrency)
        case "ray":
            if find_spec("ray") is None:
                raise EvalError("--executor ray needs the extra: pip install 'sculptor[ray]'.")
            return RayExecutor(workers=workers, concurrency=concurrency)
        case _:
            raise EvalError(f"No executor is called {name!r}: choose local, processes or ray.")


def do_shard(
    plan: Plan, endpoint: Endpoint, jobs: Sequence[Job], concurrency: int
) -> list[Finished]:
    """Do some jobs in this process and return what came of them."""
    found: list[Finished] = []
    anyio.run(run_jobs, plan, endpoint, iter(jobs), found.append, concurrency)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessExecutor:
    """Processes on this machine."""

    workers: int = 2
    concurrency: int = 8

    def run(self, plan: Plan, endpoint: Endpoint, jobs: Iterator[Job], keep: Keep) -> None:
        """Do all jobs."""
        context = get_context("spawn")
        with ProcessPoolExecutor(self.workers, mp_context=context) as pool:
            running: set[Future[list[Finished]]] = set()
            try:
                for shard in _shards(jobs):
                    running.add(pool.submit(do_shard, plan, endpoint, shard, self.concurrency))
                    if len(running) > self.workers:
                        running = _keep_first(running, keep)
                while running:
                    running = _keep_first(running, keep)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@dataclass(frozen=True, slots=True, kw_only=True)
class RayExecutor:
    """Tasks of a Ray cluster: the one this process is attached to, else a local one.

    The package, and the data folder if there is one, must be found under the same path on every
    machine, and the base URL must be reachable from each.
    """

    workers: int = 2
    concurrency: int = 8

    def run(self, plan: Plan, endpoint: Endpoint, jobs: Iterator[Job], keep: Keep) -> None:
        """Do all jobs."""
        import ray

        if not ray.is_initialized():
            ray.init(num_cpus=self.workers, include_dashboard=False, log_to_driver=False)
        remote: Callable[..., Any] = ray.remote(do_shard).remote
        running: list[Any] = []
        for shard in _shards(jobs):
            running.append(remote(plan, endpoint, shard, self.concurrency))
            if len(running) > self.workers:
                running = _keep_ready(ray, running, keep)
        while running:
            running = _keep_ready(ray, running, keep)


def _shards(jobs: Iterator[Job]) -> Iterator[list[Job]]:
    while shard := list(islice(jobs, _SHARD)):
        yield shard


def _keep_first(running: set[Future[list[Finished]]], keep: Keep) -> set[Future[list[Finished]]]:
    done, left = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        for finished in future.result():
            keep(finished)
    return left


def _keep_ready(ray: Any, running: list[Any], keep: Keep) -> list[Any]:
    done, left = ray.wait(running, num_returns=1)
    for finished in ray.get(done[0]):
        keep(finished)
    rest: list[Any] = left
    return rest
