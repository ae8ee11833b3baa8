"""Whether two runtimes answer the same views alike, request by request.

A view names fragments by marks drawn at random, so two sittings of one sample show the model two
different prompts, and their answers tell of both the prompt and the runtime. Here a request is the
same to the byte: ``python evals/recipes/mom/same_views.py record WEIGHTS --out FOLDER`` answers
samples through the proxy on the CPU runtime and keeps every request that reached the model, with
what it wrote; ``replay WEIGHTS --out FOLDER --device cuda`` asks them again on a card, a sample's
in their order and samples side by side, and writes ``result.json`` and ``report.md``. ``record``
called again does what is missing.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
from model_cells import CELLS, Job, chosen_cells, jobs_of
from origin import written_about
from same_views_pages import cells_of, differences, page

from sculptor.chat import Completed
from sculptor.cli.mom_serving import serving
from sculptor.errors import EvalError, SettingsError
from sculptor.evals.arms import find_arms
from sculptor.evals.registry import find_task
from sculptor.evals.runs.client import ChatClient
from sculptor.evals.runs.plan import Endpoint, make_plan
from sculptor.evals.runs.records import RECORDS_FILE, RecordFile
from sculptor.evals.runs.solving import solve
from sculptor.loop import Event, ModelRequest
from sculptor.server.mom.backend import MomBackend, open_backend
from sculptor.server.mom.loading import load_model
from sculptor.server.mom.model import BoundMomModel

SAMPLES = (
    "pi-llm-sculptor:sculptor=3", "needlebench-sculptor:sculptor=1", "tool-log:sculptor=7",
    "pi-llm-sculptor:plain=1", "needlebench-sculptor:plain=1", "tool-log:plain=1",
)  # fmt: skip
RECORDED_FILE = "recorded.json"
_MEMORY_MIB = {"cpu": 1_024, "cuda": 8_192}
Told = dict[str, Any]


def main() -> None:
    """Record or replay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("record", "replay"))
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of a replay")
    parser.add_argument("--processes", type=int, default=2, help="that record")
    parser.add_argument("--concurrency", type=int, default=48, help="samples replayed at a time")
    parser.add_argument("--seconds", type=float, default=3_000, help="no new sample after this")
    parser.add_argument("--cells", nargs="*", default=SAMPLES, metavar="CELL=N")
    arguments = parser.parse_args()
    weights, out = arguments.weights, arguments.out
    try:
        if arguments.what == "record":
            until = time.time() + arguments.seconds
            record(
                weights, out=out, cells=arguments.cells, processes=arguments.processes, until=until
            )
            return
        value = asyncio.run(
            replay(weights, out=out, device=arguments.device, concurrency=arguments.concurrency)
        )
    except (EvalError, SettingsError) as problem:
        parser.error(str(problem))
    text = json.dumps(value, indent=1, ensure_ascii=False)
    (out / "result.json").write_text(text + "\n", encoding="utf-8")
    (out / "report.md").write_text("\n".join(page(value)) + "\n", encoding="utf-8")


def record(weights: Path, *, out: Path, cells: Sequence[str], processes: int, until: float) -> None:
    """Answer the samples that are missing on the CPU and keep their requests.

    Raises:
        EvalError: ``out`` holds requests to other weights, or there is no such cell.
    """
    about = written_about() | {"weights": load_model(weights).fingerprint}
    if (out / RECORDED_FILE).exists():
        _read_about(out, weights=about["weights"])
    done = {Job(sample["cell"], sample["index"]) for sample in read_samples(out)}
    missing = jobs_of(chosen_cells(cells, 1), done=done)
    out.mkdir(parents=True, exist_ok=True)
    (out / RECORDED_FILE).write_text(json.dumps(about), encoding="utf-8")
    context = get_context("spawn")
    shares = [
        context.Process(target=_record_share, args=(weights, out, missing[n::processes], n, until))
        for n in range(processes)
    ]
    for share in shares:
        share.start()
    for share in shares:
        share.join()
    if any(share.exitcode for share in shares):
        raise SystemExit("A process failed; the same command does what it left.")


def _record_share(weights: Path, out: Path, jobs: list[Job], number: int, until: float) -> None:
    os.environ["SCULPTOR_MOM_MEMORY_MIB"] = str(_MEMORY_MIB["cpu"])
    with (
        RecordFile(out / "views" / f"{number:03d}") as file,
        serving(str(weights)) as served,
        kept_requests() as asked,
    ):
        for at, job in enumerate(jobs):
            if time.time() > until:
                return
            asyncio.run(_solve(job, f"{served.url}/v1"))
            file.append(orjson.dumps({"cell": job.cell, "index": job.index, "asked": asked}))
            asked.clear()
            print(f"process {number}: {at + 1} of {len(jobs)}, {job.cell} {job.index}", flush=True)


