"""From a training run's checkpoint to weights that run without torch."""

from pathlib import Path

import orjson
import torch

from sculptor.mom.engine.weights import Dtype, Weights, export_weights
from sculptor.mom.recipes.recipe import recipe_from_dict


def export_run(run: Path, folder: Path, *, dtype: Dtype = "int8") -> Weights:
    """Write the weights of the run in ``run`` to ``folder`` and return them as stored.

    ``run`` is what `sculptor.mom.recipes.train.Trainer` leaves: ``recipe.json`` and
    ``checkpoint.pt``. A missing file is a ValueError.
    """
    told, path = run / "recipe.json", run / "checkpoint.pt"
    for needed in (told, path):
        if not needed.is_file():
            raise ValueError(f"{needed} is missing; name the folder of a training run.")
    recipe = recipe_from_dict(orjson.loads(told.read_bytes()))
    kept = torch.load(path, map_location="cpu", weights_only=True)["model"]
    tensors = {name: tensor.float().numpy() for name, tensor in kept.items()}
    return export_weights(folder, recipe.model, tensors, dtype=dtype)
