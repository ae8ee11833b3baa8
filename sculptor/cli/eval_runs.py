"""``sculptor eval run``, ``report`` and ``compare``."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sculptor.errors import SculptorError

if TYPE_CHECKING:
    from sculptor.evals.runs.comparison import Comparison
    from sculptor.evals.runs.runner import Executor

_INTERRUPTED = 130


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an expected error as one line and exit with 1."""
    try:
        yield
    except (SculptorError, OSError) as error:
        typer.echo(f"sculptor eval: {error}", err=True)
        raise typer.Exit(1) from error


def run_task(
    task: Annotated[str, typer.Argument(help="A task's name; `sculptor eval list` shows all.")],
    model: Annotated[str, typer.Option(help="The model's name, as the base URL knows it.")],
    base_url: Annotated[
        str, typer.Option(help="OpenAI-compatible base URL; the tools need the proxy's.")
    ] = "http://127.0.0.1:8484/v1",
    arm: Annotated[
        list[str] | None, typer.Option(help="plain, sculptor, …; give it again for several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; goes on where it is.")] = None,
    limit: Annotated[int | None, typer.Option(help="Samples an arm.", min=1)] = None,
    start: Annotated[int, typer.Option(help="The first sample's number.", min=0)] = 0,
    step: Annotated[int, typer.Option(help="Every so many-th sample.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the samples.", min=0)] = 0,
    concurrency: Annotated[int, typer.Option(help="Samples at a time.", min=1)] = 8,
    scorer: Annotated[str | None, typer.Option(help="The task's first by default.")] = None,
    budget: Annotated[
        int | None,
        typer.Option(help="View tokens of shortening arms; default: the sculptor arm's.", min=64),
    ] = None,
    admission: Annotated[str, typer.Option(help="auto or on: when tools are offered.")] = "auto",
    max_tokens: Annotated[int | None, typer.Option(help="Limit of each answer.", min=1)] = None,
    temperature: Annotated[float, typer.Option(help="Sampling temperature.", min=0)] = 0.0,
    key_env: Annotated[str, typer.Option(help="Variable with the API key.")] = "OPENAI_API_KEY",
    cache: Annotated[Path | None, typer.Option(help="Folder of answers to use again.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the upstream's data files.")] = None,
    price_input: Annotated[float, typer.Option(help="Money per million input tokens.")] = 0.0,
    price_cached: Annotated[float | None, typer.Option(help="The same, cached prefix.")] = None,
    price_output: Annotated[float, typer.Option(help="The same, output.")] = 0.0,
    executor: Annotated[str, typer.Option(help="local, processes or ray.")] = "local",
    workers: Annotated[int, typer.Option(help="Workers of processes and ray.", min=1)] = 2,
    note: Annotated[str, typer.Option(help="A line printed at the head of reports.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run a task by one or more arms over the same samples; the same command goes on after a stop.

    Example: sculptor eval run pi-llm --model gpt-4.1 --arm plain --arm sculptor --limit 32
    """
    with one_line_errors():
        from rich.console import Console

        from sculptor.errors import EvalError
        from sculptor.evals.runs.plan import Endpoint, make_plan
        from sculptor.evals.runs.progress import Prices, Progress
        from sculptor.evals.runs.results import read_run, result_json
        from sculptor.evals.runs.runner import run_plan

        if admission not in ("auto", "on"):
            raise EvalError(f"--admission is {admission!r}; it must be auto or on.")
        plan = make_plan(
            task,
            arms=arm or ["plain", "sculptor"],
            model=model,
            limit=limit,
            start=start,
            step=step,
            seed=seed,
            scorer=scorer,
            data=data,
            budget_tokens=budget,
            admission="on" if admission == "on" else "auto",
            max_tokens=max_tokens,
            temperature=temperature,
            note=note,
        )
        folder = out or Path("runs") / f"{plan.task}-{model.replace('/', '_')}-{seed}"
        endpoint = Endpoint(
            base_url=base_url,
            key=os.environ.get(key_env, ""),
            cache=str(cache.resolve()) if cache else None,
        )
        prices = Prices(input=price_input, cached=price_cached, output=price_output)
        chosen = _executor(executor, workers, concurrency)
        progress = Progress(plan, prices, Console(stderr=True))
        try:
            with progress:
                failed = run_plan(plan, endpoint, folder, executor=chosen, on_finished=progress)
        except KeyboardInterrupt:
            typer.echo(f"\nStopped. The same command goes on in {folder}.", err=True)
            raise typer.Exit(_INTERRUPTED) from None
        if as_json:
            typer.echo(json.dumps(result_json(read_run(folder, prices=prices))))
        else:
            typer.echo(f"{folder}: `sculptor eval report {folder}` writes the figures.")
        if failed:
            typer.echo(f"{failed} samples failed; the same command tries them again.", err=True)
            for reason in progress.reasons:
                typer.echo(f"Reason: {reason}", err=True)
            raise typer.Exit(1)


def report_runs(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    out: Annotated[Path, typer.Option(help="Where report.html, .md and result.json go.")] = Path(
        "report"
    ),
    title: Annotated[str, typer.Option(help="The page's heading.")] = "Evaluation",
    price_input: Annotated[float, typer.Option(help="Money per million input tokens.")] = 0.0,
    price_cached: Annotated[float | None, typer.Option(help="The same, cached prefix.")] = None,
    price_output: Annotated[float, typer.Option(help="The same, output.")] = 0.0,
) -> None:
    """Write one self-contained page, Markdown with its plots, and the figures as JSON.

    Example: sculptor eval report runs/pi-llm-gpt-4.1-0 --out report
    """
    with one_line_errors():
        from sculptor.evals.report import write_report
        from sculptor.evals.runs.progress import Prices
        from sculptor.evals.runs.results import read_run

        prices = Prices(input=price_input, cached=price_cached, output=price_output)
        results = [read_run(run, prices=prices) for run in runs]
        for path in write_report(results, out, title=title):
            typer.echo(path)


def compare_runs(
    first: Annotated[str, typer.Argument(help="RUN or RUN:ARM.")],
    second: Annotated[str, typer.Argument(help="RUN or RUN:ARM, compared with the first.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two arms over the samples they share: bootstrap of the difference, McNemar's test.

    Example: sculptor eval compare runs/a:plain runs/a:sculptor
    """
    with one_line_errors():
        from sculptor.evals.runs.comparison import compare, comparison_json

        found = compare(first, second)
        typer.echo(json.dumps(comparison_json(found)) if as_json else _comparison_text(found))


def _executor(name: str, workers: int, concurrency: int) -> "Executor":
    from sculptor.evals.runs.executors import find_executor

    return find_executor(name, workers=workers, concurrency=concurrency)


def _comparison_text(found: "Comparison") -> str:
    from sculptor.evals.stats import RESAMPLES

    one, two, gap = found.first, found.second, found.difference.interval
    marks, p_value = found.full_marks, found.difference.p_value
    bound = 2 / RESAMPLES
    least = f"p = {p_value:.4g}" if p_value >= bound else f"p < {bound:g}"
    return "\n".join(
        [
            f"{found.task}, {found.n} samples in both ({found.unpaired} left out)",
            f"  {one.run}:{one.arm}  {one.mean:.4f}  {one.input_tokens:,} input tokens",
            f"  {two.run}:{two.arm}  {two.mean:.4f}  {two.input_tokens:,} input tokens",
            f"difference {gap.mean:+.4f}, 95 % interval {gap.low:+.4f} to {gap.high:+.4f} "
            f"(bootstrap over samples, {least})",
            f"full marks: only first {marks.only_first}, only second {marks.only_second}, "
            f"both {marks.both}, neither {marks.neither} (McNemar, exact, p = {marks.p_value:.4g})",
        ]
    )
