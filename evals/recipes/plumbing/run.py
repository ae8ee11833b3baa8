"""Plumbing tests: scripted policies solve PI-LLM and NeedleBench through the real proxy over HTTP.

A scripted policy knows its task and never forgets, so these figures say that the wires hold, and
nothing about what the tools are worth to a language model. Run again with more sessions, the recipe
only does what is missing:

    python evals/recipes/plumbing/run.py
"""

import argparse
import json
import logging
import multiprocessing
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from sculptor.evals.report import write_report
from sculptor.evals.runs.plan import Endpoint, make_plan
from sculptor.evals.runs.results import Figures, RunResult, read_run
from sculptor.evals.runs.runner import Finished, LocalExecutor, run_plan

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
REPORT = ROOT / "evals" / "reports" / "plumbing"
TITLE = "Plumbing tests (scripted policies; never evidence for the claim)"
_PAPER = {
    "sculptor-split": "The paper's fixed policy keeps the last 3 of 10 pieces. The question is a "
    "message of its own here, so that all of the stream may be hidden:",
    "sculptor": "The same policy on the unchanged prompt. The last 600 tokens of the newest user "
    "message are protected; where that is more than three tenths of the stream, less can be "
    "hidden than the policy asks for, and more is right than its ceiling says:",
}
CEILINGS = {4: 0.773, 8: 0.944, 16: 0.997, 32: 1.0, 64: 1.0, 128: 1.0, 256: 1.0}
"""Keys whose last value is in the last 3 of 10 equal pieces: 300 simulated streams a row."""


class Cell(NamedTuple):
    """One run of the recipe; ``cells`` of its task are visited in turn."""

    name: str
    task: str
    model: str
    cells: int
    start: int = 0
    step: int = 1
    long: bool = False
    arm: str = "sculptor"


RUNS = (
    Cell("paper-policy", "pi-llm-sculptor", "scripted-paper", 7, arm="sculptor-split"),
    Cell("paper-policy-whole", "pi-llm-sculptor", "scripted-paper", 7),
    Cell("search-chain", "needlebench-sculptor", "scripted", 20),
    Cell("updates", "pi-llm", "scripted", 16),
    Cell("updates-sculptor", "pi-llm-sculptor", "scripted", 7),
    Cell("updates-1024", "pi-llm-long", "scripted", 1, start=1, step=3, long=True),
)


def main() -> None:
    """Run what is missing, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200, help="a cell")
    parser.add_argument("--long-sessions", type=int, default=200, help="of pi-llm-long")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "plumbing")
    parser.add_argument("--only", nargs="*", default=[cell.name for cell in RUNS])
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    chosen = [cell for cell in RUNS if cell.name in options.only]
    if not options.report_only:
        for cell in chosen:
            sessions = options.long_sessions if cell.long else options.sessions
            run(cell, sessions, options.runs / cell.name)
    folders = [options.runs / cell.name for cell in RUNS]
    write([read_run(folder) for folder in folders if (folder / "plan.json").exists()])


def run(cell: Cell, sessions: int, folder: Path) -> None:
    """Run one cell against a server of its own."""
    plan = make_plan(
        cell.task,
        arms=[cell.arm],
        model=cell.model,
        limit=cell.cells * sessions,
        start=cell.start,
        step=cell.step,
        admission="on",
        note="PLUMBING: a scripted policy that knows the task; never evidence for the claim.",
    )
    done, started = 0, time.monotonic()

    def tell(finished: Finished) -> None:
        nonlocal done
        done += 1
        if done % (cell.cells * 10) == 0:
            seconds = time.monotonic() - started
            print(f"{cell.name}: {done}/{plan.limit}, {seconds:.0f} s", flush=True)

    with serving() as url:
        endpoint = Endpoint(base_url=url)
        run_plan(plan, endpoint, folder, executor=LocalExecutor(concurrency=2), on_finished=tell)


@contextmanager
def serving() -> Iterator[str]:
    """Serve the scripted backend in a process of its own; gives the address."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve_scripted, args=(f"{folder}/store.db", theirs))
        process.start()
        theirs.close()
        try:
            yield ours.recv()
        finally:
            process.terminate()
            process.join()


def serve_scripted(store: str, pipe: Connection) -> None:
    """Serve until terminated; the address goes into the pipe."""
    import structlog

    from sculptor.server.run import serve
    from sculptor.server.settings import Settings

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    serve(Settings(port=0, store=store, backend="scripted", drain_seconds=1), started=pipe.send)


def write(results: list[RunResult]) -> None:
    """Write the report and what it says of the targets."""
    write_report(results, REPORT, title=TITLE, preface=preface(results))
    (REPORT / "machine.json").write_text(json.dumps(machine(), indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, object]:
    """Return where and from what the figures were made."""
    command = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {
        "command": "python evals/recipes/plumbing/run.py",
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def preface(results: list[RunResult]) -> list[str]:
    """Return the lines that hold the targets against what was measured."""
    lines = [
        "A scripted policy knows its task and never forgets. These figures show that the proxy, "
        "the tools and the scorers hold together over HTTP; they are never evidence that the "
        "tools help a language model. Every request is sent with the tools on (`x-sculptor: on`).",
    ]
    for result in results:
        arm = next(iter(result.arms.values()))
        cells = {tuple(value for _, value in cell): figures for cell, figures in arm.cells.items()}
        if result.plan.model == "scripted-paper":
            is_target = arm.arm == "sculptor-split"
            lines.append(_PAPER[arm.arm])
            lines += [
                _ceiling(result.name, int(cell[0]), each, is_target=is_target)
                for cell, each in sorted(cells.items())
            ]
            continue
        least = min(each.accuracy.mean for each in cells.values() if each.accuracy)
        fewest = min(each.scored for each in cells.values())
        calls = max(each.most_calls for each in cells.values())
        lines.append(
            f"{result.name}: lowest accuracy of {len(cells)} cells {least:.2%}, at least "
            f"{fewest} sessions a cell, {arm.failed} failed; at most {calls} calls of the model."
        )
        last = cells.get((256,))
        if last is not None and last.last_to_first is not None:
            lines.append(
                f"{result.name}: at 256 updates the last request holds "
                f"{last.last_to_first:.1%} of the first's tokens (target: under 12 %)."
            )
    return lines


def _ceiling(name: str, updates: int, figures: Figures, *, is_target: bool) -> str:
    found, expected = figures.accuracy, CEILINGS[updates]
    if found is None:
        return f"{name} at {updates} updates: nothing scored."
    gap = found.mean - expected
    verdict = f", {'within' if abs(gap) <= 0.02 else 'OUTSIDE'} 2" if is_target else ""
    return (
        f"{name} at {updates} updates: {found.mean:.1%} ({found.low:.1%} to {found.high:.1%}"
        f", n = {found.n}) against a ceiling of {expected:.1%}: {100 * gap:+.1f} points{verdict}."
    )


if __name__ == "__main__":
    main()
