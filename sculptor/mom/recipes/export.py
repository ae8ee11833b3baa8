"""From a training run's checkpoint to weights that run without torch."""

from pathlib import Path

import orjson

from sculptor.mom.engine.weights import Dtype, Weights, export_weights
from sculptor.mom.recipes.checkpoints import CHECKPOINT_FILE, read_checkpoint
from sculptor.mom.recipes.recipe import recipe_from_dict


def export_run(
    run: Path, folder: Path, *, dtype: Dtype = "int8", vocab_size: int | None = None
) -> Weights:
    """Write the weights of the run in ``run`` to ``folder`` and return them as stored.

    ``run`` is what `sculptor.mom.recipes.train.Trainer` leaves: ``recipe.json`` and
    ``checkpoint.pt``. A missing or damaged file is a ValueError, and so is a model of other than
    ``vocab_size`` tokens, where that is given; then nothing is written.
    """
    told, kept = run / "recipe.json", read_checkpoint(run)
    if not told.is_file() or kept is None:
        missing = run / CHECKPOINT_FILE if told.is_file() else told
        raise ValueError(f"{missing} is missing; name the folder of a training run.")
    recipe = recipe_from_dict(orjson.loads(told.read_bytes()))
    if vocab_size is not None and recipe.model.vocab_size != vocab_size:
        raise ValueError(
            f"{run} trained a model of {recipe.model.vocab_size} tokens, text has {vocab_size}; "
            "export a run of a language recipe."
        )
    tensors = {name: tensor.float().numpy() for name, tensor in kept["model"].items()}
    return export_weights(folder, recipe.model, tensors, dtype=dtype)
