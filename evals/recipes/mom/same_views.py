"""Whether two runtimes answer the same views alike, request by request.

A view names fragments by marks drawn at random, so two sittings of one sample show the model two
different prompts, and their answers tell of both the prompt and the runtime. Here a request is the
same to the byte: ``python evals/recipes/mom/same_views.py record WEIGHTS --out FOLDER`` answers
samples through the proxy on the CPU runtime and keeps every request that reached the model, with
what it wrote; ``replay WEIGHTS --out FOLDER --device cuda`` asks them again on a card, a sample's
in their order and samples side by side, and writes ``result.json`` and ``report.md``. ``record``
called again does what is missing, and what failed.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
from arguments import count
from kept_views import Told, add_call, ask, kept_requests, read_calls, read_samples
from model_cells import CELLS, Job, chosen_cells, jobs_of
from origin import origin
from same_views_pages import cells_of, differences, page

from sculptor.cli.mom_serving import serving
from sculptor.errors import EvalError, SettingsError
from sculptor.evals.arms import find_arms
from sculptor.evals.registry import find_task
from sculptor.evals.runs.client import ChatClient
from sculptor.evals.runs.plan import Endpoint, make_plan
from sculptor.evals.runs.records import RecordFile
from sculptor.evals.runs.solving import solve
from sculptor.mom.recipes.lifeline import live_with
from sculptor.server.mom.backend import open_backend
from sculptor.server.mom.loading import load_model

SAMPLES = (
    "pi-llm-sculptor:sculptor=3", "needlebench-sculptor:sculptor=1", "tool-log:sculptor=7",
    "pi-llm-sculptor:plain=1", "needlebench-sculptor:plain=1", "tool-log:plain=1",
)  # fmt: skip
"""Cells, and how many samples of each of their settings."""

_MEMORY_MIB = {"cpu": 1_024, "cuda": 8_192}


def main() -> None:
    """Record or replay."""
    parser = argparse.ArgumentParser(description=__doc__)
    ways = parser.add_subparsers(dest="what", required=True)
    way = {name: ways.add_parser(name) for name in ("record", "replay")}
    for each in way.values():
        each.add_argument("weights", type=Path)
        each.add_argument("--out", type=Path, required=True)
    way["record"].add_argument("--processes", type=count, default=2)
    way["record"].add_argument("--seconds", type=float, default=3_000, help="none begun after this")
    way["record"].add_argument("--cells", nargs="*", default=SAMPLES, metavar="CELL=N")
    way["replay"].add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    way["replay"].add_argument("--concurrency", type=count, default=48, help="samples at a time")
    arguments = parser.parse_args()
    try:
        if arguments.what == "record":
            record(arguments)
        else:
            replay(arguments)
    except (EvalError, SettingsError) as problem:
        way[arguments.what].error(str(problem))


def record(arguments: argparse.Namespace) -> None:
    """Answer the samples that are missing on the CPU and keep their requests.

    Raises:
        EvalError: the folder holds requests to other weights, or there is no such cell.
    """
    out, until = arguments.out, time.time() + arguments.seconds
    weights = load_model(arguments.weights).fingerprint
    read_calls(out, weights=weights)
    wanted = jobs_of(chosen_cells(arguments.cells, 1), done=())
    done = {Job(sample["cell"], sample["index"]) for sample in read_samples(out)}
    missing = [job for job in wanted if job not in done]
    counts = Counter(job.cell for job in wanted)
    add_call(out, origin() | {"weights": weights, "wanted": counts})
    context, shares = get_context("spawn"), []
    ours, theirs = context.Pipe()
    for n in range(arguments.processes):
        jobs = missing[n :: arguments.processes]
        told = (theirs, arguments.weights, out, jobs, n, until)
        shares.append(context.Process(target=_record_share, args=told))
        shares[-1].start()
    try:
        for share in shares:
            share.join()
    except KeyboardInterrupt:
        raise SystemExit("Interrupted; the same command goes on.") from None
    finally:
        ours.close()
    if any(share.exitcode for share in shares):
        raise SystemExit("Some samples failed; the same command tries them again.")


def _record_share(
    pipe: Connection, weights: Path, out: Path, jobs: list[Job], number: int, until: float
) -> None:
    live_with(pipe)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _answer_share(weights, out, jobs, number, until)
    except EvalError as problem:
        raise SystemExit(str(problem)) from None


def _answer_share(weights: Path, out: Path, jobs: list[Job], number: int, until: float) -> None:
    os.environ["SCULPTOR_MOM_MEMORY_MIB"] = str(_MEMORY_MIB["cpu"])
    failed = 0
    with (
        RecordFile(out / "views" / f"{number:03d}") as file,
        serving(str(weights)) as served,
        kept_requests() as asked,
    ):
        for at, job in enumerate(jobs):
            if time.time() > until:
                break
            error = asyncio.run(_solve(job, f"{served.url}/v1"))
            if error is None:
                file.append(orjson.dumps({"cell": job.cell, "index": job.index, "asked": asked}))
            failed += error is not None
            asked.clear()
            told = f"process {number}: {at + 1} of {len(jobs)}, {job.cell} {job.index}"
            print(told, error or "", flush=True)
    if failed:
        raise SystemExit(1)


async def _solve(job: Job, url: str) -> str | None:
    """Answer a sample; return what went wrong."""
    cell = CELLS[job.cell]
    plan = make_plan(
        cell.task, arms=[cell.arm], model="mom", limit=job.index + 1, seed=0, admission="on",
        max_tokens=1_024,
    )  # fmt: skip
    task, (arm,) = find_task(cell.task), find_arms(plan.arms)
    sample = task.sample(task.draw(job.index, seed=plan.seed))
    async with ChatClient(Endpoint(base_url=url), connections=1) as client:
        *_, error = await solve(
            task, sample, arm, index=job.index, plan=plan, client=client, budget=None
        )
    return error


def replay(arguments: argparse.Namespace) -> None:
    """Ask everything again and write the pages.

    Raises:
        EvalError: the folder holds no requests, or requests to other weights.
    """
    out, device = arguments.out, arguments.device
    calls = read_calls(out, weights=load_model(arguments.weights).fingerprint)
    samples = read_samples(out)
    if not samples:
        raise EvalError(f"{out} holds no requests; record some there first.")
    answers = asyncio.run(_ask_all(arguments, samples))
    pairs = list(zip(samples, answers, strict=True))
    how = {"device": device, "concurrency": arguments.concurrency}
    value = {
        "title": "The same views on two runtimes",
        "weights": calls[-1]["weights"],
        "recorded": calls,
        "replayed": origin(gpus=int(device == "cuda")) | how,
        "cells": cells_of(pairs, wanted=calls[-1]["wanted"]),
        "different": [row for sample, answer in pairs for row in differences(sample, answer)],
    }
    text = json.dumps(value, indent=1, ensure_ascii=False)
    (out / "result.json").write_text(text + "\n", encoding="utf-8")
    (out / "report.md").write_text("\n".join(page(value)) + "\n", encoding="utf-8")


async def _ask_all(
    arguments: argparse.Namespace, samples: Sequence[Mapping[str, Any]]
) -> list[list[Told]]:
    """Return what is written to every request now, so many samples at a time."""
    device = arguments.device
    backend = open_backend(arguments.weights, memory_mib=_MEMORY_MIB[device], device=device)
    room = asyncio.Semaphore(arguments.concurrency)

    async def one(sample: Mapping[str, Any]) -> list[Told]:
        async with room:
            owner = f"{sample['cell']} {sample['index']}"
            return [await ask(backend, asked, owner=owner) for asked in sample["asked"]]

    answers = await asyncio.gather(*map(one, samples))
    await backend.close()
    return answers


if __name__ == "__main__":
    main()
