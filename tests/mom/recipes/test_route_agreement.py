"""Route agreement: counted by hand on three queries, and end to end on a tiny run."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.recipe import recipe_from_dict
from sculptor.mom.recipes.train import Trainer

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"


@pytest.fixture
def recipe_module(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import route_agreement

    yield route_agreement
    del sys.modules["route_agreement"]


def _tiny(**model):
    shape = {"vocab_size": 13, "d_model": 8, "layers": 2, "mlp_width": 8}
    widths = {"heads": 1, "key_dim": 4, "value_dim": 4}
    return recipe_from_dict({
        "model": shape | widths | model,
        "task": {"kind": "mqar", "pairs": 2, "length": 6, "vocab_size": 13},
        "train": {"steps": 2, "batch": 4, "rate": 1e-3},
    })  # fmt: skip


def test_agreement_of_three_queries_counted_by_hand(recipe_module) -> None:
    # Three memories. Pair 0 went to memory 0, pair 1 to memories 1 and 2, in every sequence.
    written = torch.tensor([[[1, 0, 0], [0, 1, 1]]] * 3).bool()
    read = torch.tensor([[0.75, 0.25, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    own = torch.tensor([0, 1, 0])
    right = torch.tensor([True, False, False])
    found = recipe_module.agree(
        recipe_module.Reads(read=read, written=written, own=own, right=right), layer=1
    )
    assert found.layer == 1
    assert found.queries == 3
    assert found.together == pytest.approx(2 / 3, abs=1e-4)  # the third reads where pair 0 is not
    assert found.by_chance == pytest.approx(2 / 3, abs=1e-4)  # the first and the third meet pair 1
    assert found.weight == pytest.approx((0.75 + 1 + 0) / 3, abs=1e-4)
    assert found.weight_by_chance == pytest.approx((0.25 + 0 + 1) / 3, abs=1e-4)
    assert found.right_together == 0.5
    assert found.right_apart == 0.0
    low, high = found.together_interval
    assert low < found.together < high


@pytest.mark.parametrize("read", ["routed", "dense", "keyed"])
def test_pairs_are_found_in_the_batch(recipe_module, tmp_path: Path, read: str) -> None:
    recipe = _tiny(memories=3, top_k=1, read=read)
    model = Trainer(recipe, folder=tmp_path, place=Place(device=torch.device("cpu"))).model
    for questions in recipe_module.ask(recipe, batches=2):
        flat = questions.tokens.flatten()
        own = questions.values.gather(1, questions.own.unsqueeze(1)).squeeze(1)
        assert torch.equal(flat[own - 1], flat[questions.asked])
        assert torch.equal(flat[own], questions.targets)
        right, routes = recipe_module.answer(model, questions)
        assert len(routes) == 2
        for route in routes:
            reads = recipe_module.reads_of(route, questions, right=right, dense=read == "dense")
            assert reads.written.shape == (8, 2, 3)
            assert (reads.written.sum(-1) == 1).all()
            assert reads.read.sum(-1).tolist() == pytest.approx([1.0] * 8)
            if read == "dense":
                assert recipe_module.agree(reads, layer=0).together == 1.0
            for picked in recipe_module.picks_by_kind(route, questions).values():
                assert float(picked.sum()) == pytest.approx(1.0)


def test_queries_are_redirected_and_no_other_token(recipe_module) -> None:
    # One sequence: key, value, key, value, query of pair 1, query of pair 0.
    questions = recipe_module.Questions(
        tokens=torch.zeros(1, 6, dtype=torch.int64),
        asked=torch.tensor([4, 5]),
        values=torch.tensor([[1, 3], [1, 3]]),
        own=torch.tensor([1, 0]),
        targets=torch.zeros(2, dtype=torch.int64),
    )
    probabilities = torch.tensor([[0.2, 0.5, 0.3]] * 6)
    probabilities[1], probabilities[3] = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    index = probabilities.argmax(1, keepdim=True)
    route = recipe_module.Route(probabilities=probabilities, index=index, weights=torch.ones(6, 1))
    for how, picks in (("own", [2, 0]), ("other", [0, 2]), ("apart", [1, 1])):
        sent = recipe_module.redirect(route, questions, how)
        assert sent.index.flatten().tolist() == [1, 0, 1, 2, *picks]
        assert sent.weights.flatten().tolist() == [1.0] * 6
        assert sent.probabilities[4].tolist() == [float(m == picks[0]) for m in range(3)]
        assert torch.equal(sent.probabilities[:4], probabilities[:4])
        assert sent.reads is None
        keyed = recipe_module.redirect(replace(route, reads=probabilities), questions, how)
        assert keyed.reads[4:].argmax(1).tolist() == picks
        assert torch.equal(keyed.reads[:4], probabilities[:4])


def test_a_finished_run_is_read_from_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "mom-0.001-0"
    Trainer(_tiny(memories=2, top_k=1), folder=run, place=Place(device=torch.device("cpu"))).run()
    out = tmp_path / "out.json"
    command = [sys.executable, str(RECIPES / "route_agreement.py"), str(run), "--out", str(out)]
    subprocess.run([*command, "--batches", "1"], check=True, timeout=60)
    (row,) = json.loads(out.read_text())
    assert (row["run"], row["step"], row["queries"]) == ("mom-0.001-0", 2, 8)
    assert set(row["silenced"]) == {"routed", "shared"}
    assert set(row["redirected"]) == {"own", "other", "apart"}
    assert [layer["layer"] for layer in row["layers"]] == [0, 1]
    assert set(row["layers"][0]["picked"]) == {"keys", "values", "queries"}
