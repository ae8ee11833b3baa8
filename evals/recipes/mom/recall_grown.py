"""A recall plan whose examples grow from few pairs to many, so that every arm begins to recall.

On 16 pairs from the first step a model guesses for hundreds of steps before it recalls at all, and
how many depends on the seed more than on the model. Here training begins on few pairs: ``grow``
in the plan lists ``[pairs, steps]``, the last of them the task's own. A step has as many tokens
at every stage. Each run is examined on every count of pairs in ``examine``.

Rates are swept on the first seed, the best on all, as in `sculptor mom recall`; a run that stands
in the result is not made again. ``result.json`` has, for each count of pairs, what a recall
plan's has.
"""

import argparse
import json
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sculptor.mom.models.modeling import count_active, count_parameters
from sculptor.mom.recipes.many import examine
from sculptor.mom.recipes.metrics import read_metrics
from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.plot import line_plot
from sculptor.mom.recipes.recall import RecallPlan, RunResult, best_rate, load_plan, summarize
from sculptor.mom.recipes.tasks import Batch, Mqar
from sculptor.mom.recipes.train import Trainer

EXAMPLE = (
    "python evals/recipes/mom/recall_grown.py evals/recipes/mom/mqar_cpu_router.toml --out DIR"
)
HERE = Place(device=torch.device("cpu"))

Results = dict[int, list[RunResult]]
"""The runs, examined on each count of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrownPlan:
    """A recall plan, its ``stages`` of ``(pairs, steps)``, and the ``pairs`` to examine on."""

    plan: RecallPlan
    stages: tuple[tuple[int, int], ...]
    pairs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowingMqar:
    """MQAR without filler whose pairs follow from the step; an exam asks as the last stage."""

    stages: tuple[tuple[int, int], ...]
    vocab_size: int

    @property
    def length(self) -> int:
        """Tokens per example at the end."""
        return 3 * self.stages[-1][0]

    def make(
        self,
        rng: np.random.Generator,
        *,
        examples: int,
        step: int | None = None,
        share: slice = slice(None),
    ) -> Batch:
        """Draw a batch of the stage that ``step`` falls in, with as many tokens as at the end."""
        last = self.stages[-1][0]
        pairs = last if step is None else self._pairs_at(step)
        return make_task(pairs, vocab_size=self.vocab_size).make(
            rng, examples=examples * (last // pairs), step=step, share=share
        )

    def _pairs_at(self, step: int) -> int:
        for pairs, steps in self.stages:
            if step < steps:
                return pairs
            step -= steps
        return self.stages[-1][0]


def make_task(pairs: int, *, vocab_size: int) -> Mqar:
    """Return MQAR without filler: a key, a value and a query for each pair."""
    return Mqar(pairs=pairs, length=3 * pairs, vocab_size=vocab_size)


def load_grown(path: Path) -> GrownPlan:
    """Read a plan with ``grow`` and ``examine``; a mistake in it is a ValueError."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    stages = tuple((int(pairs), int(steps)) for pairs, steps in values["grow"])
    plan = load_plan(path)
    last, task = stages[-1][0], plan.base.task
    if (task["pairs"], task["length"]) != (last, 3 * last):
        raise ValueError(f"{path}: the task must be that of the last stage, {last} pairs.")
    if any(last % pairs for pairs, _ in stages):
        raise ValueError(f"{path}: every stage's pairs must divide the last stage's {last}.")
    train = replace(plan.base.train, steps=sum(steps for _, steps in stages))
    plan = replace(plan, base=replace(plan.base, train=train))
    return GrownPlan(plan=plan, stages=stages, pairs=tuple(values["examine"]))


def run_grown(grown: GrownPlan, *, folder: Path) -> Results:
    """Run what is not done yet and return all results."""
    folder.mkdir(parents=True, exist_ok=True)
    results, plan = load_grown_results(folder, pairs=grown.pairs), grown.plan
    for arm in plan.arms:
        for rate in plan.rates:
            _ensure(results, grown, arm, rate, plan.seeds[0], folder)
        best = best_rate(results[grown.pairs[-1]], arm=arm, seed=plan.seeds[0])
        for seed in plan.seeds[1:]:
            _ensure(results, grown, arm, best, seed, folder)
    return results


