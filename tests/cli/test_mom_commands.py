import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from sculptor.cli.app import app
from sculptor.cli.checks import check_upstream
from sculptor.cli.demo import run_demo
from sculptor.mom.recipes.place import Place
from sculptor.mom.recipes.recipe import recipe_from_dict
from sculptor.mom.recipes.train import Trainer
from sculptor.server.mom import places
from sculptor.server.settings import Settings
from tests.cli.processes import serving
from tests.mom.helpers import MODEL
from tests.server.mom.builders import NAME, write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def _shipped_by_setting(home: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCULPTOR_MOM_WEIGHTS", str(weights))


def run(*words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(app, ["mom", *words], input=input)


def told(*words: str, input: str | None = None) -> dict[str, Any]:
    done = run(*words, "--json", input=input)
    assert done.exit_code == 0, done.output
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def test_generate_answers_one_prompt(weights: Path) -> None:
    answer = told("generate", "--prompt", "Which door?", "--max-tokens", "12")
    assert answer["model"] == NAME
    assert answer["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 12
    again = told("generate", "--prompt", "-", "--max-tokens", "12", input="Which door?")
    assert again["text"] == answer["text"]
    plain = run("generate", "--prompt", "Which door?", "--max-tokens", "12")
    assert plain.exit_code == 0
    assert answer["text"].split()[0] in plain.stdout
    other = told(
        "generate", "--prompt", "Which door?", "--system", "Be brief.", "--max-tokens", "12"
    )
    assert other["usage"]["prompt_tokens"] > answer["usage"]["prompt_tokens"]
    drawn = [
        told("generate", "--prompt", "x", "--temperature", "2", "--seed", seed, "--max-tokens", "9")
        for seed in ("1", "1", "2")
    ]
    assert drawn[0]["text"] == drawn[1]["text"] != drawn[2]["text"]
    cut = told("generate", "--prompt", "Which door?", "--stop", answer["text"][8:11])
    assert answer["text"].startswith(cut["text"])
    assert cut["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--prompt", "\udcff"], "not UTF-8"),
        (["--prompt", "x", "--system", "\udcff"], "not UTF-8"),
        (["--prompt", "x", "--stop", "\udcff"], "not UTF-8"),
        (["--prompt", "x", "--seed", "9" * 20], "less than or equal"),
    ],
)
def test_generate_tells_what_cannot_be_sent(words: list[str], told: str) -> None:
    done = run("generate", *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_chat_remembers_until_told_to_begin_anew() -> None:
    lines = ["One door.", "", "One door.", "/new", "One door.", "/quit", "never read"]
    done = run("chat", "--max-tokens", "8", input="\n".join(lines))
    assert done.exit_code == 0, done.output
    shown = done.stdout.split("> ")
    answers = [piece.strip() for piece in shown if piece.strip()]
    assert answers[0] == answers[2] != answers[1]
    assert len(answers) == 3


def test_chat_ends_with_its_input() -> None:
    assert run("chat", input="").exit_code == 0


def test_the_demo_shows_the_shipped_model(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SHIPPED", weights)
    found = run_demo(updates=12)
    assert (found.model, found.note) == (NAME, "")
    assert found.arms[0].steps == 1
    assert all(arm.first_tokens > 4_096 for arm in found.arms)


def test_serve_takes_the_weights_and_stops_when_told(home: Path) -> None:
    with serving(home, "--store", "memory", SCULPTOR_PORT="0") as (process, told):
        assert told["backend"] == "mom"
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
        answer = httpx.post(f"{told['base_url']}/chat/completions", json=body, timeout=60)
        assert answer.json()["model"] == NAME
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)


def test_doctor_finds_the_model_well(weights: Path) -> None:
    finding = check_upstream(Settings(mom_weights=str(weights)))
    assert finding.is_well
    assert "the mom backend answers" in finding.told


def test_eval_runs_a_task_through_a_server_of_its_own(home: Path) -> None:
    command = ("eval", "pi-llm-sculptor", "--limit", "2", "--max-tokens", "8", "--out", "here")
    result = told(*command)
    assert set(result["arms"]) == {"plain", "sculptor"}
    plan = json.loads((home / "here" / "plan.json").read_text())
    assert plan["model"].startswith(f"{NAME}-mom_")
    again = run(*command)
    assert again.exit_code == 0, again.output
    assert "sculptor eval report" in again.stdout


def test_export_makes_a_folder_that_is_served(tmp_path: Path, weights: Path) -> None:
    shape = MODEL.to_dict() | {"vocab_size": 4096}
    recipe = recipe_from_dict(
        {
            "model": shape,
            "task": {"kind": "overwrite", "keys": 4, "updates": 4, "vocab_size": 19},
            "train": {"steps": 1, "batch": 2, "rate": 1e-3},
        }
    )
    Trainer(recipe, folder=tmp_path / "run", place=Place(device=torch.device("cpu"))).run()
    made = told("export", str(tmp_path / "run"), str(tmp_path / "w"), "--window-tokens", "2048")
    about = json.loads((tmp_path / "w" / "config.json").read_text())
    assert about["serving"] == {"name": "sculptor-mom", "window_tokens": 2048}
    assert made["fingerprint"].startswith("mom_")
    answer = told(
        "generate", "--prompt", "x", "--weights", str(tmp_path / "w"), "--max-tokens", "3"
    )
    assert answer["model"] == "sculptor-mom"
    plain = run("export", str(tmp_path / "run"), str(tmp_path / "w"), "--dtype", "float32")
    assert "bytes" in plain.stdout


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("generate", "--prompt", "x", "--weights", "nowhere"), "nowhere holds no model"),
        (("chat", "--weights", "nowhere"), "sculptor mom export"),
        (("eval", "no-such-task"), "no-such-task"),
        (("eval", "pi-llm", "--weights", "nowhere"), "SCULPTOR_MOM_WEIGHTS"),
        (("export", "nowhere", "there"), "name the folder of a training run"),
    ],
)
def test_errors_are_one_line(words: tuple[str, ...], problem: str) -> None:
    done = run(*words)
    assert done.exit_code == 1
    assert problem in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["generate", "chat", "eval", "export"])
def test_every_command_has_an_example(command: str) -> None:
    done = run(command, "--help")
    assert f"sculptor mom {command}" in done.stdout
    assert "Example" in done.stdout


def test_info_tells_of_the_weights_that_would_be_served_or_are_named(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told("info")["name"] == NAME
    monkeypatch.delenv("SCULPTOR_MOM_WEIGHTS")
    shipped = told("info")
    assert (shipped["name"], shipped["window_tokens"]) == ("sculptor-mom", 16_384)
    assert shipped["state_bytes"] == 9_268_240
    assert told("info", str(weights))["parameters"] < shipped["parameters"]
    empty = run("info", str(weights.parent))
    assert empty.exit_code == 1
    assert "holds no model" in empty.output
