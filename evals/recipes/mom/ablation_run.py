"""One arm of `ablations.py` in a process of its own: train, then export for the CPU runtime."""

import argparse
import json
from pathlib import Path

from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.mom.recipes.export import export_run
from sculptor.mom.recipes.recipe import recipe_from_dict
from sculptor.mom.recipes.train import Trainer, find_place
from sculptor.server.mom.loading import describe_model


def main() -> None:
    """Train for at most the seconds given and print the step that was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=float, required=True, help="seconds")
    arguments = parser.parse_args()
    recipe = recipe_from_dict(json.loads(arguments.recipe.read_text(encoding="utf-8")))
    trainer = Trainer(recipe, folder=arguments.folder, place=find_place())
    trainer.run(seconds=arguments.train)
    if trainer.step == recipe.train.steps:
        weights = arguments.folder / "weights"
        export_run(arguments.folder, weights)
        describe_model(weights, tokenizer=load_tokenizer())
    print(json.dumps({"step": trainer.step}))


if __name__ == "__main__":
    main()
