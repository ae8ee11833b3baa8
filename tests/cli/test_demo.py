"""``sculptor demo``: real requests to a real server, and figures told as they are."""

import json
import re
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog
import typer
from rich.console import Console
from typer.testing import CliRunner

from sculptor.cli.console import CommandError, Group
from sculptor.cli.demo import PLAIN_WORDS, Arm, Demo, demo, print_demo, run_demo, shorten
from sculptor.errors import SettingsError
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings
from tests.server.stub_upstream import StubUpstream, say

app = typer.Typer(cls=Group)
app.command()(demo)
app.callback()(lambda: None)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    values = {"port": 0, "store": "memory", "drain_seconds": 1, "backend": "scripted"}
    url, stop = serve_in_thread(Settings.model_validate(values))
    yield url
    stop()


@pytest.fixture(scope="module")
def found(server: str) -> Demo:
    told: list[str] = []
    result = run_demo(server, progress=told.append)
    assert told == ["drawing a stream", "answering without the tools", "answering with the tools"]
    return result


def test_the_shipped_model_is_shown_where_no_server_is_named() -> None:
    told: list[str] = []
    result = run_demo(updates=2, progress=told.append)
    assert told[:2] == ["drawing a stream", "starting a server"]
    plain, managed = result.arms
    assert (result.model, result.note) == ("sculptor-mom", "")
    assert managed.steps > plain.steps == 1
    assert managed.accuracy > 0.9


def test_both_arms_are_right_and_one_is_short(found: Demo) -> None:
    plain, managed = found.arms
    assert (plain.accuracy, managed.accuracy) == (1.0, 1.0)
    assert plain.steps == 1
    assert 2 <= managed.steps <= 3
    assert plain.first_tokens == plain.last_tokens > 15_000
    assert managed.last_tokens < managed.first_tokens / 4
    assert found.view.count(" folded · ") >= 5
    assert found.model == "scripted"


def test_the_weights_that_the_settings_name_are_taken(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SCULPTOR_MOM_WEIGHTS", str(tmp_path))
    with pytest.raises(SettingsError, match="holds no model"):
        run_demo()


def test_what_is_printed_says_what_it_does_not_show(found: Demo) -> None:
    out = StringIO()
    print_demo(found, Console(width=100, file=out))
    text = out.getvalue()
    for arm in found.arms:
        assert f"{arm.last_tokens:,}" in text
    assert "accuracy" in text
    assert re.search(r"⟦f[0-9a-f]{5} folded · 1\d{3} tokens⟧", text)
    assert " ".join(PLAIN_WORDS.split()) in " ".join(text.split())
    assert len(text.splitlines()) < 50


def test_a_language_model_s_figures_stand_alone() -> None:
    arm = Arm(name="a", first_tokens=1, last_tokens=1, steps=1, seconds=0.0, accuracy=0.5)
    assert Demo(model="gpt-5", updates=64, arms=(arm,), view="").note == ""
    assert Demo(model="scripted", updates=64, arms=(arm,), view="").note == PLAIN_WORDS


def test_a_view_is_shortened_between_its_markers() -> None:
    marker = "⟦f0a1b2 folded · 90 tokens⟧"
    view = f"{'a' * 200}{'b' * 300}{marker}{marker}bird: emu; "
    assert shorten(view) == (
        f"{'a' * 150} … 200 characters … {'b' * 150}\n{marker}\n{marker}\nbird: emu;"
    )
    assert shorten("short") == "short"


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_a_running_server_is_used(server: str, path: str) -> None:
    result = run_demo(server + path, updates=8, seed=1)
    assert [arm.accuracy for arm in result.arms] == [1.0, 1.0]


def test_a_model_of_the_server_can_be_named(server: str) -> None:
    result = run_demo(server, model="scripted-paper", updates=8)
    plain, managed = result.arms
    assert result.model == "scripted-paper"
    assert plain.accuracy == 1.0
    assert managed.steps == 2


def test_the_command_prints_json(server: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--base-url", server, "--updates", "4", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [arm["name"] for arm in told["arms"]] == ["without tools", "with tools"]
    assert told["note"] == PLAIN_WORDS


def test_the_command_prints_a_table(server: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--base-url", server, "--updates", "16"])
    assert result.exit_code == 0, result.output
    assert "with tools" in result.stdout
    assert "not from a language model" in result.stdout


def test_a_server_that_is_not_there_is_one_clear_line() -> None:
    result = CliRunner().invoke(app, ["demo", "--base-url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "nothing answers at http://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_that_refuses_is_one_clear_line(server: str) -> None:
    with pytest.raises(CommandError, match="answered 404"):
        run_demo(server + "/elsewhere")


def test_a_server_that_is_not_sculptor_is_told_apart() -> None:
    with StubUpstream() as other:
        other.answers += [say("I do not know.")] * 2
        with pytest.raises(CommandError, match="offered no tools"):
            run_demo(other.url, model="any", updates=4)
