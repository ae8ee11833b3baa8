"""Every figure a GPU has to show, in order of worth, in slices that can be cut and resumed.

``python evals/recipes/mom/card.py --out FOLDER --seconds 540`` does what is still to do: whether
the kernels are right; layer and decode timings beside the floor; the same beside
flash-linear-attention; training rate; the MQAR table, trained models at longer texts, overwrites,
MQAR with four times the pairs; a million tokens at constant memory. Each figure is a line of
``FOLDER/card.jsonl`` the moment it is there. ``--stages`` names some of them, ``--quick`` runs all
of them small, on a CPU too.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from beside_fla import compare_with_fla
from correctness import check_layers, check_pieces, check_steps
from figures import Figures
from learned import run_study, stretch, vary_pairs
from speed import (
    SHAPES,
    WORKS,
    Work,
    measure_card,
    read_long,
    time_decode,
    time_layers,
    train_rate,
)

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.recipes.recall import RecallPlan, load_plan

HERE = Path(__file__).parent
Arms = tuple[str, ...]
STUDIES = (
    "mqar_64", "overwrite_64", "mqar_256", "mqar_256_long", "mqar_cpu", "overwrite_cpu",
    "mqar_cpu_long",
)  # fmt: skip
PAIRS = (8, 16, 32, 64, 128, 256)
TINY = {"tiny": MixerConfig(d_model=32, heads=2, key_dim=16, value_dim=16, conv="memory")}


def main() -> None:
    """Run the stages asked for, in order, until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=540, help="time for this slice")
    parser.add_argument("--stages", default="", help="comma-separated; default: all")
    parser.add_argument("--arms", default="", help="of the studies, so that cards can share them")
    parser.add_argument("--quick", action="store_true", help="everything small")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1 if arguments.quick else torch.get_num_threads())
    figures = Figures(arguments.out / "card.jsonl", seconds=arguments.seconds)
    arms = tuple(filter(None, arguments.arms.split(",")))
    plans = [load_plan(path) for path in HERE.glob("*.toml") if path.stem in STUDIES]
    if missing := [arm for arm in arms if not any(arm in plan.arms for plan in plans)]:
        parser.error(f"no arm {', '.join(missing)}; the studies are {', '.join(STUDIES)}")
    make = small if arguments.quick else full
    stages = make(figures, arguments.out, arms=arms)
    wanted = arguments.stages.split(",") if arguments.stages else list(stages)
    unknown = sorted(set(wanted) - set(stages))
    if unknown:
        parser.error(f"no stage {', '.join(unknown)}; there are {', '.join(stages)}")
    for name in wanted:
        stages[name]()
    print(f"{figures.left:.0f} s left", flush=True)


def full(figures: Figures, out: Path, *, arms: Arms) -> dict[str, Callable[[], None]]:
    """Return the stages at the sizes of the specification."""
    mqar, overwrite, many, longer = (
        _of(load_plan(HERE / f"{n}.toml"), arms)
        for n in ("mqar_64", "overwrite_64", "mqar_256", "mqar_256_long")
    )
    lengths = (256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)

    def correctness() -> None:
        measure_card(figures, side=8192, megabytes=4096)
        check_layers(figures, SHAPES, lengths=[700, 0, 65, 1, 258])
        check_pieces(figures, SHAPES, length=20_000)
        check_steps(figures, SHAPES)

    return {
        "correctness": correctness,
        "layers": lambda: time_layers(figures, SHAPES, WORKS),
        "decode": lambda: time_decode(figures, SHAPES, layers=8, tokens=50),
        "beside": lambda: compare_with_fla(figures),
        "train": lambda: train_rate(figures, SHAPES, [Work(sequences=32, length=2048)]),
        "mqar": lambda: run_study(figures, mqar, folder=out / "mqar_64"),
        "stretch": lambda: stretch(
            figures, mqar, folder=out / "mqar_64", lengths=lengths, examples=4
        ),
        "pairs": lambda: vary_pairs(
            figures, mqar, folder=out / "mqar_64", pairs=PAIRS, examples=64
        ),
        "overwrite": lambda: run_study(figures, overwrite, folder=out / "overwrite_64"),
        "many": lambda: run_study(figures, many, folder=out / "mqar_256"),
        "many-long": lambda: run_study(figures, longer, folder=out / "mqar_256_long"),
        "many-pairs": lambda: vary_pairs(
            figures, many, folder=out / "mqar_256", pairs=PAIRS, examples=64
        ),
        "length": lambda: read_long(
            figures, SHAPES["d512"], layers=8, marks=[1024, 32_768, 1_048_576]
        ),
    }


def small(figures: Figures, out: Path, *, arms: Arms) -> dict[str, Callable[[], None]]:
    """Return the same stages small enough for a CPU."""
    mqar, overwrite, many = (
        _shrunk(_of(load_plan(HERE / f"{n}.toml"), arms))
        for n in ("mqar_cpu", "overwrite_cpu", "mqar_cpu_long")
    )
    works = [Work(sequences=2, length=32)]

    def correctness() -> None:
        measure_card(figures, side=64, megabytes=1)
        check_layers(figures, TINY, lengths=[20, 0, 1])
        check_pieces(figures, TINY, length=64)
        check_steps(figures, TINY)

    return {
        "correctness": correctness,
        "layers": lambda: time_layers(figures, TINY, works),
        "decode": lambda: time_decode(figures, TINY, layers=2, tokens=2),
        "beside": lambda: compare_with_fla(figures),
        "train": lambda: train_rate(figures, TINY, works),
        "mqar": lambda: run_study(figures, mqar, folder=out / "mqar_cpu"),
        "stretch": lambda: stretch(
            figures, mqar, folder=out / "mqar_cpu", lengths=(48, 96), examples=2
        ),
        "pairs": lambda: vary_pairs(
            figures, mqar, folder=out / "mqar_cpu", pairs=(8, 16), examples=2
        ),
        "overwrite": lambda: run_study(figures, overwrite, folder=out / "overwrite_cpu"),
        "many": lambda: run_study(figures, many, folder=out / "mqar_cpu_long"),
        "many-long": lambda: run_study(figures, many, folder=out / "mqar_cpu_long"),
        "many-pairs": lambda: vary_pairs(
            figures, many, folder=out / "mqar_cpu_long", pairs=(8, 16), examples=2
        ),
        "length": lambda: read_long(figures, TINY["tiny"], layers=2, marks=[32, 64]),
    }


def _of(plan: RecallPlan, arms: Arms) -> RecallPlan:
    """Return the plan with these arms alone, or with all."""
    return replace(plan, arms={n: arm for n, arm in plan.arms.items() if n in arms or not arms})


def _shrunk(plan: RecallPlan) -> RecallPlan:
    train = replace(
        plan.base.train, steps=4, batch=4, eval_every=2, eval_batches=1, warmup=1, workers=0
    )
    arms = {name: plan.arms[name] for name in list(plan.arms)[:2]}
    base = replace(plan.base, train=train)
    return replace(plan, base=base, rates=plan.rates[:2], seeds=plan.seeds[:2], arms=arms)


if __name__ == "__main__":
    main()
