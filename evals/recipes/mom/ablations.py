"""Is it luck, and what is it due to: a shortened recipe over three seeds, and with parts left out.

``python evals/recipes/mom/ablations.py train --out FOLDER --gpus 2 --seconds 560`` trains every
arm of `ARMS` from `language_short.toml`, one on each GPU at a time. ``ask`` has all that were
trained work scenes in closed loop (`exams.py`, CPU) and answer our tasks through the proxy
(`model_figures.py`), side by side. Both go on where they were cut. ``report`` makes
``result.json`` and ``report.md`` of what there is.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, product
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from ablation_pages import note_command, write_pages
from ablation_run import TRAINED_FILE
from arguments import count
from origin import card_names

from sculptor.errors import EvalError

HERE = Path(__file__).parent
T = TypeVar("T")
CELLS = (
    "pi-llm-sculptor:sculptor=6", "pi-llm-sculptor:plain=3",
    "needlebench-sculptor:sculptor=2", "needlebench-sculptor:plain=1",
    "tool-log:sculptor=12", "tool-log:plain=7",
)  # fmt: skip
"""What each arm answers through the proxy, and how many samples a setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What an arm changes of the model, and the share of scenes worked with tools."""

    seed: int = 0
    model: Mapping[str, object] = field(default_factory=dict)
    tools: float | None = None


ONE_MEMORY = {"memories": 0, "top_k": 0}
ARMS = {
    "base, seed 0": Arm(),
    "base, seed 1": Arm(seed=1),
    "base, seed 2": Arm(seed=2),
    "one memory": Arm(model=ONE_MEMORY),
    "one memory, seed 1": Arm(seed=1, model=ONE_MEMORY),
    "one memory, seed 2": Arm(seed=2, model=ONE_MEMORY),
    "pure, no attention": Arm(model={"attention_layers": []}),
    "no tool traces": Arm(tools=0.0),
    "no shared memory": Arm(model={"shared": False}),
    "all four memories": Arm(model={"top_k": 4}),
}
"""Arms in the order of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Where, from what and how long to run; ``steps`` and ``workers`` are the recipe's if None."""

    out: Path
    recipe: Path
    arms: Mapping[str, Arm]
    cards: Sequence[str]
    seconds: float
    steps: int | None = None
    workers: int | None = None

    def folder(self, name: str) -> Path:
        """Return where an arm is trained."""
        return self.out / name.replace(", ", "-").replace(" ", "_")

    def trained(self) -> list[str]:
        """Return the arms that were trained to their end."""
        return [name for name in self.arms if (self.folder(name) / TRAINED_FILE).exists()]


def main() -> None:
    """Train, ask or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "ask", "report"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=HERE / "language_short.toml")
    parser.add_argument("--gpus", type=int, default=1, help="0: on the CPU")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument(
        "--seconds", type=float, default=560, help="trainings stop then, with a checkpoint"
    )
    parser.add_argument("--steps", type=count, help="default: the recipe's")
    parser.add_argument("--workers", type=count, help="that make data, for each training")
    parser.add_argument("--processes", type=count, default=2, help="that ask, for each arm and way")
    parser.add_argument("--concurrency", type=count, default=24, help="samples at a time in each")
    arguments = parser.parse_args()
    cards = _cards(arguments.gpus)
    if len(cards) != arguments.gpus:
        parser.error(f"{len(cards)} GPUs are to be seen here, not {arguments.gpus}; give --gpus.")
    if not arguments.recipe.is_file():
        parser.error(f"There is no recipe {arguments.recipe}.")
    study = Study(
        out=arguments.out,
        recipe=arguments.recipe,
        arms={name: ARMS[name] for name in arguments.arms},
        cards=cards,
        seconds=arguments.seconds,
        steps=arguments.steps,
        workers=arguments.workers,
    )
    if arguments.what == "report":
        try:
            write_pages(study.out, {name: study.folder(name) for name in ARMS})
        except EvalError as problem:
            parser.error(str(problem))
        return
    if arguments.what == "ask" and not study.trained():
        parser.error(f"{study.out} holds no arm that was trained to its end; train one first.")
    note_command(study.out, gpus=len(study.cards))
    if arguments.what == "train":
        train(study)
    else:
        ask(study, processes=arguments.processes, concurrency=arguments.concurrency)


def _cards(gpus: int) -> list[str]:
    """Return the numbers of the cards to use: those that are visible here, if some are named."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = [str(card) for card in range(len(card_names()))]
    named = there if given is None else given.split(",")
    return [card for card in named if card][: max(0, gpus)]


