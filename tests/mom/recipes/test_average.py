"""The mean of weight sets: its numbers, how it is stored and served, and what is refused."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sculptor.mom.engine.weights import Dtype, export_weights, load_weights
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.server.mom.loading import describe_model, load_model
from tests.mom.helpers import MODEL

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"
CONFIG = replace(MODEL, vocab_size=load_tokenizer().vocab_size)
Average = Callable[..., None]


@pytest.fixture
def average(monkeypatch: pytest.MonkeyPatch) -> Average:
    monkeypatch.syspath_prepend(str(RECIPES))

    def run(*words: object) -> None:
        from average import main

        monkeypatch.setattr(sys, "argv", ["average.py", *map(str, words)])
        main()

    yield run
    sys.modules.pop("average", None)


def write_part(folder: Path, *, seed: int, dtype: Dtype = "float32", config=CONFIG) -> Path:
    torch.manual_seed(seed)
    tensors = {n: t.numpy() for n, t in MomForCausalLM(config).float().state_dict().items()}
    export_weights(folder, config, tensors, dtype=dtype)
    describe_model(folder, tokenizer=load_tokenizer(), name=f"part-{seed}", window_tokens=2_048)
    return folder


@pytest.mark.parametrize(("dtype", "step"), [("float16", 2**-11), ("int8", 0.5 / 127)])
def test_every_tensor_is_the_mean_by_shares(average, tmp_path: Path, dtype, step) -> None:
    shares = (0.25, 0.25, 0.5)
    parts = [write_part(tmp_path / str(seed), seed=seed) for seed in range(3)]
    told = [f"{share}={part}" for share, part in zip(shares, parts, strict=True)]
    average(tmp_path / "mean", *told, "--dtype", dtype)
    loaded, mean = [load_weights(part) for part in parts], load_weights(tmp_path / "mean")
    assert (mean.config, mean.dtype) == (CONFIG, dtype)
    assert sorted(mean.names()) == sorted(loaded[0].names())
    quantised = 0
    for name in mean.names():
        pairs = zip(shares, loaded, strict=True)
        wanted = sum(share * part.tensor(name).astype(np.float64) for share, part in pairs)
        error = np.abs(mean.tensor(name) - wanted)
        if mean.parts(name)[0].dtype == np.float32:
            assert (error <= 1e-6 * np.abs(wanted) + 1e-7).all(), name
        else:
            quantised += 1
            assert error.max() <= 1.01 * step * np.abs(wanted).max(), name
        differs = [bool((part.tensor(name) != mean.tensor(name)).any()) for part in loaded]
        assert all(differs) or "norm" in name, name
    assert quantised > 10


def test_int8_is_written_where_nothing_is_said(average, tmp_path: Path) -> None:
    part = write_part(tmp_path / "part", seed=1)
    average(tmp_path / "mean", f"1={part}")
    assert load_weights(tmp_path / "mean").dtype == "int8"


def test_the_mean_of_one_is_itself(average, tmp_path: Path) -> None:
    """Int8 weights are read, averaged and rounded again to the very same steps."""
    part = write_part(tmp_path / "part", seed=2, dtype="int8")
    average(tmp_path / "mean", f"0.5={part}", f"0.5={part}")
    own, mean = load_weights(part).stored, load_weights(tmp_path / "mean").stored
    assert own.keys() == mean.keys()
    for name, array in own.items():
        same = np.array_equal if array.dtype == np.int8 else np.allclose
        assert same(array, mean[name]), name


def test_the_mean_is_served_as_its_first_part(average, tmp_path: Path) -> None:
    parts = [write_part(tmp_path / str(seed), seed=seed) for seed in (3, 4)]
    average(tmp_path / "mean", *(f"0.5={part}" for part in parts))
    model = load_model(tmp_path / "mean")
    assert (model.name, model.window_tokens) == ("part-3", 2_048)
    assert model.tokenizer.to_json() == load_tokenizer().to_json()


def test_what_makes_no_mean_is_refused(average, tmp_path: Path, capsys) -> None:
    part = write_part(tmp_path / "part", seed=5)
    other = write_part(tmp_path / "other", seed=5, config=replace(CONFIG, mlp_width=8))
    out = tmp_path / "mean"
    cases = {
        (f"0.5={part}", f"0.6={part}"): "the shares sum to 1.1, not to 1",
        (f"0.5={part}", f"0.5={other}"): "the folders hold models of different shapes",
        (f"0.5={part}", f"0.5={tmp_path}"): "holds no model: config.json is missing",
        (str(part),): "invalid _part value",
        (f"1={part}", "--dtype", "int4"): "invalid choice: 'int4'",
    }
    for words, says in cases.items():
        with pytest.raises(SystemExit):
            average(out, *words)
        assert says in capsys.readouterr().err
    assert not out.exists()
