import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sculptor.cli.mom import app

RECIPE = """
[model]
vocab_size = 13
d_model = 8
layers = 2
mlp_width = 8
heads = 1
key_dim = 4
value_dim = 4
attention_layers = [1]
attention_heads = 2
window = 4
[task]
kind = "overwrite"
keys = 2
updates = 3
vocab_size = 13
[train]
steps = 3
batch = 4
rate = 1e-3
eval_every = 1
"""
PLAN = (
    "rates = [1e-3]\nseeds = [0]\n" + RECIPE + "[arms.mom]\n[arms.one]\nmemories = 1\ntop_k = 1\n"
)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


def _json(*arguments: str) -> dict:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_info_counts_weights_and_state(recipe: str) -> None:
    told = _json("info", recipe)
    assert told["parameters"] > told["active_parameters"] > 0
    assert told["attention_layers"] == [1]
    plain = CliRunner().invoke(app, ["info", recipe])
    assert f"state bytes: {told['state_bytes']}" in plain.output


def test_bench_shows_a_state_that_does_not_grow(recipe: str) -> None:
    told = _json("bench", recipe, "--length", "40", "--runs", "1", "--threads", "1")
    first, last = told["lengths"]
    assert (first["tokens"], last["tokens"]) == (1, 40)
    assert first["state_bytes"] == last["state_bytes"]
    assert told["decode_tokens_per_s"] > 0


def test_train_stops_resumes_and_refuses_another_recipe(recipe: str, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert _json("train", recipe, "--out", out, "--until", "1")["step"] == 1
    told = _json("train", recipe, "--out", out)
    assert told["step"] == 3
    assert told["score"]["asked"] == 4 * 4 * 2
    Path(recipe).write_text(RECIPE.replace("1e-3", "2e-3"), encoding="utf-8")
    refused = CliRunner().invoke(app, ["train", recipe, "--out", out])
    assert refused.exit_code == 1
    assert "another recipe" in refused.output


def test_recall_runs_a_plan(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN, encoding="utf-8")
    told = _json("recall", str(plan), "--out", str(tmp_path / "study"))
    assert [row["arm"] for row in told["arms"]] == ["mom", "one"]
    plain = CliRunner().invoke(app, ["recall", str(plan), "--out", str(tmp_path / "study")])
    assert "one: 0." in plain.output


def test_every_command_has_an_example_and_clear_errors(tmp_path: Path) -> None:
    for command in ("info", "bench", "train", "recall"):
        assert "Example" in CliRunner().invoke(app, [command, "--help"]).output
    bad = tmp_path / "bad.toml"
    bad.write_text("[model]\n", encoding="utf-8")
    for command in (["info"], ["bench"], ["train", "--out", "x"], ["recall", "--out", "x"]):
        done = CliRunner().invoke(app, [command[0], str(bad), *command[1:]])
        assert done.exit_code == 1
        assert "bad.toml" in done.output


def test_the_command_is_imported_without_torch() -> None:
    code = "import sys, sculptor.cli.mom; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
