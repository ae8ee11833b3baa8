"""One arm of `ablations.py` in a process of its own: train, then export for the CPU runtime."""

import argparse
import json
from pathlib import Path

from sculptor.mom.engine.weights import load_weights
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.mom.models.modeling import MomForCausalLM, count_active, count_parameters
from sculptor.mom.recipes.export import export_run
from sculptor.mom.recipes.metrics import MetricsLine, read_metrics
from sculptor.mom.recipes.place import find_place
from sculptor.mom.recipes.recipe import recipe_from_dict
from sculptor.mom.recipes.train import Trainer
from sculptor.server.mom.loading import describe_model

TRAINED_FILE = "trained.json"


def main() -> None:
    """Train for at most the seconds given; what was trained to its end is exported and told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    recipe = recipe_from_dict(json.loads(arguments.recipe.read_text(encoding="utf-8")))
    trainer = Trainer(recipe, folder=folder, place=find_place())
    in_one_go = trainer.step == 0
    trainer.run(seconds=arguments.seconds, tell=lambda line: print(f"{folder.name}: {line}"))
    if trainer.step < recipe.train.steps:
        return
    export_run(folder, folder / "weights")
    describe_model(folder / "weights", tokenizer=load_tokenizer())
    lines = read_metrics(folder)
    model = MomForCausalLM(load_weights(folder / "weights").config)
    tokens = recipe.train.batch * int(str(recipe.task["length"]))
    told = {
        "steps": trainer.step,
        "tokens": tokens * trainer.step,
        "parameters": count_parameters(model),
        "active": count_active(model),
        "asked": lines[-1].score.asked,
        "entropy": lines[-1].score.entropy,
        "token_accuracy": curve(folder),
        "tokens_per_s": pace(lines, tokens=tokens) if in_one_go else None,
    }
    fresh = (folder / TRAINED_FILE).with_suffix(".new")
    fresh.write_text(json.dumps(told), encoding="utf-8")
    fresh.replace(folder / TRAINED_FILE)


def curve(folder: Path) -> dict[str, float]:
    """Return the token accuracy on unseen scenes after so many steps."""
    return {str(line.step): line.score.accuracy for line in read_metrics(folder)}


def pace(lines: list[MetricsLine], *, tokens: int) -> float | None:
    """Return tokens per second between the first and the last of a run's evaluations.

    Those that lie between count with their time; the start of the run does not. ``tokens`` are
    those of a step.
    """
    if len(lines) < 2:
        return None
    first, last = lines[0], lines[-1]
    seconds = tokens * (last.step / last.tokens_per_s - first.step / first.tokens_per_s)
    return round(tokens * (last.step - first.step) / seconds, 1)


if __name__ == "__main__":
    main()