def load_grown_results(folder: Path, *, pairs: Sequence[int]) -> Results:
    """Return what stands in a folder, an empty list for every count of pairs if nothing does."""
    path = folder / "result.json"
    if not path.exists():
        return {n: [] for n in pairs}
    told = json.loads(path.read_text(encoding="utf-8"))["pairs"]
    return {
        n: [
            RunResult(**row | {"curve": [tuple(p) for p in row["curve"]]})
            for row in told[str(n)]["runs"]
        ]
        for n in pairs
    }


def save_grown(grown: GrownPlan, results: Results, *, folder: Path) -> None:
    """Write ``result.json`` and ``plot.svg``: the arms begun, and every run."""
    plan, last = grown.plan, grown.pairs[-1]
    done = {r.arm for r in results[last] if r.seed == plan.seeds[0]}
    plan = replace(plan, arms={n: a for n, a in plan.arms.items() if n in done})
    best = {a: best_rate(results[last], arm=a, seed=plan.seeds[0]) for a in plan.arms}
    told = {
        "plan": plan.name,
        "base": plan.base.to_dict(),
        "grow": grown.stages,
        "rates": plan.rates,
        "seeds": plan.seeds,
        "arms": {name: dict(arm) for name, arm in plan.arms.items()},
        "pairs": {
            str(n): {
                "summary": summarize(plan, [r for r in runs if r.rate == best[r.arm]]),
                "runs": [asdict(r) for r in runs],
            }
            for n, runs in results.items()
        },
    }
    (folder / "result.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    lines = {
        r.arm: [(float(step), value) for step, value in r.curve]
        for r in results[last]
        if (r.rate, r.seed) == (best[r.arm], plan.seeds[0])
    }
    svg = line_plot(
        lines,
        title=f"{plan.name}: {last} pairs, first seed, best rate",
        x_label="step",
        y_label="exact match",
    )
    (folder / "plot.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    """Run the plan and print a line per run."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"Example: {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("plan", type=Path, help="a plan (TOML) with grow and examine")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run_grown(load_grown(arguments.plan), folder=arguments.out)


def _ensure(
    results: Results, grown: GrownPlan, arm: str, rate: float, seed: int, folder: Path
) -> None:
    last = grown.pairs[-1]
    if any((r.arm, r.rate, r.seed) == (arm, rate, seed) for r in results[last]):
        return
    recipe = grown.plan.recipe(arm, rate=rate, seed=seed)
    began = time.perf_counter()
    run = folder / "runs" / f"{arm}-{rate:g}-{seed}"
    trainer = Trainer(recipe, folder=run, place=HERE)
    vocab_size = recipe.model.vocab_size
    trainer.task = GrowingMqar(stages=grown.stages, vocab_size=vocab_size)
    trainer.run()
    seconds = round(time.perf_counter() - began, 1)
    for pairs in grown.pairs:
        # As many queries at every count: those of 16 batches at the end.
        found = examine(
            trainer.model,
            task=make_task(pairs, vocab_size=vocab_size),
            seed=seed,
            examples=recipe.train.batch * last // pairs,
            batches=16,
        )
        results[pairs].append(
            RunResult(
                arm=arm,
                rate=rate,
                seed=seed,
                right=found.right,
                asked=found.asked,
                seconds=seconds,
                parameters=count_parameters(trainer.model),
                active_parameters=count_active(trainer.model),
                state_bytes=recipe.model.state_bytes,
                load=found.load,
                curve=[(line.step, line.score.accuracy) for line in read_metrics(run)],
            )
        )
    save_grown(grown, results, folder=folder)
    told = ", ".join(f"{n} pairs {results[n][-1].accuracy:.4f}" for n in grown.pairs)
    print(f"{arm} rate={rate:g} seed={seed}: {told} in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
