"""``sculptor wrap``: the command finds a server by its environment, and its end is ours."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from sculptor.cli.app import app
from sculptor.cli.wrap import client_environment, run_command
from sculptor.server.settings import Settings
from tests.cli.processes import COMMAND
from tests.server.managing import managed

pytestmark = pytest.mark.usefixtures("home")
runner = CliRunner()

ASK = """
import os, sys
from openai import OpenAI
reply = OpenAI().chat.completions.create(model="x", messages=[{"role": "user", "content": "Hi"}])
print(reply.model, os.environ["OPENAI_API_BASE"] == os.environ["OPENAI_BASE_URL"])
sys.exit(7)
"""


def test_a_client_inside_reaches_the_server_and_its_status_is_ours(home: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "wrap", "--store", "memory", "--", sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    assert done.stdout == "sculptor-mom True\n"
    assert done.stderr.startswith("sculptor: serving mom at http://127.0.0.1:")
    assert done.stderr.count("\n") == 1
    assert not (home / "state").exists()


def test_a_server_that_runs_is_used(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    out = home / "base_url"
    with managed() as server:
        port = str(server.client.base_url.port)
        monkeypatch.setenv("SCULPTOR_PORT", port)
        line = f'echo "$OPENAI_BASE_URL $OPENAI_API_KEY" > {out}'
        done = runner.invoke(app, ["wrap", "--", "sh", "-c", line])
        assert done.exit_code == 0, done.output
        assert done.stderr == f"sculptor: using the server at http://127.0.0.1:{port}\n"
        assert out.read_text() == f"http://127.0.0.1:{port}/v1 sculptor\n"
        flagged = ["wrap", "--store", "memory", "--", "sh", "-c", line]
        assert runner.invoke(app, flagged).exit_code == 0
        assert urlsplit(out.read_text().split()[0]).port not in (None, int(port))


def test_flags_of_the_command_are_its_own() -> None:
    code = "import sys; sys.exit(0 if sys.argv[1:] == ['--store', '-x', '--json'] else 3)"
    words = ["wrap", "--store", "memory", sys.executable, "-c", code, "--store", "-x", "--json"]
    assert runner.invoke(app, words).exit_code == 0


def test_what_cannot_be_run_is_told_as_shells_do(home: Path) -> None:
    words = ["wrap", "--store", "memory", "--"]
    missing = runner.invoke(app, [*words, "no-such-command"])
    assert missing.exit_code == 127
    assert "there is no command 'no-such-command'" in missing.stderr
    plain = home / "plain.txt"
    plain.write_text("text")
    refused = runner.invoke(app, [*words, str(plain)])
    assert refused.exit_code == 126
    assert "cannot be run" in refused.stderr


def test_keys_are_such_as_the_server_takes() -> None:
    def key(environment: dict[str, str], **settings: object) -> str:
        made = Settings.model_validate(settings)
        return client_environment(made, "http://h", environment)["OPENAI_API_KEY"]

    assert key({}) == "sculptor"
    assert key({"OPENAI_API_KEY": "mine"}) == "mine"
    keys = {"ann": "sha256:" + "0" * 64, "bob": "key-of-bob", "eve": "key-of-eve"}
    assert key({}, keys=keys) == "key-of-bob"
    assert key({"OPENAI_API_KEY": "another"}, keys=keys) == "key-of-bob"
    assert key({"OPENAI_API_KEY": "key-of-eve"}, keys=keys) == "key-of-eve"
    kept = client_environment(Settings(), "http://h", {"HOME": "/home/x"})
    assert kept["HOME"] == "/home/x"
    assert kept["OPENAI_BASE_URL"] == kept["OPENAI_API_BASE"] == "http://h/v1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_reach_the_command(home: Path, number: signal.Signals) -> None:
    ready, caught = home / "ready", home / "caught"
    code = (
        "import pathlib, signal, sys, time\n"
        "def stop(n, frame):\n"
        f"    pathlib.Path({str(caught)!r}).write_text(str(n)); sys.exit(40)\n"
        f"signal.signal({int(number)}, stop)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(30)\n"
    )

    def send() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    before = signal.getsignal(number)
    assert run_command([sys.executable, "-c", code], os.environ) == 40
    sender.join()
    assert caught.read_text() == str(int(number))
    assert signal.getsignal(number) is before


def test_a_command_that_a_signal_ended_is_told_as_shells_do() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run_command([sys.executable, "-c", code], os.environ) == 128 + signal.SIGKILL
