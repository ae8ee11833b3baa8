"""``sculptor serve`` as people start it: a process, its banner, its log, its end."""

import json
import signal
import socket
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sculptor.cli.serve import start_facts, start_lines
from sculptor.server.settings import ADMISSION_TOKENS, MOM_ADMISSION_TOKENS, Settings
from tests.cli.processes import COMMAND, run, serving
from tests.server.stub_upstream import StubUpstream, say


def test_it_tells_where_it_is_and_stops_cleanly(home: Path) -> None:
    with serving(home) as (process, told):
        assert told["base_url"] == f"{told['address']}/v1"
        assert told["backend"] == "mom"
        assert told["relays_client_key"] is False
        store = Path(told["store"])
        assert home in store.parents
        assert stat.S_IMODE(store.stat().st_mode) == 0o600
        assert httpx.get(f"{told['address']}/readyz").json() == {"status": "ready"}
        assert httpx.get(told["docs"]).status_code == 200
        answer = httpx.get(f"{told['base_url']}/models/nothing")
        assert answer.status_code == 404
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
        assert process.returncode == 0
        lines = [json.loads(line) for line in log.splitlines()]
        assert lines.pop()["event"] == "Stopping."
        assert [line["path"] for line in lines] == ["/readyz", "/docs", "/v1/models/nothing"]
        assert all(line["level"] == "info" and line["timestamp"] for line in lines)


def test_sigterm_ends_it_too(home: Path) -> None:
    with serving(home) as (process, _):
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        assert process.returncode in (0, -signal.SIGTERM)
        assert [json.loads(line)["event"] for line in log.splitlines()] == ["Stopping."]


def test_the_first_interrupt_drains_and_the_second_ends_at_once(home: Path) -> None:
    release = threading.Event()

    def slowly(body: dict[str, object]) -> dict[str, object]:
        release.wait(60)
        return say("late")(body)

    with StubUpstream() as upstream, ThreadPoolExecutor() as asking:
        upstream.answers.append(slowly)
        flags = ["--port", str(_free_port()), "--store", "memory", "--upstream", upstream.url]
        process = subprocess.Popen(
            [*COMMAND, "serve", *flags],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        url = f"http://127.0.0.1:{flags[1]}/v1/chat/completions"
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        client = httpx.Client(transport=httpx.HTTPTransport(retries=9), timeout=60)
        cut = asking.submit(client.post, url, json=body)
        while not upstream.seen:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert _next_line(process) == (
            "Stopping: 1 request may take up to 120 s to end; Ctrl-C again ends at once."
        )
        process.send_signal(signal.SIGINT)
        assert _next_line(process) == "Ending at once: 1 request cut off."
        assert cut.result(20).status_code == 503
        _, rest = process.communicate(timeout=20)
        release.set()
        client.close()
    assert process.returncode == 130
    assert "Traceback" not in rest


def _next_line(process: "subprocess.Popen[str]") -> str:
    """Return the next line that is no line of the log."""
    assert process.stderr is not None
    while " [" in (line := process.stderr.readline()) or line.startswith("{"):
        pass
    return line.strip()


def test_a_store_is_served_once(home: Path) -> None:
    with serving(home) as (_, told):
        done = run(home, "serve", "--port", "0")
        assert done.returncode == 1
        assert done.stderr == (
            f"Error: Another server holds {told['store']}. Stop it, or give this one its own file "
            "with --store.\n"
        )


def test_the_banner_says_where_to_point_a_client(home: Path) -> None:
    port = _free_port()
    done = _banner(home, port, "--backend", "scripted")
    assert f"Sculptor is listening on http://127.0.0.1:{port}\n" in done
    assert f"export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1\n" in done
    assert f"http://127.0.0.1:{port}/docs\n" in done
    assert "scripted, no language model" in done
    assert max(map(len, done.splitlines())) <= 100 + len(str(home))


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        (["--host", "0.0.0.0"], {}, "needs client keys"),
        (["--backend", "openai"], {}, "--upstream URL"),
        (
            ["--upstream", "http://127.0.0.1:9/v1", "--upstream-key-env", "NO_SUCH_KEY"],
            {},
            "NO_SUCH_KEY is not set",
        ),
        (["--store", "/proc/none/x.db"], {}, "/proc/none/x.db"),
        ([], {"SCULPTOR_MAX_STEPS": "many"}, "max_steps (from environment)"),
        ([], {"SCULPTOR_KEYS": "k1,k2"}, "several keys for the tenant local; each has one"),
        ([], {"SCULPTOR_KEYS": '{"ann": "k1"}'}, "SCULPTOR_KEYS holds {, and is no JSON"),
        (["--encoding", "nope"], {}, "nope"),
    ],
)
def test_what_cannot_be_is_one_line(
    home: Path, flags: list[str], environment: dict[str, str], words: str
) -> None:
    done = run(home, "serve", "--port", "0", *flags, **environment)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stderr.endswith("..\n")
    assert "k1" not in done.stderr
    assert done.stdout == ""


def test_a_taken_port_is_told_with_what_to_do(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(home, "serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot be bound" in done.stderr
    assert "--port" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_settings_file_counts_less_than_a_flag(home: Path) -> None:
    (home / "sculptor.toml").write_text('store = "memory"\nadmission_tokens = 5\n')
    with serving(home, "--store", str(home / "here.sqlite3")) as (_, told):
        assert told["store"] == str(home / "here.sqlite3")


def test_help_tells_from_which_size_the_tools_are_offered(home: Path) -> None:
    shown = " ".join(run(home, "serve", "--help").stdout.replace("│", " ").split())
    told = f"empty: {ADMISSION_TOKENS}, with the mom backend {MOM_ADMISSION_TOKENS}."
    assert f"Tokens of what the client sent from which auto offers them; {told}" in shown


def test_the_banner_tells_whose_keys_go_where() -> None:
    def lines(**settings: object) -> dict[str, str]:
        made = Settings.model_validate(settings)
        return dict(start_lines(made, "http://127.0.0.1:1"))

    plain = lines(upstream="http://u/v1")
    assert plain["backend"] == "http://u/v1"
    assert plain["upstream key"] == "each client's own is passed on to the upstream"
    assert lines(upstream="http://u/v1", relay_client_key=False)["upstream key"] == "none"
    named = lines(upstream="http://u/v1", upstream_key_env="MY_KEY", keys={"a": "k", "b": "l"})
    assert named["upstream key"] == "from MY_KEY"
    assert named["client keys"] == "needed; 2 in the settings"
    assert "k" not in named["client keys"].split()
    assert "upstream" not in named
    for backend in ("mom", "scripted"):
        left = lines(upstream="http://u/v1", backend=backend)
        assert left["upstream"] == f"http://u/v1 is not used: the {backend} backend has none"
        assert left["upstream key"] == "not needed"
        assert "attach one: --upstream" not in left["backend"]
    made = Settings.model_validate({"upstream": "http://u/v1", "backend": "mom"})
    assert start_facts(made, "http://127.0.0.1:1")["relays_client_key"] is False
    assert "memory" in lines(store="memory")["store"]
    assert "small language model" in lines(backend="mom")["backend"]


def test_the_shipped_model_answers_where_nothing_else_is_named(home: Path) -> None:
    assert "mom, the small language model" in _banner(home, _free_port())


def _banner(home: Path, port: int, *flags: str) -> str:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), *flags],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        return "".join(process.stdout.readline() for _ in range(7))
    finally:
        process.kill()
        process.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
