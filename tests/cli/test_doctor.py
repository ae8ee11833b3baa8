"""``sculptor doctor``: it finds out by doing, and says what to do."""

import json
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sculptor.cli.app import app
from sculptor.cli.checks import check_edit, check_store, check_upstream
from sculptor.errors import SettingsError
from sculptor.server.app import make_backend
from sculptor.server.settings import Settings, load_settings
from sculptor.store import SqliteStore
from tests.cli.providers import provider
from tests.server.managing import managed

pytestmark = pytest.mark.usefixtures("home")
runner = CliRunner()


@pytest.fixture(autouse=True)
def _free_port(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("SCULPTOR_PORT", str(listener.getsockname()[1]))


def diagnose(*words: str) -> tuple[int, dict[str, Any]]:
    done = runner.invoke(app, ["doctor", "--json", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout)


def test_all_is_well_on_a_fresh_machine(home: Path) -> None:
    code, told = diagnose()
    assert (code, told["ok"]) == (0, True)
    assert [check["name"] for check in told["checks"]] == [
        "tokenizer",
        "address",
        "store",
        "upstream",
        "edit",
    ]
    assert "it was the original again" in told["checks"][-1]["told"]
    origins = {row["name"]: row["from"] for row in told["settings"]}
    assert origins["port"] == "environment"
    assert origins["store"] == "default"
    assert set(origins) == set(Settings.model_fields)


def test_it_reads_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "sculptor.toml").write_text('[keys]\nann = "key-of-ann"\n')
    shown = runner.invoke(app, ["doctor", "--toolset", "paper"])
    assert shown.exit_code == 0, shown.output
    assert "key-of-ann" not in shown.output
    lines = {line.split()[0]: line.split()[1:] for line in shown.stdout.splitlines() if line}
    assert lines["keys"] == ["ann", "sculptor.toml"]
    assert lines["toolset"] == ["paper", "flag"]
    assert shown.stdout.count("\nok ") == 5


def test_settings_that_contradict_themselves_are_one_line(home: Path) -> None:
    done = runner.invoke(app, ["doctor", "--host", "0.0.0.0"])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: The settings cannot be used: binding 0.0.0.0 needs")
    (home / "sculptor.toml").write_text("port = [")
    done = runner.invoke(app, ["doctor"])
    assert "sculptor.toml cannot be read" in done.stderr


def test_a_bad_store_is_found_with_its_mend(home: Path) -> None:
    text = home / "notes.txt"
    text.write_text("no database " * 200)
    code, told = diagnose("--store", str(text))
    store = next(check for check in told["checks"] if check["name"] == "store")
    assert (code, store["ok"]) == (1, False)
    assert str(text) in store["told"]
    assert "--store" in store["fix"]
    shown = runner.invoke(app, ["doctor", "--store", str(text)])
    assert shown.exit_code == 1
    assert "FAIL" in shown.stdout


def test_a_damaged_store_is_found(home: Path) -> None:
    file = home / "store.sqlite3"
    with managed(SqliteStore(file)) as server:
        server.chat({"role": "user", "content": "The original words"})
    with sqlite3.connect(file) as connection:
        table = "SELECT name FROM sqlite_master WHERE name LIKE 'message%' AND type = 'table'"
        name = connection.execute(table).fetchone()[0]
        changed = connection.execute(
            f"UPDATE {name} SET wire = ? WHERE rowid = (SELECT min(rowid) FROM {name})",
            (b'{"role":"user","content":"forged"}',),
        )
        assert changed.rowcount == 1
    connection.close()
    finding = check_store(Settings(store=str(file)))
    assert not finding.is_well
    assert "is damaged" in finding.told


def test_a_store_in_use(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / "store.sqlite3"
    with managed(file=file) as server:
        held = check_store(Settings(store=str(file), port=1))
        assert not held.is_well
        port = server.client.base_url.port or 0
        assert check_store(Settings(store=str(file), port=port)).is_well
        code, told = diagnose("--store", str(file), "--port", str(port))
        assert code == 0
        address = next(check for check in told["checks"] if check["name"] == "address")
        assert address["told"] == f"a server runs at http://127.0.0.1:{port}"


def test_an_address_that_is_taken(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, told = diagnose("--port", str(taken.getsockname()[1]))
    address = next(check for check in told["checks"] if check["name"] == "address")
    assert (code, address["ok"]) == (1, False)
    assert "--port" in address["fix"]


@pytest.mark.parametrize(
    ("status", "body", "is_well", "words"),
    [
        (200, {"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, True, "(2 models)"),
        (404, {"error": {"message": "no such path"}}, True, "lists no models"),
        (404, "<html>nothing</html>", False, "ends in /v1"),
        (200, "<html>welcome</html>", False, "ends in /v1"),
        (401, {"error": {"message": "bad key"}}, False, "Put a valid key into TEST_KEY"),
        (503, {"error": {"message": "later"}}, False, "answers 503"),
    ],
)
def test_an_upstream_is_asked(
    monkeypatch: pytest.MonkeyPatch, status: int, body: object, is_well: bool, words: str
) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-of-the-provider")
    with provider(status, body) as (url, requests):
        settings, _ = load_settings({"upstream": url, "upstream_key_env": "TEST_KEY"})
        finding = check_upstream(settings)
    assert finding.is_well is is_well
    assert words in f"{finding.told} {finding.fix}"
    assert "sk-of-the-provider" not in f"{finding.told} {finding.fix}"
    assert requests == [("GET", "/v1/models", "Bearer sk-of-the-provider")]


def test_an_upstream_that_wants_a_key_and_gets_the_clients(home: Path) -> None:
    with provider(401, {"error": {"message": "no key"}}) as (url, requests):
        relayed = check_upstream(Settings(upstream=url))
        alone = check_upstream(Settings(upstream=url, relay_client_key=False))
    assert relayed.is_well
    assert "each client's own is passed on" in relayed.told
    assert "--upstream-key-env" in alone.fix
    assert [key for _, _, key in requests] == ["", ""]


def test_a_backend_that_cannot_be_had_is_told_as_serve_would(home: Path) -> None:
    for name in ("scripted", "mom"):
        settings = Settings.model_validate({"backend": name, "store": "memory"})
        finding = check_upstream(settings)
        assert finding.fix == _refusal(settings)


def test_an_upstream_that_is_not_there(home: Path) -> None:
    finding = check_upstream(Settings(upstream="http://127.0.0.1:1/v1"))
    assert not finding.is_well
    assert "http://127.0.0.1:1/v1" in finding.fix
    settings = Settings(upstream="http://127.0.0.1:1/v1", upstream_key_env="NO_SUCH_KEY")
    assert "NO_SUCH_KEY is not set" in check_upstream(settings).fix


@pytest.mark.parametrize("toolset", ["full", "paper"])
def test_the_edit_is_tried_with_the_tools_in_force(home: Path, toolset: Any) -> None:
    assert check_edit(Settings(toolset=toolset)).is_well
    assert list(home.iterdir()) == []


def _refusal(settings: Settings) -> str:
    try:
        make_backend(settings)
    except SettingsError as error:
        return str(error)
    return ""