def train(study: Study) -> None:
    """Train the arms that are not, each on a card of its own while it lasts."""
    until = time.monotonic() + study.seconds
    free: SimpleQueue[str] = SimpleQueue()
    for card in study.cards or [""]:
        free.put(card)

    def work(name: str) -> None:
        card = free.get()
        left = until - time.monotonic()
        try:
            if left > 0 and name not in study.trained():
                _run(_training(study, name, seconds=left), card=card)
        finally:
            free.put(card)

    study.out.mkdir(parents=True, exist_ok=True)
    _do_all(work, study.arms, at_once=free.qsize())


def _training(study: Study, name: str, *, seconds: float) -> list[str]:
    folder = study.folder(name)
    recipe = folder.with_suffix(".json")
    recipe.write_text(json.dumps(recipe_of(study, study.arms[name])), encoding="utf-8")
    return ["ablation_run.py", str(recipe), str(folder), "--seconds", f"{seconds:.0f}"]


def recipe_of(study: Study, arm: Arm) -> dict[str, object]:
    """Return an arm's recipe; with other ``steps``, the stages end at the same shares of them."""
    values = tomllib.loads(study.recipe.read_text(encoding="utf-8"))
    settings = values["train"]
    share = (study.steps or settings["steps"]) / settings["steps"]
    for stage in values["task"]["stages"]:
        if "until" in stage:
            stage["until"] = max(1, round(share * stage["until"]))
        if arm.tools is not None:
            stage["tools"] = arm.tools
    values["model"] |= arm.model
    for part in ("warmup", "eval_every", "save_every", "steps"):
        settings[part] = max(1, round(share * settings[part]))
    settings |= {"seed": arm.seed, "workers": study.workers or settings["workers"]}
    return values


def ask(study: Study, *, processes: int, concurrency: int) -> None:
    """Have every trained arm work scenes and answer our tasks, all of them at once."""
    cards = dict(zip(study.trained(), cycle(study.cards or [""]), strict=False))

    def work(job: tuple[str, str]) -> None:
        name, way = job
        folder = study.folder(name)
        limits = ["--seconds", f"{study.seconds:.0f}", "--processes", str(processes)]
        if way == "exam":
            out = str(folder / "exam.json")
            _run(["exams.py", str(folder / "weights"), "--out", out, *limits], card="")
            return
        at = ["--device", "cuda"] if study.cards else []
        _run(
            ["model_figures.py", str(folder / "weights"), "--out", str(folder / "figures"),
             *limits, *at, "--grace", "60", "--concurrency", str(concurrency), "--cells", *CELLS],
            card=cards[name],
        )  # fmt: skip

    jobs = list(product(cards, ("exam", "figures")))
    _do_all(work, jobs, at_once=max(1, len(jobs)))


def _do_all(work: Callable[[T], None], jobs: Iterable[T], *, at_once: int) -> None:
    """Do all jobs in their order, so many at once; end with an error if one failed."""
    jobs = list(jobs)
    with ThreadPoolExecutor(at_once) as pool:
        runs = [pool.submit(work, job) for job in jobs]
    failed = {str(job): e for job, run in zip(jobs, runs, strict=True) if (e := run.exception())}
    for name, error in failed.items():
        print(f"{name}: {error}", file=sys.stderr)
    if failed:
        raise SystemExit(f"{len(failed)} of {len(jobs)} failed; the same command goes on.")


def _run(command: list[str], *, card: str) -> None:
    """Run a program of this folder on a card, or on the CPU behind what a card needs of it."""
    env = os.environ | {"CUDA_VISIBLE_DEVICES": card, "OMP_NUM_THREADS": "1"}
    polite = [] if card else ["nice"]
    subprocess.run(
        [*polite, sys.executable, "-u", str(HERE / command[0]), *command[1:]], env=env, check=True
    )


if __name__ == "__main__":
    main()
