"""The command line as a whole: help, errors, and what it costs to ask for help."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sculptor.cli.app import app
from sculptor.cli.console import Group
from sculptor.errors import SettingsError

pytestmark = pytest.mark.usefixtures("home")
runner = CliRunner()


def _commands(of: typer.Typer, *names: str) -> Iterator[tuple[str, ...]]:
    for command in of.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        yield (*names, name.replace("_", "-"))
    for group in of.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, *names, str(group.name))


@pytest.mark.parametrize("names", list(_commands(app)), ids=" ".join)
def test_every_command_has_help_with_an_example(names: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        shown = runner.invoke(app, [*names, flag])
        assert shown.exit_code == 0
        assert f"Example: sculptor {names[0]}" in " ".join(shown.stdout.split())


def test_the_commands_of_the_design_are_there() -> None:
    shown = runner.invoke(app, ["--help"]).stdout
    for name in ("serve", "demo", "doctor", "wrap", "sessions", "eval", "mom", "version"):
        assert f" {name} " in shown


def test_asking_for_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, sculptor.cli.app; heavy = {'fastapi', 'pydantic', 'aiohttp', 'httpx', 'numpy',"
        " 'openai', 'uvicorn', 'tiktoken', 'rich', 'torch', 'structlog', 'sqlite3'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    facts = json.loads(runner.invoke(app, ["version", "--json"]).stdout)
    assert set(facts) == {"sculptor", "python", "sqlite"}
    assert facts["sculptor"] in runner.invoke(app, ["version"]).stdout
    assert runner.invoke(app, ["--version"]).stdout == f"sculptor {facts['sculptor']}\n"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (SettingsError("Set the port."), 1, "Error: Set the port.\n"),
        (PermissionError(13, "Permission denied", "x.db"), 1, "Error: [Errno 13]"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_end_in_one_line(error: BaseException, status: int, words: str) -> None:
    made = typer.Typer(cls=Group, callback=lambda: None)

    @made.command()
    def fail() -> None:
        raise error

    done = runner.invoke(made, ["fail"])
    assert done.exit_code == status
    assert done.stderr.startswith(words)
    assert done.stderr.count("\n") == (1 if words else 0)
    assert done.stdout == ""


def test_what_we_did_wrong_keeps_its_traceback() -> None:
    made = typer.Typer(cls=Group, callback=lambda: None)

    @made.command()
    def fail() -> None:
        raise ZeroDivisionError

    assert isinstance(runner.invoke(made, ["fail"]).exception, ZeroDivisionError)


def test_a_reader_that_has_enough_is_no_error(home: Path) -> None:
    script = home / "many.py"
    script.write_text(
        "import typer\n"
        "from sculptor.cli.console import Group, print_json\n"
        "app = typer.Typer(cls=Group, callback=lambda: None)\n"
        "@app.command()\n"
        "def many() -> None:\n"
        "    for n in range(200_000): print_json(n)\n"
        "app()\n"
    )
    line = f"{sys.executable} {script} many | head -n 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
