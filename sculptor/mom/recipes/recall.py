"""A recall study: arms that differ in the model, one task, a swept rate, seeds at the best rate.

A plan is a TOML file: a recipe's three tables as the base, ``rates``, ``seeds`` and one table
``arms.NAME`` of model settings per arm. Every arm tries every rate on the first seed; the rate
with the highest accuracy there is run on the other seeds. The result is written after every run,
and a run that stands in the result already is not made again, so a plan can be cut anywhere.
"""

import json
import math
import statistics
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sculptor.evals.stats import wilson
from sculptor.mom.models.modeling import count_active, count_parameters
from sculptor.mom.recipes.metrics import read_metrics
from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.plot import line_plot
from sculptor.mom.recipes.recipe import Recipe, recipe_from_dict
from sculptor.mom.recipes.train import Trainer

_STUDENT_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Two-sided 95% quantiles of Student's t for a mean of ``n`` values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallPlan:
    """What to run: ``arms`` are model settings that replace those of the base recipe."""

    name: str
    base: Recipe
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    arms: Mapping[str, Mapping[str, object]]

    def recipe(self, arm: str, *, rate: float, seed: int) -> Recipe:
        """Return the recipe of one run."""
        tables = self.base.to_dict()
        model = self.base.model.to_dict() | dict(self.arms[arm])
        recipe = recipe_from_dict(tables | {"model": model})
        return replace(recipe, train=replace(recipe.train, rate=rate, seed=seed))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One finished run: exact matches ``right`` of ``asked`` questions on unseen examples."""

    arm: str
    rate: float
    seed: int
    right: int
    asked: int
    seconds: float
    parameters: int
    active_parameters: int
    state_bytes: int
    load: list[list[float]]
    curve: list[tuple[int, float]]

    @property
    def accuracy(self) -> float:
        """Share of questions answered exactly."""
        return self.right / self.asked


def load_plan(path: Path) -> RecallPlan:
    """Read a plan file; a mistake in it is a ValueError that names the file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        missing = sorted({"rates", "seeds", "arms"} - set(values))
        if missing:
            raise ValueError(f"The plan has no {', '.join(missing)}.")
        plan = RecallPlan(
            name=path.stem,
            base=recipe_from_dict(values),
            rates=tuple(values["rates"]),
            seeds=tuple(values["seeds"]),
            arms=values["arms"],
        )
        for arm in plan.arms:
            plan.recipe(arm, rate=plan.rates[0], seed=plan.seeds[0])
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from error
    return plan


def run_plan(
    plan: RecallPlan, *, folder: Path, place: Place, tell: Callable[[str], None]
) -> list[RunResult]:
    """Run what is not done yet and return all results; ``tell`` hears a line per run."""
    folder.mkdir(parents=True, exist_ok=True)
    results = load_results(folder)
    for arm in plan.arms:
        for rate in plan.rates:
            _ensure(results, plan, arm, rate, plan.seeds[0], folder, place, tell)
        best = best_rate(results, arm=arm, seed=plan.seeds[0])
        for seed in plan.seeds[1:]:
            _ensure(results, plan, arm, best, seed, folder, place, tell)
    return results


def best_rate(results: Sequence[RunResult], *, arm: str, seed: int) -> float:
    """Return the rate with the highest accuracy of an arm on one seed; the lower one of equals."""
    tried = [r for r in results if r.arm == arm and r.seed == seed]
    return min(tried, key=lambda r: (-r.accuracy, r.rate)).rate


def load_results(folder: Path) -> list[RunResult]:
    """Return the runs written to ``folder`` so far."""
    path = folder / "result.json"
    if not path.exists():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return [RunResult(**row | {"curve": [tuple(p) for p in row["curve"]]}) for row in rows]


def summarize(plan: RecallPlan, results: Sequence[RunResult]) -> list[dict[str, object]]:
    """Return a row per arm: the mean over seeds at its best rate, with its 95% t interval."""
    rows: list[dict[str, object]] = []
    for arm in plan.arms:
        rate = best_rate(results, arm=arm, seed=plan.seeds[0])
        runs = [r for r in results if r.arm == arm and r.rate == rate]
        values = [r.accuracy for r in runs]
        mean, n = statistics.fmean(values), len(values)
        half = None
        if n > 1:
            half = _STUDENT_95[n] * statistics.stdev(values) / math.sqrt(n)
        rows.append(
            {
                "arm": arm,
                "rate": rate,
                "seeds": n,
                "accuracy": mean,
                "t_interval_95": None if half is None else [mean - half, mean + half],
                "by_seed": {
                    str(r.seed): {
                        "accuracy": r.accuracy,
                        "n": r.asked,
                        "wilson_95": wilson(r.right, r.asked),
                    }
                    for r in runs
                },
                "parameters": runs[0].parameters,
                "active_parameters": runs[0].active_parameters,
                "state_bytes": runs[0].state_bytes,
                "load": runs[0].load,
            }
        )
    return rows


def save_results(plan: RecallPlan, results: Sequence[RunResult], *, folder: Path) -> None:
    """Write ``result.json`` and ``plot.svg``: the rows of complete arms, and every run."""
    done = {r.arm for r in results}
    complete = replace(plan, arms={n: a for n, a in plan.arms.items() if n in done})
    summary = summarize(complete, results)
    told = {
        "plan": plan.name,
        "base": plan.base.to_dict(),
        "rates": list(plan.rates),
        "seeds": list(plan.seeds),
        "arms": {name: dict(arm) for name, arm in plan.arms.items()},
        "summary": summary,
        "runs": [asdict(r) for r in results],
    }
    (folder / "result.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    lines = {}
    for row in summary:
        run = next(r for r in results if (r.arm, r.rate) == (row["arm"], row["rate"]))
        lines[run.arm] = [(float(step), value) for step, value in run.curve]
    svg = line_plot(
        lines, title=f"{plan.name}: first seed, best rate", x_label="step", y_label="exact match"
    )
    (folder / "plot.svg").write_text(svg, encoding="utf-8")


def _ensure(
    results: list[RunResult],
    plan: RecallPlan,
    arm: str,
    rate: float,
    seed: int,
    folder: Path,
    place: Place,
    tell: Callable[[str], None],
) -> None:
    if any((r.arm, r.rate, r.seed) == (arm, rate, seed) for r in results):
        return
    recipe = plan.recipe(arm, rate=rate, seed=seed)
    began = time.perf_counter()
    run_folder = folder / "runs" / f"{arm}-{rate:g}-{seed}"
    trainer = Trainer(recipe, folder=run_folder, place=place)
    trainer.run()
    final = trainer.evaluate(batches=4 * recipe.train.eval_batches)
    result = RunResult(
        arm=arm,
        rate=rate,
        seed=seed,
        right=final.right,
        asked=final.asked,
        seconds=round(time.perf_counter() - began, 1),
        parameters=count_parameters(trainer.model),
        active_parameters=count_active(trainer.model),
        state_bytes=recipe.model.state_bytes,
        load=final.load,
        curve=[(line.step, line.score.accuracy) for line in read_metrics(run_folder)],
    )
    results.append(result)
    save_results(plan, results, folder=folder)
    tell(f"{arm} rate={rate:g} seed={seed}: {result.accuracy:.4f} in {result.seconds:.0f} s")
