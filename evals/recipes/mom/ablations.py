"""Is it luck, and what is it due to: a shortened recipe over three seeds, and with parts left out.

``python evals/recipes/mom/ablations.py --out FOLDER --gpus 2 --at-once 4 --seconds 480`` trains
every arm of `ARMS` from `language_b.toml`, shortened to ``--steps``, ``--at-once`` on a GPU side by
side, so that their starts overlap; examines each in closed loop on the CPU runtime; and writes
``ablations.jsonl``, a line an arm, which a later call goes on from. ``--report`` makes
``result.json`` and ``report.md`` of it.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from sculptor.mom.engine.weights import load_weights
from sculptor.mom.models.modeling import MomForCausalLM, count_active, count_parameters

HERE = Path(__file__).parent
CURRICULUM = (0.15, 0.4)
"""Where the first two stages end, as shares of all steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What an arm changes of the model, and the share of scenes worked with tools."""

    seed: int = 0
    model: Mapping[str, object] = field(default_factory=dict)
    tools: float | None = None


ARMS = {
    "base, seed 0": Arm(),
    "pure, no attention": Arm(model={"attention_layers": []}),
    "one memory": Arm(model={"memories": 0, "top_k": 0}),
    "base, seed 1": Arm(seed=1),
    "no shared memory": Arm(model={"shared": False}),
    "no tool traces": Arm(tools=0.0),
    "base, seed 2": Arm(seed=2),
}
"""Arms in order of worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Where, from what and how long to run."""

    out: Path
    recipe: Path
    steps: int
    until: float
    exam_seconds: float
    exam_processes: int
    workers: int
    arms: Mapping[str, Arm]


def main() -> None:
    """Run what is still to do within the time, or write the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=HERE / "language_b.toml")
    parser.add_argument("--gpus", type=int, default=1, help="0 trains on the CPU")
    parser.add_argument("--at-once", type=int, default=1, help="trainings on each GPU")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--exam-seconds", type=float, default=40)
    parser.add_argument("--exam-processes", type=int, default=max(1, (os.cpu_count() or 2) // 4))
    parser.add_argument("--workers", type=int, help="that make data, for each training")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if arguments.report:
        write_pages(arguments.out)
        return
    slots = max(1, arguments.gpus) * arguments.at_once
    study = Study(
        out=arguments.out,
        recipe=arguments.recipe,
        steps=arguments.steps,
        until=time.monotonic() + arguments.seconds,
        exam_seconds=arguments.exam_seconds,
        exam_processes=arguments.exam_processes,
        workers=arguments.workers or max(1, (os.cpu_count() or 1) // slots - 1),
        arms={name: ARMS[name] for name in arguments.arms},
    )
    run_study(study, gpus=arguments.gpus, at_once=arguments.at_once)


def run_study(study: Study, *, gpus: int, at_once: int = 1) -> None:
    """Train and examine the arms that have no line yet."""
    study.out.mkdir(parents=True, exist_ok=True)
    (study.out / "about.json").write_text(json.dumps(_about(gpus)), encoding="utf-8")
    made = {row["arm"] for row in read_rows(study.out)}
    free: SimpleQueue[str] = SimpleQueue()
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    cards = given.split(",") if given else [str(card) for card in range(gpus)]
    for slot in range(max(1, gpus) * at_once):
        free.put(cards[slot % gpus] if gpus else "")

    def work(name: str) -> None:
        device = free.get()
        try:
            folder = _train(study, name, study.arms[name], device=device)
        finally:
            free.put(device)
        if folder:
            _add(study, name, folder)

    with ThreadPoolExecutor(max_workers=2 * max(1, gpus) * at_once) as pool:
        runs = {name: pool.submit(work, name) for name in study.arms if name not in made}
    failed = {name: run.exception() for name, run in runs.items() if run.exception()}
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    if failed:
        raise SystemExit(f"{len(failed)} of {len(runs)} arms failed; the same command goes on.")


def _about(gpus: int) -> dict[str, str]:
    """Return what a figure tells of its making."""
    cards = f"{gpus} GPUs, " if gpus else ""
    return {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": _told(["git", "-C", str(HERE), "rev-parse", "HEAD"]),
        "machine": f"{cards}{os.cpu_count()} cores {platform.machine()}",
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _told(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def read_rows(out: Path) -> list[dict[str, object]]:
    """Return the lines that are there."""
    path = out / "ablations.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _train(study: Study, name: str, arm: Arm, *, device: str) -> Path | None:
    """Train one arm; None where the time did not suffice."""
    left = study.until - time.monotonic()
    if left <= 0:
        return None
    folder = study.out / name.replace(", ", "-").replace(" ", "_")
    recipe = study.out / f"{folder.name}.json"
    recipe.write_text(json.dumps(_recipe(study, arm)), encoding="utf-8")
    command = [sys.executable, str(HERE / "ablation_run.py"), str(recipe), str(folder)]
    told = _run([*command, "--train", str(left)], device=device)
    print(name, told, flush=True)
    return folder if json.loads(told)["step"] == study.steps else None


def _recipe(study: Study, arm: Arm) -> dict[str, object]:
    values = tomllib.loads(study.recipe.read_text(encoding="utf-8"))
    values["model"] |= arm.model
    stages = values["task"]["stages"]
    for stage, share in zip(stages, CURRICULUM, strict=False):
        if "until" in stage:
            stage["until"] = max(1, round(share * study.steps))
    if arm.tools is not None:
        stages = [stage | {"tools": arm.tools} for stage in stages]
    values["task"]["stages"] = stages
    train = values["train"]
    train |= {"steps": study.steps, "seed": arm.seed, "batch": max(1, train["batch"] // 3)}
    train |= {"schedule": "linear", "final_rate": 0.05, "warmup": min(100, study.steps // 4)}
    train |= {"workers": study.workers}
    train |= {"eval_every": study.steps, "save_every": study.steps}
    return values


def _add(study: Study, name: str, folder: Path) -> None:
    """Examine a trained arm and write its line."""
    exam = folder / "exam.json"
    command = [sys.executable, str(HERE / "exams.py"), str(folder / "weights"), "--out", str(exam)]
    limits = ["--seconds", str(study.exam_seconds), "--processes", str(study.exam_processes)]
    _run([*command, *limits, "--samples", "4000"], device="")
    told = json.loads(exam.read_text(encoding="utf-8"))
    last = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    score = last["score"]
    kept = ("trained_families", "with_tools", "direct", "under_1k_chars", "calls", "refused")
    row = {
        "arm": name, "steps": study.steps, **_sizes(folder), "entropy": score["entropy"],
        "token_accuracy": score["right"] / score["asked"], "asked": score["asked"],
        **{part: told[part] for part in kept},
    }  # fmt: skip
    with (study.out / "ablations.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _sizes(folder: Path) -> dict[str, int]:
    model = MomForCausalLM(load_weights(folder / "weights").config)
    return {"parameters": count_parameters(model), "active": count_active(model)}


def _run(command: list[str], *, device: str) -> str:
    """Run a program on a device and return the last line it prints."""
    env = os.environ | {"CUDA_VISIBLE_DEVICES": device, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def write_pages(out: Path) -> None:
    """Write ``result.json`` and ``report.md`` from the lines."""
    rows = read_rows(out)
    about = json.loads((out / "about.json").read_text(encoding="utf-8"))
    result = {**about, "arms": rows}
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# The shortened recipe: three seeds, and parts left out", "",
        f"Turns of unseen scenes answered exactly, in closed loop (95 % {_intervals(rows)}).",
        "Token accuracy is on each arm's own mix and seed.", "",
        f"{about['machine']}, commit `{about['commit'][:12]}`, `{about['command']}`", "",
        *((about["note"], "") if "note" in about else ()),
        "| arm | steps | active weights | token accuracy | with tools | direct "
        "| under 1,000 characters | refused |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        shares = (_share(row[part]) for part in ("with_tools", "direct", "under_1k_chars"))
        accuracy = f"{float(str(row['token_accuracy'])):.4f}"
        sizes = (str(row["arm"]), str(row["steps"]), f"{int(str(row['active'])):,}", accuracy)
        told = (*sizes, *shares, f"{row['refused']} of {row['calls']}")
        lines.append(f"| {' | '.join(told)} |")
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _intervals(rows: list[dict[str, object]]) -> str:
    if all("scenes" in str(row["trained_families"]) for row in rows):
        return "intervals, scenes resampled"
    return "Wilson intervals; turns of\na scene hang together, so these are a little narrow"


def _share(value: object) -> str:
    assert isinstance(value, dict)
    low, high = value["interval"]
    return f"{value['right']} of {value['n']} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
