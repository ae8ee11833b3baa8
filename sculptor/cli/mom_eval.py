"""``sculptor mom eval``: our tasks, with the model behind a server of the command's own."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sculptor.cli.console import AsJson, CommandError, print_json
from sculptor.cli.mom_serving import MaxTokens, Weights, serving


def evaluate(
    task: Annotated[str, typer.Argument(help="A task's name; `sculptor eval list` shows all.")],
    weights: Weights = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="plain, sculptor, …; give it again for several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; goes on where it is.")] = None,
    limit: Annotated[int, typer.Option(help="Samples an arm.", min=1)] = 20,
    start: Annotated[int, typer.Option(help="The first sample's number.", min=0)] = 0,
    step: Annotated[int, typer.Option(help="Every so many-th sample.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the samples.", min=0)] = 0,
    concurrency: Annotated[int, typer.Option(help="Samples at a time.", min=1)] = 4,
    scorer: Annotated[str | None, typer.Option(help="The task's first by default.")] = None,
    admission: Annotated[
        Literal["auto", "on"], typer.Option(help="When the tools are offered.")
    ] = "auto",
    max_tokens: MaxTokens = 1_024,
    as_json: AsJson = False,
) -> None:
    """Run a task of ours with the model behind a server of its own, without and with its tools.

    Example: sculptor mom eval pi-llm --limit 20 --json
    """
    with serving(weights) as served:
        from rich.console import Console

        from sculptor.evals.runs.plan import Endpoint, make_plan
        from sculptor.evals.runs.progress import Prices, Progress
        from sculptor.evals.runs.results import read_run, result_json
        from sculptor.evals.runs.runner import LocalExecutor, run_plan

        plan = make_plan(
            task,
            arms=arm or ["plain", "sculptor"],
            model=f"{served.name}-{served.fingerprint}",
            limit=limit,
            start=start,
            step=step,
            seed=seed,
            scorer=scorer,
            admission=admission,
            max_tokens=max_tokens,
        )
        folder = out or Path("runs") / f"{plan.task}-{plan.model}-{seed}"
        prices = Prices(input=0.0, cached=None, output=0.0)
        with Progress(plan, prices, Console(stderr=True)) as progress:
            failed = run_plan(
                plan,
                Endpoint(base_url=f"{served.url}/v1"),
                folder,
                executor=LocalExecutor(concurrency=concurrency),
                on_finished=progress,
            )
    if as_json:
        print_json(result_json(read_run(folder, prices=prices)))
    else:
        typer.echo(f"{folder}: `sculptor eval report {folder}` writes the figures.")
    if failed:
        raise CommandError(f"{failed} samples failed; the same command tries them again.")
