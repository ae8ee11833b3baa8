"""A run can be cut and resumed, shared between processes, and learns."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sculptor.mom.recipes.data import Batches, iter_batches
from sculptor.mom.recipes.metrics import read_metrics
from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.recipe import Recipe, load_recipe, recipe_from_dict
from sculptor.mom.recipes.tasks import task_from_dict
from sculptor.mom.recipes.train import Trainer

HERE = Place(device=torch.device("cpu"))
TABLES = {
    "model": {
        "vocab_size": 13, "d_model": 16, "layers": 2, "mlp_width": 24, "heads": 2, "key_dim": 4,
        "value_dim": 4, "chunk": 8, "attention_layers": [1], "attention_heads": 2, "window": 8,
    },
    "task": {"kind": "mqar", "pairs": 3, "length": 12, "vocab_size": 13},
    "train": {
        "steps": 12, "batch": 8, "rate": 3e-3, "warmup": 4, "dtype": "float64", "eval_every": 4,
        "eval_batches": 1, "save_every": 5,
    },
}  # fmt: skip


def _recipe(**train: object) -> Recipe:
    return recipe_from_dict(TABLES | {"train": TABLES["train"] | train})


def _weights(trainer: Trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in trainer.model.parameters()]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_cut_run_resumes_to_the_very_same_weights(tmp_path: Path, optimizer: str) -> None:
    recipe = _recipe(optimizer=optimizer)
    whole = Trainer(recipe, folder=tmp_path / "whole", place=HERE)
    whole.run()
    Trainer(recipe, folder=tmp_path / "cut", place=HERE).run(until=7)
    lost = Trainer(recipe, folder=tmp_path / "cut", place=HERE)
    assert lost.step == 7
    lost._save = lambda: None  # a machine that dies before its next checkpoint
    lost.run(until=9)
    resumed = Trainer(recipe, folder=tmp_path / "cut", place=HERE)
    assert resumed.step == 7
    resumed.run()
    for one, two in zip(_weights(whole), _weights(resumed), strict=True):
        assert torch.equal(one, two)
    lines = [
        [(m.step, m.loss, m.score) for m in read_metrics(tmp_path / n)] for n in ("whole", "cut")
    ]
    assert lines[0] == lines[1]
    assert [line[0] for line in lines[0]] == [4, 8, 12]
    assert (tmp_path / "cut" / "plot.svg").read_text().startswith("<svg")


def test_a_folder_holds_one_recipe(tmp_path: Path) -> None:
    Trainer(_recipe(), folder=tmp_path, place=HERE)
    with pytest.raises(ValueError, match="another recipe"):
        Trainer(_recipe(rate=1.0), folder=tmp_path, place=HERE)
    Trainer(_recipe(workers=1), folder=tmp_path, place=HERE)  # changes nothing but the time


def test_a_run_killed_before_its_first_checkpoint_tells_each_step_once(tmp_path: Path) -> None:
    whole = Trainer(_recipe(), folder=tmp_path, place=HERE)
    whole.run()
    steps = [line.step for line in read_metrics(tmp_path)]
    (tmp_path / "checkpoint.pt").unlink()
    Trainer(_recipe(), folder=tmp_path, place=HERE).run()
    assert [line.step for line in read_metrics(tmp_path)] == steps


def test_one_process_at_a_time_trains_in_a_folder(tmp_path: Path) -> None:
    first, second = (Trainer(_recipe(), folder=tmp_path, place=HERE) for _ in range(2))
    first.run(until=4)
    lines = read_metrics(tmp_path)

    def other(line: str) -> None:
        with pytest.raises(ValueError, match="Another process trains in"):
            second.run()

    first.run(until=8, tell=other)
    assert read_metrics(tmp_path)[: len(lines)] == lines


@pytest.mark.parametrize("kept", ["short", b"hello\n", [1], {"step": 3}], ids=str)
def test_a_damaged_checkpoint_is_refused_in_words(tmp_path: Path, kept: object) -> None:
    Trainer(_recipe(), folder=tmp_path, place=HERE).run(until=4)
    path = tmp_path / "checkpoint.pt"
    if kept == "short":
        path.write_bytes(path.read_bytes()[:-200])
    elif isinstance(kept, bytes):
        path.write_bytes(kept)
    else:
        torch.save(kept, path)
    with pytest.raises(ValueError, match="remove it to begin anew"):
        Trainer(_recipe(), folder=tmp_path, place=HERE)


def test_what_a_kill_leaves_of_a_folder_does_not_block_it(tmp_path: Path) -> None:
    Trainer(_recipe(), folder=tmp_path, place=HERE).run(until=8)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    Trainer(_recipe(), folder=tmp_path, place=HERE).run()
    assert [line.step for line in read_metrics(tmp_path)] == [4, 8, 12]
    (tmp_path / "recipe.json").write_text("")
    with pytest.raises(ValueError, match="name another folder or empty it"):
        Trainer(_recipe(), folder=tmp_path, place=HERE)


def test_a_run_that_is_told_to_stop_does_so_after_a_step(tmp_path: Path) -> None:
    whole = Trainer(_recipe(), folder=tmp_path / "whole", place=HERE)
    whole.run()
    cut = Trainer(_recipe(), folder=tmp_path / "cut", place=HERE)
    cut.run(stop=lambda: cut.step >= 3)
    assert cut.step == 3
    resumed = Trainer(_recipe(), folder=tmp_path / "cut", place=HERE)
    assert resumed.step == 3
    resumed.run()
    for one, two in zip(_weights(whole), _weights(resumed), strict=True):
        assert torch.equal(one, two)


def test_worker_processes_make_the_same_batches_in_the_same_order() -> None:
    task = task_from_dict(TABLES["task"])
    batches = Batches(task, seed=3, stream="train", examples=4)
    here = list(iter_batches(batches, first=2, end=7, workers=0))
    there = list(iter_batches(batches, first=2, end=7, workers=2))
    assert len(here) == len(there) == 5
    for one, two in zip(here, there, strict=True):
        assert torch.equal(one.tokens, two.tokens)
        assert torch.equal(one.weights, two.weights)


def test_processes_share_a_batch_without_gap_or_overlap() -> None:
    task = task_from_dict(TABLES["task"])
    whole = Batches(task, seed=3, stream="train", examples=6)[4].tokens
    parts = [
        Batches(task, seed=3, stream="train", examples=6, rank=r, world=2)[4].tokens for r in (0, 1)
    ]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)
    with pytest.raises(ValueError, match="shared evenly by 4"):
        Batches(task, seed=3, stream="train", examples=6, world=4)


TWO = """
import json, sys, torch
from pathlib import Path
from sculptor.mom.recipes.recipe import recipe_from_dict
from sculptor.mom.recipes.place import find_place
from sculptor.mom.recipes.train import Trainer
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
place = find_place()
trainer = Trainer(recipe_from_dict(json.loads(sys.argv[1])), folder=Path(sys.argv[2]), place=place)
trainer.run()
if place.rank == 0:
    torch.save([p.detach() for p in trainer.model.parameters()], Path(sys.argv[2]) / "weights.pt")
