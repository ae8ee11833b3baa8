"""``sculptor mom generate``, ``chat``, ``eval`` and ``export``: the model in use, without torch.

`generate` asks the model alone; `chat` and `eval` go through a server of their own on this machine,
so that the model has its tools.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sculptor.cli.console import AsJson, CommandError, print_json, visible
from sculptor.cli.options import settings_of

if TYPE_CHECKING:
    from openai import OpenAI

    from sculptor.chat import Completed
    from sculptor.server.mom.backend import MomBackend
    from sculptor.server.settings import Settings

Weights = Annotated[
    str | None,
    typer.Option("--weights", help="Folder of weights; else the settings', else the shipped."),
]
System = Annotated[str, typer.Option("--system", help="Text of a system message.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Limit of an answer.")]
Temperature = Annotated[float, typer.Option(min=0, max=2, help="0 takes the likeliest token.")]
Seed = Annotated[int | None, typer.Option(help="Makes a draw repeatable.")]

_QUIT, _NEW = "/quit", "/new"
_SERVER_FLAGS: dict[str, Any] = {
    "backend": "mom",
    "port": 0,
    "host": "127.0.0.1",
    "store": "memory",
    "log_level": "error",
    "drain_seconds": 0,
    "keys": {},
    "upstream": "",
    "upstream_key_env": "",
}


def register(app: typer.Typer) -> None:
    """Add the commands to a group."""
    app.command("generate")(generate)
    app.command("chat")(chat)
    app.command("eval")(evaluate)
    app.command("export")(export)


def generate(
    prompt: Annotated[str, typer.Option("--prompt", help="What to answer; - reads it from stdin.")],
    weights: Weights = None,
    system: System = "",
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Share of likely tokens.")] = 1.0,
    seed: Seed = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends the answer; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer one prompt with the model alone, no tools and no server.

    Example: sculptor mom generate --prompt "Which colour has the third door?" --max-tokens 40
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    body = {
        "messages": _messages(system, text),
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "stop": stop or [],
    }
    completed, seconds = _complete(body, weights, show=not as_json)
    if not as_json:
        typer.echo("")
        return
    usage = completed.usage
    print_json(
        {
            "model": completed.model,
            "text": completed.text,
            "finish_reason": completed.finish_reason,
            "usage": usage.to_wire() if usage else None,
            "seconds": round(seconds, 3),
        }
    )


def chat(
    weights: Weights = None,
    system: System = "",
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 0.0,
    seed: Seed = None,
) -> None:
    """Talk with the model, which has its context tools once the conversation is long.

    /new begins anew, /quit or the end of the input ends it, Ctrl-C stops an answer.

    Example: sculptor mom chat --system "Answer in one word."
    """
    with _serving(weights) as served, served.client() as client:
        from rich.console import Console

        Console(stderr=True).print(f"{served.name}; {_NEW} begins anew, {_QUIT} ends", style="dim")
        history = _messages(system, None)
        for line in _lines():
            if line == _NEW:
                history = _messages(system, None)
                continue
            history.append({"role": "user", "content": line})
            said = _answer(
                client,
                model=served.name,
                messages=history,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
            typer.echo("")
            if said is None:
                history.pop()
            else:
                history.append({"role": "assistant", "content": said})


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
    max_tokens: MaxTokens = 512,
    as_json: AsJson = False,
) -> None:
    """Run a task of ours with the model behind a server of its own, without and with its tools.

    Example: sculptor mom eval pi-llm --limit 20 --json
    """
    with _serving(weights) as served:
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


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    folder: Annotated[Path, typer.Argument(help="Where the weights go.")],
    dtype: Annotated[
        Literal["int8", "float16", "float32"], typer.Option(help="How matrices are stored.")
    ] = "int8",
    name: Annotated[str, typer.Option(help="The model's name in answers.")] = "sculptor-mom",
    window_tokens: Annotated[
        int, typer.Option(min=1024, help="The longest view it is to be shown, in its own tokens.")
    ] = 32_768,
    as_json: AsJson = False,
) -> None:
    """Turn a training run's checkpoint into weights that are served without torch (needs torch).

    Example: sculptor mom export runs/language weights/language --window-tokens 16384
    """
    from sculptor.mom.language.tokenizer import load_tokenizer
    from sculptor.server.mom.loading import describe_model, load_model

    try:
        from sculptor.mom.recipes.export import export_run
    except ImportError:
        told = "export needs torch; install it with: pip install 'sculptor-context[gpu]'"
        raise CommandError(told) from None
    try:
        made = export_run(run, folder, dtype=dtype)
    except ValueError as error:
        raise CommandError(str(error)) from error
    describe_model(folder, tokenizer=load_tokenizer(), name=name, window_tokens=window_tokens)
    loaded = load_model(folder)
    told_facts = {"folder": str(folder), "bytes": made.nbytes, "fingerprint": loaded.fingerprint}
    if as_json:
        print_json(told_facts)
    else:
        typer.echo(f"{folder}: {made.nbytes:,} bytes, {loaded.fingerprint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """A server that runs while a command does."""

    url: str
    name: str
    fingerprint: str

    def client(self) -> "OpenAI":
        """Return a client of it."""
        import openai

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)


@contextmanager
def _serving(weights: str | None) -> Iterator[_Served]:
    from sculptor.cli.logs import configure_logs
    from sculptor.server.app import Server
    from sculptor.server.run import serve_in_thread

    configure_logs("error")
    settings = settings_of(**_SERVER_FLAGS, mom_weights=weights)
    backend = _open(settings)
    url, stop = serve_in_thread(settings, server=Server(settings, backend=backend))
    try:
        yield _Served(url=url, name=backend.names[0], fingerprint=backend.fingerprint)
    finally:
        stop()


def _open(settings: "Settings") -> "MomBackend":
    from sculptor.server.mom.backend import open_backend
    from sculptor.server.mom.places import need_weights

    return open_backend(
        need_weights(settings.mom_weights),
        memory_mib=settings.mom_memory_mib,
        device=settings.mom_device,
    )


def _messages(system: str, text: str | None) -> list[dict[str, Any]]:
    messages = [{"role": "system", "content": system}] if system else []
    return messages + ([{"role": "user", "content": text}] if text is not None else [])


def _complete(
    body: dict[str, Any], weights: str | None, *, show: bool
) -> "tuple[Completed, float]":
    """Return a whole answer and the seconds it took, its text shown as it comes."""
    import asyncio

    import orjson

    from sculptor.chat import Completed, TextDelta

    backend = _open(settings_of(**_SERVER_FLAGS, mom_weights=weights))

    async def read() -> Completed:
        try:
            async for event in backend.answer(orjson.dumps(body)):
                if isinstance(event, Completed):
                    return event
                if show and isinstance(event, TextDelta):
                    typer.echo(visible(event.text), nl=False)
        finally:
            await backend.close()
        raise AssertionError("an answer ends in a whole one")

    started = time.perf_counter()
    return asyncio.run(read()), time.perf_counter() - started


def _lines() -> Iterator[str]:
    """Yield what is typed, until the end."""
    with contextlib.suppress(ImportError):  # line editing, where the system has it
        import readline  # noqa: F401 (importing it is what makes input() edit lines)
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if line == _QUIT:
            return
        if line:
            yield line


def _answer(client: "OpenAI", **asked: Any) -> str | None:
    """Show an answer as it comes and return it; None where Ctrl-C stopped it or it failed."""
    import openai

    said = ""
    try:
        for chunk in client.chat.completions.create(stream=True, **asked):
            for choice in chunk.choices:
                typer.echo(visible(choice.delta.content or ""), nl=False)
                said += choice.delta.content or ""
    except KeyboardInterrupt:
        return None
    except openai.APIError as error:
        typer.echo(f"Error: {visible(error.message)}", err=True)
        return None
    return said