async def _solve(job: Job, url: str) -> None:
    cell = CELLS[job.cell]
    plan = make_plan(
        cell.task, arms=[cell.arm], model="mom", limit=job.index + 1, seed=0, admission="on",
        max_tokens=1_024,
    )  # fmt: skip
    task, (arm,) = find_task(cell.task), find_arms(plan.arms)
    sample = task.sample(task.draw(job.index, seed=plan.seed))
    async with ChatClient(Endpoint(base_url=url), connections=1) as client:
        await solve(task, sample, arm, index=job.index, plan=plan, client=client, budget=None)


@contextmanager
def kept_requests() -> Iterator[list[dict[str, Any]]]:
    """Keep what reaches the model of this process while the block runs, and what it wrote."""
    original, asked = BoundMomModel.stream, list[dict[str, Any]]()

    async def stream(self: BoundMomModel, request: ModelRequest) -> AsyncIterator[Event]:
        async for event in original(self, request):
            if isinstance(event, Completed):
                hidden = sorted(request.added_tools)
                asked.append({"body": request.body.decode(), "hidden": hidden, "told": told(event)})
            yield event

    BoundMomModel.stream = stream  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        BoundMomModel.stream = original  # type: ignore[method-assign]


def told(event: Completed) -> Told:
    """Return what the model wrote, without the ids that its calls are given at random."""
    calls = event.message.get("tool_calls") or []
    assert isinstance(calls, list)
    return {
        "content": event.message.get("content"),
        "calls": [call["function"] for call in calls],
        "finish_reason": event.finish_reason,
    }


def read_samples(out: Path) -> list[dict[str, Any]]:
    """Return the samples kept, with their requests."""
    lines = (
        line
        for path in sorted(out.glob(f"views/*/{RECORDS_FILE}"))
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    )
    return [orjson.loads(line) for line in lines]


def _read_about(out: Path, *, weights: str) -> dict[str, Any]:
    """Return how requests were recorded.

    Raises:
        EvalError: there are none, or they went to other weights.
    """
    path = out / RECORDED_FILE
    if not path.exists():
        raise EvalError(f"{out} holds no requests; record some there first.")
    about: dict[str, Any] = orjson.loads(path.read_bytes())
    if about["weights"] != weights:
        raise EvalError(
            f"{out} holds requests to the weights {about['weights']}, not to {weights}; "
            "take those, or name another --out."
        )
    return about


async def replay(weights: Path, *, out: Path, device: Any, concurrency: int) -> dict[str, Any]:
    """Ask everything again on ``device``; return the figures.

    Raises:
        EvalError: ``out`` holds no requests, or requests to other weights.
    """
    recorded = _read_about(out, weights=load_model(weights).fingerprint)
    backend = open_backend(weights, memory_mib=_MEMORY_MIB[device], device=device)
    room, samples = asyncio.Semaphore(concurrency), read_samples(out)

    async def one(sample: Mapping[str, Any]) -> list[Told]:
        async with room:
            owner = f"{sample['cell']} {sample['index']}"
            return [await ask(backend, asked, owner=owner) for asked in sample["asked"]]

    answers = await asyncio.gather(*map(one, samples))
    await backend.close()
    pairs = list(zip(samples, answers, strict=True))
    return {
        "title": "The same views on two runtimes",
        "weights": recorded["weights"],
        "recorded": recorded,
        "replayed": written_about(),
        "cells": cells_of(pairs),
        "different": [row for sample, answer in pairs for row in differences(sample, answer)],
    }


async def ask(backend: MomBackend, asked: Mapping[str, Any], *, owner: str) -> Told:
    """Ask one request again and return what was written."""
    body = asked["body"].encode()
    tools = orjson.loads(body).get("tools") or []
    request = ModelRequest(
        body=body,
        messages=(),
        tools=tuple(orjson.dumps(t) for t in tools if t["function"]["name"] in asked["hidden"]),
        value={},
        stream=False,
    )
    model = backend.model(request_id="", client_headers={}, client_key=owner)
    async for event in model.stream(request):
        if isinstance(event, Completed):
            return told(event)
    raise RuntimeError("The backend ended without an answer.")


if __name__ == "__main__":
    main()
