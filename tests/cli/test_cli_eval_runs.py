import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sculptor.cli.eval import app
from sculptor.server.run import serve_in_thread
from sculptor.server.settings import Settings

runner = CliRunner()


@pytest.fixture(scope="module")
def proxy() -> Iterator[str]:
    settings = Settings(port=0, store="memory", backend="scripted", drain_seconds=1)
    url, stop = serve_in_thread(settings)
    yield url
    stop()


@pytest.fixture(scope="module")
def run(proxy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two arms through the real proxy."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    command = ["run", "pi-llm-sculptor", "--model", "scripted", "--base-url", f"{proxy}/v1"]
    command += ["--arm", "plain", "--arm", "sculptor", "--arm", "truncate-middle"]
    command += ["--limit", "7", "--admission", "on", "--out", str(folder), "--note", "PLUMBING"]
    done = runner.invoke(app, [*command, "--price-input", "2", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])  # the server logs into the same stream
    assert result["arms"]["plain"]["total"]["cost"] > 0
    again = runner.invoke(app, command)
    assert again.exit_code == 0, again.output
    assert str(folder) in again.stdout
    return folder


def test_the_trace_holds_every_request_and_operation(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 21
    line = next(each for each in lines if each["arm"] == "sculptor" and each["index"] == 6)
    (trace,) = line["trace"]
    assert trace["status"] == "tools-on"
    assert trace["request"]["messages"][1] == {"$sample": 0}
    assert line["totals"]["tool_calls"] == {"fragment_context": 1}
    assert line["totals"]["hidden"] == sum(len(o["changes"]) for o in trace["operations"])
    assert len(trace["steps"]) >= 1
    assert line["totals"]["calls"] == len(trace["answer"]["x_context"]["billed"]) == 2
    assert line["totals"]["last_tokens"] < line["totals"]["first_tokens"] / 8


def test_budgets_are_matched_to_the_view_of_the_same_sample(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    views = {
        each["index"]: each["totals"]["last_tokens"] for each in lines if each["arm"] == "sculptor"
    }
    budgets = {
        each["index"]: each["budget_tokens"] for each in lines if each["arm"] == "truncate-middle"
    }
    assert budgets == views


def test_report(run: Path, tmp_path: Path) -> None:
    done = runner.invoke(app, ["report", str(run), "--out", str(tmp_path), "--title", "T <1>"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>T &lt;1&gt;</h1>" in page
    assert "PLUMBING" in page
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| 256 | sculptor | 1 | 100.00 % (100.00 to 100.00, n = 1) |" in text
    assert "](pi-llm-sculptor-updates.svg)" in text
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    arms = result["runs"][0]["arms"]
    assert arms["sculptor"]["total"]["n"] == 7
    assert arms["sculptor"]["total"]["calls"] > arms["plain"]["total"]["calls"] == 7
    assert "/" not in json.dumps(result["runs"][0]["plan"])


def test_compare(run: Path) -> None:
    command = ["compare", f"{run}:plain", f"{run}:truncate-middle", "--json"]
    found = json.loads(runner.invoke(app, command).stdout)
    assert found["n"] == 7
    assert found["unpaired"] == 0
    assert found["first"]["mean"] == 1.0
    assert found["second"]["input_tokens"] < found["first"]["input_tokens"]
    assert found["difference"]["interval"]["mean"] == found["second"]["mean"] - 1
    marks = found["full_marks"]
    assert marks["only_first"] + marks["both"] == 7
    text = runner.invoke(app, command[:-1]).stdout
    assert "7 samples in both (0 left out)" in text
    assert "McNemar" in text


def test_one_sample_is_no_evidence(run: Path, tmp_path: Path) -> None:
    """All resamples of one sample are that sample, so none lies past 0."""
    for name in ("plan.json", "samples.jsonl"):
        lines = (run / name).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if name == "plan.json" or json.loads(line)["index"] == 6]
        (tmp_path / name).write_text("".join(kept), encoding="utf-8")
    command = ["compare", f"{tmp_path}:plain", f"{tmp_path}:truncate-middle"]
    text = runner.invoke(app, command).stdout
    assert "1 samples in both" in text
    assert "(bootstrap over samples, p = 1)" in text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["run", "pi-lm", "--model", "m"], "Did you mean"),
        (["run", "pi-llm", "--model", "m", "--arm", "x"], "choose from: plain"),
        (["run", "pi-llm", "--model", "m", "--arm", "bm25-rag"], "--budget"),
        (["run", "pi-llm", "--model", "m", "--admission", "maybe"], "auto or on"),
        (["run", "pi-llm", "--model", "m", "--executor", "x", "--limit", "1"], "local, processes"),
        (["report", "nowhere"], "is no run"),
        (["compare", "nowhere", "nowhere"], "is no run"),
    ],
)
def test_mistakes_are_told_in_one_line(command: list[str], words: str) -> None:
    done = runner.invoke(app, command)
    assert done.exit_code == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_arm_must_be_named_where_there_are_several(run: Path) -> None:
    done = runner.invoke(app, ["compare", str(run), str(run)])
    assert done.exit_code == 1
    assert ":ARM" in done.stderr


def test_a_dead_base_url_fails_with_the_reason(tmp_path: Path, proxy: str) -> None:
    command = ["run", "tool-log", "--model", "m", "--arm", "plain", "--limit", "1"]
    command += ["--base-url", f"{proxy}/nothing/v1", "--out", str(tmp_path / "x")]
    done = runner.invoke(app, command)
    assert done.exit_code == 1
    assert "1 samples failed" in done.stderr
    (reason,) = [line for line in done.stderr.splitlines() if line.startswith("Reason: ")]
    assert reason.startswith("Reason: 404: ")


def test_a_server_out_of_reach_is_told_at_once_and_as_the_reason(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    words = ["sculptor", "eval", "run", "tool-log", "--model", "m", "--limit", "2"]
    words += ["--base-url", url, "--out", str(tmp_path / "x")]
    code = "import sys; from sculptor.evals.runs import client; client._FIRST_WAIT_S = 0.001;"
    code += f"from sculptor.cli import main; sys.argv = {words!r}; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count(f"{url} cannot be reached") == 1
    assert "4 samples failed; the same command tries them again." in done.stderr
    reasons = [line for line in done.stderr.splitlines() if line.startswith("Reason: ")]
    assert len(reasons) == 1
    assert reasons[0].startswith("Reason: Sent 9 times in vain: ClientConnectorError: ")
