"""``sculptor eval``: list the tasks, print prompts, score replies, run, report and compare.

Every command parses, calls one function of ``sculptor.evals`` and prints; what it loads it loads
when it runs.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from sculptor.cli.eval_runs import compare_runs, one_line_errors, report_runs, run_task

app = typer.Typer(
    name="eval",
    help="Measure what working on one's own context is worth.",
    no_args_is_help=True,
)

TaskName = Annotated[str, typer.Argument(help="A task's name; `sculptor eval list` shows all.")]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of haystacks, needles, names in the upstream's schema."),
]


@app.command("list")
def list_tasks(
    data: DataFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """List the tasks with their number of samples and their scorers.

    Example: sculptor eval list --json
    """
    with one_line_errors():
        from sculptor.evals.registry import load_tasks

        tasks = load_tasks(data).values()
        rows = [
            {
                "name": task.name,
                "samples": len(task),
                "scorers": list(task.scorers),
                "summary": task.summary,
            }
            for task in tasks
        ]
        if as_json:
            _print(rows)
            return
        width = max(len(task.name) for task in tasks)
        for task in tasks:
            typer.echo(f"{task.name:{width}}  {len(task):>6}  {task.summary}")


@app.command("draw")
def draw(
    task: TaskName,
    index: Annotated[int, typer.Option(help="Which sample.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the run.", min=0)] = 0,
    data: DataFolder = None,
) -> None:
    """Print the draw of one sample as JSON.

    Example: sculptor eval draw pi-llm --index 3 > draw.json
    """
    with one_line_errors():
        from sculptor.evals.registry import find_task

        _print(find_task(task, data).draw(index, seed=seed))


@app.command("prompt")
def prompt(
    task: TaskName,
    draw: Annotated[str, typer.Option("--draw", help="File with the draw, or - for stdin.")],
    data: DataFolder = None,
) -> None:
    """Print the chat messages of a draw as JSON.

    The file holds one draw, or a list or JSON lines of draws; for several, one line is printed for
    each. docs/evals/draws.md describes the draws.

    Example: sculptor eval prompt pi-llm --draw draw.json
    """
    with one_line_errors():
        from sculptor.evals.exchange import prompt_messages, read_draws
        from sculptor.evals.registry import find_task

        found = find_task(task, data)
        for one in read_draws(_read(draw))[0]:
            _print(prompt_messages(found, one))


@app.command("score")
def score(
    task: TaskName,
    source: Annotated[str, typer.Argument(help="JSON lines to score, or - for stdin.")] = "-",
    scorer: Annotated[
        str | None,
        typer.Option(help="original, opencompass or corrected; the task's first by default."),
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="Also write the benchmark's own figures to this file.")
    ] = None,
    data: DataFolder = None,
) -> None:
    """Read lines {id, reply, reference, params} and print a line {id, score, …} for each.

    Example: sculptor eval score pi-llm --scorer original < replies.jsonl
    """
    with one_line_errors():
        from sculptor.evals.exchange import score_lines
        from sculptor.evals.registry import find_task

        found = find_task(task, data)
        rows = []
        for line, row in score_lines(found, _lines(source), scorer=scorer):
            _print(line)
            rows.append(row)
        if metrics is not None:
            metrics.write_text(json.dumps(dict(found.metrics(rows))) + "\n", encoding="utf-8")


app.command("run")(run_task)
app.command("report")(report_runs)
app.command("compare")(compare_runs)


def _read(source: str) -> str:
    return "".join(_lines(source))


def _lines(source: str) -> Iterator[str]:
    """Yield the lines of a file or of stdin, without a byte order mark."""
    if source == "-":
        yield from _decoded(sys.stdin.buffer)
        return
    with Path(source).open("rb") as file:
        yield from _decoded(file)


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    from sculptor.errors import EvalError

    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise EvalError(f"Line {number} of the input is not UTF-8 text: {error}.") from error


def _print(value: object) -> None:
    """Print one line of JSON in UTF-8; half a surrogate pair, which has none, as an escape."""
    try:
        line = json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(value).encode("ascii")
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
