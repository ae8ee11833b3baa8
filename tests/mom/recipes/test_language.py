"""Rows of packed conversations: whole documents, loss on the model's own tokens, learned from."""

from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.template import render_turn
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.recipes.corpus import Mix, make_sample
from sculptor.mom.recipes.data import Batches, iter_batches
from sculptor.mom.recipes.language import Language, Stage, iter_documents, language_from_dict
from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.recipe import load_recipe, recipe_from_dict
from sculptor.mom.recipes.tasks import draw, task_from_dict
from sculptor.mom.recipes.train import Trainer

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"
SHORT = {"tools": 0.0, "families": {"chat": 1, "updates": 1}, "chars": {100: 1}}
TASK = {"kind": "language", "length": 768, "stages": [SHORT]}


def _batch(**changes: object):
    return draw(task_from_dict(TASK | changes), seed=1, stream="train", index=0, examples=3)


def _documents(tokens: np.ndarray, cu: np.ndarray) -> list[list[int]]:
    return [tokens[a:b].tolist() for a, b in pairwise(cu)]


def test_rows_hold_whole_documents_of_the_corpus() -> None:
    batch = _batch()
    for row in range(3):
        seed = int(np.random.default_rng([1, 0, 0]).integers(2**62, size=row + 1)[-1])
        known = iter_documents(seed, mix=Mix(**SHORT), tokenizer=load_tokenizer())
        starts = np.flatnonzero(batch.starts[row])
        size = int(batch.real[row].sum())
        packed = _documents(batch.tokens[row], np.append(starts, size))
        wanted = [next(known).tokens.tolist() for _ in range(len(packed) + 8)]
        assert len(packed) >= 2
        assert packed == [document for document in wanted if document in packed][: len(packed)]
        assert not batch.real[row, size:].any()
        assert (batch.tokens[row, size:] == Protocol.PAD).all()


def test_loss_stands_on_what_the_model_wrote() -> None:
    tokenizer, mix = load_tokenizer(), Mix(**SHORT)
    documents = iter_documents(9, mix=mix, tokenizer=tokenizer)
    for index in range(4):
        for instance in make_sample(9, index, mix=mix).instances:
            document = next(documents)
            turns = [
                token
                for at in instance.trained
                for token in render_turn(instance.messages[at], tokenizer=tokenizer)
            ]
            assert document.tokens[document.trained].tolist() == turns
    batch = _batch()
    at = np.nonzero(batch.weights)
    ahead = (at[0], at[1] + 1)
    assert (batch.targets[at] == batch.tokens[ahead]).all()
    assert not batch.starts[ahead].any()
    assert batch.real[ahead].all()
    assert (batch.tokens == Protocol.ASSISTANT)[at].any()
    assert (batch.targets == Protocol.END)[at].any()


def test_a_batch_is_packed_with_its_padding_behind_the_last_document() -> None:
    batch = _batch()
    packed = Batches(task_from_dict(TASK), seed=1, stream="train", examples=3)[0]
    whole = packed.packed()
    assert whole.spare
    assert whole.cu_seqlens[-1] == batch.tokens.size
    assert whole.cu_seqlens[-2] == batch.real.sum()
    assert torch.equal(whole.valid, torch.arange(batch.tokens.size) < int(batch.real.sum()))
    documents = _documents(packed.tokens.numpy(), whole.cu_seqlens.numpy())[:-1]
    assert list(chain.from_iterable(documents)) == batch.tokens[batch.real].tolist()
    assert len(documents) == batch.starts.sum()
    assert all(document[0] == Protocol.BEGIN for document in documents)
    assert whole.max_seqlen == max(map(len, documents))
    assert packed.weights.sum() == batch.weights.sum()


def test_processes_share_the_rows_of_a_batch() -> None:
    task = task_from_dict(TASK)
    whole = Batches(task, seed=1, stream="train", examples=4)[0]
    parts = [
        Batches(task, seed=1, stream="train", examples=4, rank=rank, world=2)[0] for rank in (0, 1)
    ]
    documents = [
        _documents(batch.tokens.numpy(), batch.packed().cu_seqlens.numpy())[:-1]
        for batch in (whole, *parts)
    ]
    assert min(map(len, documents)) >= 2
    assert sorted(documents[1] + documents[2]) == sorted(documents[0])


def test_worker_processes_make_the_same_rows() -> None:
    batches = Batches(task_from_dict(TASK), seed=4, stream="train", examples=2)
    here = list(iter_batches(batches, first=0, end=2, workers=0))
    there = list(iter_batches(batches, first=0, end=2, workers=1))
    assert len(here) == len(there) == 2
    for one, two in zip(here, there, strict=True):
        assert torch.equal(one.tokens, two.tokens)
        assert torch.equal(one.cu_seqlens, two.cu_seqlens)


