"""From a training run's checkpoint to weights that run without torch."""

from pathlib import Path

import orjson

from sculptor.mom.engine.weights import Dtype, Weights, export_weights
from sculptor.mom.recipes.checkpoints import CHECKPOINT_FILE, read_checkpoint
from sculptor.mom.recipes.recipe import recipe_from_dict


def export_run(run: Path, folder: Path, *, dtype: Dtype = "int8") -> Weights:
    """Write the weights of the run in ``run`` to ``folder`` and return them as stored.

    ``run`` is what `sculptor.mom.recipes.train.Trainer` leaves: ``recipe.json`` and
    ``checkpoint.pt``. A missing or damaged file is a ValueError.
    """
    for needed in (run / "recipe.json", run / CHECKPOINT_FILE):
        if not needed.is_file():
            raise ValueError(f"{needed} is missing; name the folder of a training run.")
    recipe = recipe_from_dict(orjson.loads((run / "recipe.json").read_bytes()))
    kept = read_checkpoint(run) or {}
    tensors = {name: tensor.float().numpy() for name, tensor in kept["model"].items()}
    return export_weights(folder, recipe.model, tensors, dtype=dtype)