torch.distributed.destroy_process_group()
"""


TALK = {
    "kind": "language", "length": 256,
    "stages": [{"tools": 0.0, "families": {"chat": 1, "updates": 1}, "chars": {"100": 1}}],
}  # fmt: skip
"""Rows of it hold more words of the model's, or fewer."""


@pytest.mark.parametrize("kind", ["mqar", "language"])
def test_two_processes_train_to_the_weights_of_one(tmp_path: Path, kind: str) -> None:
    """The balance loss is a product over the batch, so it is left out of this equality."""
    recipe = _recipe(balance_weight=0.0)
    if kind == "language":
        model = TABLES["model"] | {"vocab_size": 4096}
        train = TABLES["train"] | {"steps": 3, "batch": 2, "balance_weight": 0.0}
        recipe = recipe_from_dict({"model": model, "task": TALK, "train": train})
    alone = Trainer(recipe, folder=tmp_path / "one", place=HERE)
    alone.run()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "two"
    folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, json.dumps(recipe.to_dict()), str(folder)],
            env={
                "WORLD_SIZE": "2", "RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port), "PATH": "",
            },
        )
        for rank in (0, 1)
    ]  # fmt: skip
    assert [p.wait(timeout=90) for p in processes] == [0, 0]
    for one, two in zip(_weights(alone), torch.load(folder / "weights.pt"), strict=True):
        # Adam divides by the gradient's size, so a row whose gradient is nearly nothing moves by
        # its rounding; a step that were not the mean of both would move rows by the rate, 3e-3.
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)


def test_a_run_without_numbers_stops_and_saves_nothing(tmp_path: Path) -> None:
    trainer = Trainer(_recipe(), folder=tmp_path, place=HERE)
    with torch.no_grad():
        trainer.model.model.embedding.fill_(torch.nan)
    with pytest.raises(
        FloatingPointError, match=r"no number any more at step 5.*lower train\.rate"
    ):
        trainer.run()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_training_learns_to_recall(tmp_path: Path) -> None:
    model = {k: v for k, v in TABLES["model"].items() if not k.startswith(("attention", "window"))}
    tables = {
        "model": model | {"d_model": 32, "mlp_width": 48, "key_dim": 8, "value_dim": 8},
        "task": {"kind": "mqar", "pairs": 2, "length": 8, "vocab_size": 13},
        "train": {"steps": 400, "batch": 32, "rate": 1e-2, "warmup": 20, "eval_every": 400},
    }
    told: list[str] = []
    line = Trainer(recipe_from_dict(tables), folder=tmp_path, place=HERE).run(tell=told.append)
    assert line is not None
    assert [text.split(",")[0] for text in told] == [
        f"step {step} of 400" for step in range(20, 401, 20)
    ]
    assert line.score.accuracy > 0.6  # one in six by guessing, one in two by taking any value seen
    assert all(abs(sum(layer) - 1) < 1e-3 for layer in line.score.load)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train": {"steps": 1}}, "incomplete"),
        ({"train": TABLES["train"] | {"colour": 1}}, "Unknown settings in"),
        ({"train": TABLES["train"] | {"optimizer": "sgd"}}, "choose adamw, muon"),
        ({"train": TABLES["train"] | {"steps": 0}}, "at least 1"),
        ({"train": TABLES["train"] | {"workers": -1}}, "0 draws data in this process"),
        ({"train": TABLES["train"] | {"workers": 1.5}}, "give a whole number"),
        ({"task": None}, r"\[task\] is missing"),
    ],
)
def test_a_mistaken_recipe_is_refused(change, says) -> None:
    with pytest.raises(ValueError, match=says):
        recipe_from_dict(TABLES | change)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[model", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.toml"):
        load_recipe(path)