def test_stages_follow_the_step_and_evaluation_takes_the_last() -> None:
    tokenizer = load_tokenizer()
    chat = Mix(families={"chat": 1}, chars={100: 1}, tools=0.0)
    long = Mix(families={"needles": 1}, chars={900: 1}, tools=0.0)
    stages = (Stage(mix=chat, until=5), Stage(mix=long))
    task = Language(length=1024, stages=stages, tokenizer=tokenizer)

    def documents(**place: object) -> int:
        return int(draw(task, seed=0, examples=2, **place).starts.sum())

    early = documents(stream="train", index=4)
    late = documents(stream="train", index=5)
    assert early > 2 * late
    assert documents(stream="eval", index=0) < early


def test_more_tries_fill_a_row_further_with_the_same_documents() -> None:
    one, many = _batch(tries=1), _batch(tries=8)
    assert one.real.sum() < many.real.sum()
    for row in range(3):
        packed = int(one.real[row].sum())
        assert (one.tokens[row, :packed] == many.tokens[row, :packed]).all()
    with pytest.raises(ValueError, match="tries is 0"):
        _batch(tries=0)


def test_training_falls_to_a_small_set(tmp_path: Path) -> None:
    model = {
        "vocab_size": 4096, "d_model": 48, "layers": 2, "mlp_width": 64, "heads": 2, "key_dim": 8,
        "value_dim": 16, "memories": 2, "top_k": 1, "chunk": 16, "attention_layers": [1],
        "attention_heads": 2, "window": 64,
    }  # fmt: skip
    train = {
        "steps": 80, "batch": 1, "rate": 2e-2, "warmup": 5, "optimizer": "muon",
        "eval_every": 60, "eval_batches": 1, "schedule": "constant",
    }  # fmt: skip
    recipe = recipe_from_dict({"model": model, "task": TASK | {"length": 192}, "train": train})
    torch.set_default_dtype(torch.float32)
    trainer = Trainer(recipe, folder=tmp_path, place=Place(device=torch.device("cpu")))
    batch = Batches(trainer.task, seed=0, stream="train", examples=1)[0]
    losses = [float(trainer._one_step(batch)[0].cross_entropy.detach()) for _ in range(80)]
    assert losses[0] > 6
    assert losses[-1] < 0.5


def test_a_levelled_batch_is_the_same_work_in_a_fixed_shape() -> None:
    long = {"tools": 0.5, "families": {"updates": 1}, "chars": {900: 1}}
    task = task_from_dict(TASK | {"length": 2048, "stages": [long]})
    model = MomForCausalLM(MomConfig(
        vocab_size=4096, d_model=16, layers=2, mlp_width=16, heads=1, key_dim=16, value_dim=16,
        memories=2, top_k=1, attention_layers=(1,), attention_heads=1, window=32,
    ))  # fmt: skip
    told, shapes = [], []
    for index in range(2):
        batch = Batches(task, seed=3, stream="train", examples=2)[index]
        for form in (batch, batch.levelled()):
            parts = model.loss(
                form.packed(),
                targets=form.targets,
                weights=form.weights,
                asked=form.asked,
                balance_weight=0.1,
            )
            gradients = torch.autograd.grad(parts.total, list(model.parameters()))
            told.append([parts.total.detach(), *gradients])
        assert not batch.fits(form)
        idle = form.asked[len(batch.asked) :]
        assert len(idle.unique()) == len(idle) > 0
        assert not form.weights[idle].any()
        shapes.append([x.shape for x in form.tensors()])
        for one, two in zip(*told[-2:], strict=True):
            torch.testing.assert_close(one, two)
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "name", ["language_small", "language_b", *(f"language_b_{n}" for n in (2, 3, 4, 7))]
)
def test_shipped_recipes_can_be_read(name) -> None:
    recipe = load_recipe(RECIPES / f"{name}.toml")
    task = task_from_dict(recipe.task)
    assert task.vocab_size <= recipe.model.vocab_size
    assert recipe.train.save_every <= recipe.train.eval_every


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"length": 32}, "at least 64 tokens"),
        ({"colour": 1}, "not colour"),
        ({"stages": 3}, "a list of stages"),
        ({"stages": []}, "Every stage but the last"),
        ({"stages": [SHORT, SHORT]}, "Every stage but the last"),
        ({"stages": [SHORT | {"until": 5}, SHORT | {"until": 5}, SHORT]}, "after the one before"),
        ({"stages": [SHORT | {"size": 1}]}, "not size"),
        ({"stages": [SHORT | {"families": {"poems": 1}}]}, "No family is called"),
        ({"stages": ["chat"]}, "A stage is a table"),
    ],
)
def test_a_mistaken_task_is_refused(change, says) -> None:
    with pytest.raises(ValueError, match=says):
        language_from_dict({name: v for name, v in (TASK | change).items() if name != "kind"})
