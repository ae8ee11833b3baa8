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
    told, kept = run / "recipe.json", read_checkpoint(run)
    if not told.is_file() or kept is None:
        missing = run / CHECKPOINT_FILE if told.is_file() else told
        raise ValueError(f"{missing} is missing; name the folder of a training run.")
    recipe = recipe_from_dict(orjson.loads(told.read_bytes()))
    tensors = {name: tensor.float().numpy() for name, tensor in kept["model"].items()}
    return export_weights(folder, recipe.model, tensors, dtype=dtype)
