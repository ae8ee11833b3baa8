import json
from pathlib import Path

from typer.testing import CliRunner

from sculptor.cli.eval import app

DRAW = {"tracked_keys": ["a", "b"], "pairs": [["a", "x"], ["b", "y"], ["a", "鸟"]]}
runner = CliRunner()


def test_list() -> None:
    plain = runner.invoke(app, ["list"])
    assert plain.exit_code == 0
    assert "pi-llm-long" in plain.stdout
    rows = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
    assert {"name", "samples", "scorers", "summary"} == set(rows[0])


def test_prompt_from_stdin_and_file(tmp_path: Path) -> None:
    from_stdin = runner.invoke(app, ["prompt", "pi-llm", "--draw", "-"], input=json.dumps(DRAW))
    assert from_stdin.exit_code == 0
    messages = json.loads(from_stdin.stdout)
    assert [message["role"] for message in messages] == ["user"]
    assert "a: x; b: y; a: 鸟; " in messages[0]["content"]
    assert "鸟" in from_stdin.stdout
    path = tmp_path / "draws.jsonl"
    path.write_text(f"{json.dumps(DRAW)}\n{json.dumps(DRAW)}\n", encoding="utf-8")
    lines = runner.invoke(app, ["prompt", "pi-llm", "--draw", str(path)]).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [messages, messages]


def test_half_a_surrogate_pair_is_printed_as_an_escape() -> None:
    draw = {"tracked_keys": ["a", "b"], "pairs": [["a", "\ud800"], ["b", "y"]]}
    done = runner.invoke(app, ["prompt", "pi-llm", "--draw", "-"], input=json.dumps(draw))
    assert done.exit_code == 0
    assert "a: \ud800; " in json.loads(done.stdout)[0]["content"]


def test_draws_printed_here_are_read_here() -> None:
    drawn = runner.invoke(app, ["draw", "needlebench-v2-atc", "--index", "5", "--seed", "1"])
    prompt = runner.invoke(app, ["prompt", "needlebench", "--draw", "-"], input=drawn.stdout)
    assert prompt.exit_code == 0
    assert "Ancestral Trace Challenge" in prompt.stdout


def test_score_and_metrics(tmp_path: Path) -> None:
    lines = [
        {"id": n, "reply": reply, "reference": {"a": "x"}, "params": {"n_updates": 2}}
        for n, reply in enumerate(("The current value of a is X.", "a: x"))
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    figures = tmp_path / "figures.json"
    command = ["score", "pi-llm", "--scorer", "original", "--metrics", str(figures)]
    done = runner.invoke(app, command, input=text)
    assert [json.loads(line)["score"] for line in done.stdout.splitlines()] == [1.0, 0.0]
    assert json.loads(figures.read_text())["avg_accuracy"] == 0.5
    compass = runner.invoke(app, ["score", "pi-llm", "--scorer", "opencompass"], input=text)
    assert [json.loads(line)["score"] for line in compass.stdout.splitlines()] == [0.0, 1.0]


def test_errors_are_one_line_and_say_what_to_do(tmp_path: Path) -> None:
    for command, words in (
        (["prompt", "nothing-such", "--draw", "-"], "sculptor eval list"),
        (["prompt", "pi-llm", "--draw", str(tmp_path / "none.json")], "none.json"),
        (["score", "pi-llm", "--scorer", "best"], "original"),
        (["list", "--data", str(tmp_path / "none")], "--data"),
    ):
        line = {"id": 1, "reply": "x", "reference": {"a": "x"}}
        done = runner.invoke(app, command, input=json.dumps(line))
        assert done.exit_code == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_byte_order_mark_is_no_part_of_the_input(tmp_path: Path) -> None:
    path = tmp_path / "draw.json"
    path.write_text(json.dumps(DRAW), encoding="utf-8-sig")
    marked = runner.invoke(app, ["prompt", "pi-llm", "--draw", str(path)])
    plain = runner.invoke(app, ["prompt", "pi-llm", "--draw", "-"], input=json.dumps(DRAW))
    assert marked.exit_code == 0
    assert marked.stdout == plain.stdout


def test_what_is_not_utf_8_is_named_by_its_line() -> None:
    good = json.dumps({"id": 1, "reply": "x", "reference": {"a": "x"}}).encode()
    done = runner.invoke(app, ["score", "pi-llm"], input=good + b"\n\xff\n")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["id"] == 1
    assert "Line 2 of the input is not UTF-8" in done.stderr


def test_an_empty_input_is_no_draw() -> None:
    done = runner.invoke(app, ["prompt", "pi-llm", "--draw", "-"], input=" \n")
    assert done.exit_code == 1
    assert "empty" in done.stderr
