from pathlib import Path

import numpy as np
import pytest
import torch

from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.weights import load_weights
from sculptor.mom.models.packing import pack_batch
from sculptor.mom.recipes.export import export_run
from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.recipe import recipe_from_dict
from sculptor.mom.recipes.train import Trainer
from tests.mom.helpers import MODEL


def test_a_trained_run_becomes_weights_that_run_without_torch(tmp_path: Path) -> None:
    recipe = recipe_from_dict(
        {
            "model": MODEL.to_dict(),
            "task": {"kind": "overwrite", "keys": 4, "updates": 4, "vocab_size": 19},
            "train": {"steps": 1, "batch": 2, "rate": 1e-3},
        }
    )
    trainer = Trainer(recipe, folder=tmp_path / "run", place=Place(device=torch.device("cpu")))
    trainer.run()
    export_run(tmp_path / "run", tmp_path / "model", dtype="float32")
    cpu = CpuModel(load_weights(tmp_path / "model"))
    tokens = [1, 5, 3, 2]
    with torch.no_grad():
        wanted, _ = trainer.model(pack_batch(torch.tensor([tokens])))
    assert np.abs(cpu.prefill(tokens, cpu.new_state()) - wanted[-1].numpy()).max() < 1e-5


def test_nothing_is_written_of_a_model_that_knows_no_text(tmp_path: Path) -> None:
    task = {"kind": "overwrite", "keys": 4, "updates": 4, "vocab_size": 19}
    train = {"steps": 1, "batch": 2, "rate": 1e-3}
    recipe = recipe_from_dict({"model": MODEL.to_dict(), "task": task, "train": train})
    Trainer(recipe, folder=tmp_path / "run", place=Place(device=torch.device("cpu"))).run()
    with pytest.raises(ValueError, match="a run of a language recipe"):
        export_run(tmp_path / "run", tmp_path / "model", vocab_size=4096)
    assert not (tmp_path / "model").exists()


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"recipe\.json is missing; name the folder of a training"):
        export_run(tmp_path, tmp_path / "model")
