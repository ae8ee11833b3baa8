"""The figures of the shipped model: our tasks through the real proxy, without and with the tools.

``python evals/recipes/mom/model_figures.py WEIGHTS --out FOLDER --seconds 400`` answers samples of
all cells, the most telling ones soonest, and begins none after that time. Called again it does
what is missing, whatever the number of processes. ``FOLDER/result.json`` holds the figures,
``report.md`` and the charts are made from it (``--report-only``: made again). On GPUs:
``--device cuda --gpus 4 --processes 32 --concurrency 16``: beside the model a sample takes a third
of a second of one core. With ``--seconds 0`` nothing is begun, only counted. ``--also RESULT``
takes over the cells that were answered before by the same weights and are not answered here.
Calls of different cells may run side by side, and into one folder.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from model_cells import CELLS, Cell, chosen_cells, jobs_of
from model_numbers import cell_json
from model_pages import write_pages
from model_records import cell_folder, cells_before, done_jobs, rows_of
from model_worker import Work, answer_share
from origin import card_names, commit

from sculptor.errors import EvalError, SettingsError
from sculptor.evals.runs.plan import Plan, ensure_plan, make_plan
from sculptor.server.mom.loading import LoadedModel, load_model

_CONCURRENCY = {"cpu": 2, "cuda": 8}
_MEMORY_MIB = {"cpu": 1_024, "cuda": 6_144}
"""A moment of the shipped model is 10 MiB, and a prompt of 128k tokens leaves some hundred: with
less, the turns of the samples beside it would be read again from the start."""
_TELL_S = 20.0
_CELLS_HELP = f"these alone, =N: so many samples a setting; of {', '.join(CELLS)}"


def main() -> None:
    """Answer what is missing, then write the figures and their pages."""
    parser = _parser()
    options = parser.parse_args()
    try:
        failed = 0 if options.report_only else _run(options)
        write_pages(options.out)
    except (EvalError, SettingsError) as problem:
        parser.error(str(problem))
    if failed:
        sys.exit(f"{failed} processes failed; the same command does what they left.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="folder of exported weights")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--concurrency", type=int, help="samples at a time in a process; 2, or 8")
    parser.add_argument("--memory-mib", type=int, help="for earlier turns, in a process")
    parser.add_argument("--seconds", type=float, default=400, help="no new sample after this")
    parser.add_argument("--grace", type=float, default=120, help="seconds for those under way")
    parser.add_argument("--cells", nargs="*", default=[], metavar="CELL[=N]", help=_CELLS_HELP)
    parser.add_argument("--n", type=int, default=200, help="samples a setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-tokens", type=int, default=1_024, help="limit of an answer")
    parser.add_argument(
        "--unheld", action="store_true", help="let the model write freely, its calls unconstrained"
    )
    parser.add_argument("--also", type=Path, help="result.json to take missing cells from")
    parser.add_argument("--report-only", action="store_true")
    return parser


def _run(options: argparse.Namespace) -> int:
    """Answer and count; return how many processes failed."""
    begin_until = time.time() + options.seconds
    options.concurrency = options.concurrency or _CONCURRENCY[options.device]
    options.memory_mib = options.memory_mib or _MEMORY_MIB[options.device]
    model, counts = load_model(options.weights), chosen_cells(options.cells, options.n)
    plans = {cell.name: _plan(cell, n, model, options) for cell, n in counts.items()}
    for cell in counts:
        ensure_plan(cell_folder(options.out, cell), plans[cell.name])
    work = Work(
        weights=options.weights.resolve(),
        out=options.out,
        plans=plans,
        jobs=jobs_of(counts, done=done_jobs(options.out, list(counts))),
        begin_until=begin_until,
        end_until=begin_until + options.grace,
        device=options.device,
        gpus=options.gpus,
        processes=options.processes,
        concurrency=options.concurrency,
        memory_mib=options.memory_mib,
        unheld=options.unheld,
    )
    failed = 0
    if work.jobs and options.seconds > 0:
        _refuse_a_mix(options)
        with (options.out / "runs" / "sittings.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(_sitting(options)) + "\n")
        failed = _answer(work)
    _write_result(options.out, model, also=options.also)
    return failed


def _plan(cell: Cell, n: int, model: LoadedModel, options: argparse.Namespace) -> Plan:
    return make_plan(
        cell.task,
        arms=[cell.arm],
        model=f"{model.name}-{model.fingerprint}",
        limit=cell.settings * n,
        seed=options.seed,
        admission="on",
        max_tokens=options.max_tokens,
    )


def _answer(work: Work) -> int:
    """Let the processes work; return how many failed, whose samples are left to a later call."""
    context, began = get_context("spawn"), time.monotonic()
    taken = context.Value("q", 0)
    processes = [
        context.Process(target=answer_share, args=(work, worker, taken))
        for worker in range(min(work.processes, len(work.jobs)))
    ]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        _wait(processes, _TELL_S)
        seconds = time.monotonic() - began
        print(f"{taken.value}/{len(work.jobs)} begun, {seconds:.0f} s", flush=True)
    return sum(process.exitcode != 0 for process in processes)


def _wait(processes: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))


def _refuse_a_mix(options: argparse.Namespace) -> None:
    """Refuse to put samples answered in another way beside those of a folder.

    Raises:
        EvalError: the folder's samples were answered under other settings.
    """
    path = options.out / "runs" / "sittings.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        before = json.loads(line)["how"]
        for name in ("seed", "max_tokens", "unheld"):
            if name in before and before[name] != getattr(options, name):
                raise EvalError(
                    f"{options.out} holds samples with {name} = {before[name]}; "
                    "name another folder."
                )


def _sitting(options: argparse.Namespace) -> dict[str, object]:
    """Return how and from what samples are answered by this call."""
    names = ("seed", "max_tokens", "processes", "concurrency", "memory_mib", "unheld")
    return {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": commit(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": _machine(options),
        "how": {name: getattr(options, name) for name in names} | {"admission": "on"},
    }


def _write_result(out: Path, model: LoadedModel, *, also: Path | None) -> None:
    """Count all cells that have samples, and name every call that answered some.

    Raises:
        EvalError: nothing was ever answered, or ``also`` is of other weights.
    """
    path = out / "runs" / "sittings.jsonl"
    if not path.exists():
        raise EvalError(f"{out} has no samples yet; give --seconds.")
    sittings = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = {name: rows_of(out, cell) for name, cell in CELLS.items()}
    value = {
        "title": "The shipped model on our tasks, without and with its tools",
        **sittings[-1],
        "command": "\n".join(dict.fromkeys(sitting["command"] for sitting in sittings)),
        "sittings": len(sittings),
        "weights": {
            "name": model.name,
            "fingerprint": model.fingerprint,
            "window_tokens": model.window_tokens,
        },
        "cells": [
            cell_json(
                cell,
                rows[name],
                rows[f"{cell.task}:plain"] if cell.arm != "plain" else {},
                full_score=100.0 if cell.task.startswith("needlebench") else 1.0,
            )
            for name, cell in CELLS.items()
            if rows[name]
        ],
    }
    if also:
        value["cells"] += cells_before(also, value)
    (out / "result.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _machine(options: argparse.Namespace) -> dict[str, object]:
    cards = card_names()[: options.gpus] if options.device == "cuda" else []
    return {
        "device": f"{len(cards)} × {cards[0]}" if cards else f"{os.cpu_count()} processor cores",
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
