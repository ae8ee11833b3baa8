"""What models learn: recall plans run lane by lane, and a trained model at longer and longer texts.

Arms come in the order of the plan. All rates of an arm run side by side on the first seed, then
the other seeds at its best rate. A cut study leaves its lanes in the folder and goes on there.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from figures import DEVICE, Figures

from sculptor.mom.models.modeling import count_active, count_parameters
from sculptor.mom.recipes.many import Lane, examine, run_lanes
from sculptor.mom.recipes.recall import RecallPlan, RunResult, best_rate, save_results
from sculptor.mom.recipes.tasks import Mqar

Key = tuple[str, float, int]


def run_study(figures: Figures, plan: RecallPlan, *, folder: Path) -> None:
    """Run what is still to do of a plan within the time left; write the result as it stands."""
    folder.mkdir(parents=True, exist_ok=True)
    for arm in plan.arms:
        first = plan.seeds[0]
        if not _run_arm(figures, plan, [(arm, r, first) for r in plan.rates], folder=folder):
            return
        best = best_rate(_results(figures, plan), arm=arm, seed=first)
        if not _run_arm(figures, plan, [(arm, best, s) for s in plan.seeds[1:]], folder=folder):
            return


def _results(figures: Figures, plan: RecallPlan) -> list[RunResult]:
    rows = [row for row in figures.find("recall") if row["plan"] == plan.name]
    return [RunResult(**row["run"]) for row in rows]  # type: ignore[arg-type]


def _run_arm(figures: Figures, plan: RecallPlan, keys: Sequence[Key], *, folder: Path) -> bool:
    """Run these lanes of one arm side by side; return False if time ran out."""
    names = {key: f"{plan.name} {key[0]} {key[1]:g} {key[2]}" for key in keys}
    made = {row["item"] for row in figures.find("recall")}
    todo = [key for key in keys if names[key] not in made]
    if not todo:
        return True
    if figures.left <= 0:
        return False
    lanes = {key: _lane(plan, key) for key in todo}
    kept = folder / f"{todo[0][0]}.pt"
    _load(lanes, kept)
    curves: dict[Key, list[tuple[int, float]]] = {key: [] for key in todo}
    train = plan.base.train

    def watch() -> None:
        for key, lane in lanes.items():
            if lane.step % train.eval_every == 0 and not lane.done:
                curves[key].append((lane.step, _score(lane, train.eval_batches).accuracy))

    began = time.monotonic()
    whole = run_lanes(list(lanes.values()), seconds=figures.left, watch=watch)
    if not whole:
        torch.save({str(key): lane.state_dict() for key, lane in lanes.items()}, kept)
        return False
    seconds = (time.monotonic() - began) / len(lanes)
    for key, lane in lanes.items():
        run = _result(lane, key, curve=curves[key], seconds=seconds)
        figures.add("recall", names[key], plan=plan.name, accuracy=run.accuracy, run=asdict(run))
        if key[2] == plan.seeds[0]:
            torch.save(lane.state_dict(), folder / f"{key[0]}-{key[1]:g}.trained.pt")
    kept.unlink(missing_ok=True)
    save_results(plan, _results(figures, plan), folder=folder)
    return True


def _lane(plan: RecallPlan, key: Key) -> Lane:
    arm, rate, seed = key
    return Lane(plan.recipe(arm, rate=rate, seed=seed), device=DEVICE)


def _load(lanes: dict[Key, Lane], kept: Path) -> None:
    if not kept.exists():
        return
    states = torch.load(kept, map_location=DEVICE, weights_only=True)
    if set(states) == {str(key) for key in lanes}:
        for key, lane in lanes.items():
            lane.load_state_dict(states[str(key)])


def _score(lane: Lane, batches: int):
    train = lane.recipe.train
    return examine(
        lane.model, task=lane.task, seed=train.seed, examples=train.batch, batches=batches
    )


def _result(lane: Lane, key: Key, *, curve: list[tuple[int, float]], seconds: float) -> RunResult:
    final = _score(lane, 4 * lane.recipe.train.eval_batches)
    return RunResult(
        arm=key[0],
        rate=key[1],
        seed=key[2],
        right=final.right,
        asked=final.asked,
        seconds=round(seconds, 1),
        parameters=count_parameters(lane.model),
        active_parameters=count_active(lane.model),
        state_bytes=lane.recipe.model.state_bytes,
        load=final.load,
        curve=[*curve, (lane.step, final.accuracy)],
    )


def stretch(
    figures: Figures, plan: RecallPlan, *, folder: Path, lengths: Sequence[int], examples: int
) -> None:
    """Score each arm's trained model at its best rate on longer texts with as many pairs."""
    _score_elsewhere(
        figures, plan, folder=folder, part="stretch", examples=examples,
        change=[(str(length), {"length": length}) for length in lengths],
    )  # fmt: skip


def vary_pairs(
    figures: Figures, plan: RecallPlan, *, folder: Path, pairs: Sequence[int], examples: int
) -> None:
    """Score each arm's trained model on fewer and on more pairs than it was trained with."""
    least = plan.base.task["length"]
    assert isinstance(least, int)
    _score_elsewhere(
        figures, plan, folder=folder, part="pairs", examples=examples,
        change=[(f"{n} pairs", {"pairs": n, "length": max(least, 4 * n)}) for n in pairs],
    )  # fmt: skip


def _score_elsewhere(
    figures: Figures,
    plan: RecallPlan,
    *,
    folder: Path,
    part: str,
    examples: int,
    change: Sequence[tuple[str, Mapping[str, int]]],
) -> None:
    results = _results(figures, plan)
    for arm in plan.arms:
        if not any(r.arm == arm for r in results):
            continue
        rate = best_rate(results, arm=arm, seed=plan.seeds[0])
        lane = _lane(plan, (arm, rate, plan.seeds[0]))
        path = folder / f"{arm}-{rate:g}.trained.pt"
        if not isinstance(lane.task, Mqar) or not path.exists():
            continue
        lane.load_state_dict(torch.load(path, map_location=DEVICE, weights_only=True))
        for name, values in change:
            item = f"{plan.name} {arm} {name}"
            if figures.wants(part, item):
                seen = examine(
                    lane.model, task=replace(lane.task, **values), seed=plan.seeds[0],
                    examples=examples, batches=2,
                )  # fmt: skip
                figures.add(
                    part, item, arm=arm, **values, right=seen.right, asked=seen.asked,
                    accuracy=seen.accuracy, load=seen.load,
                )  # fmt: skip
