"""``sculptor demo``: the mechanism on one PI-LLM stream, in a few seconds, over real HTTP.

The stream is answered twice by the ``openai`` client, without and with the tools; the figures come
from the server's own answers and its management API, and accuracy is printed as it is. What the
scripted backend scores says nothing about the tools' worth, and the demo says so.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from sculptor.cli.console import AsJson, CommandError, print_json

if TYPE_CHECKING:
    from openai import OpenAI
    from rich.console import Console

    from sculptor.evals.types import Sample, Task

KEYS, UPDATES = 46, 64

Progress = Callable[[str], object]
"""Is told what is being done."""

_MARKER = re.compile(r"⟦f[0-9a-f]{5} (?:folded|summary)[^⟧]*⟧")
_SHOWN_CHARS = 150
_GREETING: Any = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way of answering: tokens sent in its first and last model call, accuracy from 0 to 1."""

    name: str
    first_tokens: int
    last_tokens: int
    steps: int
    seconds: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo found: both arms, and the stream's message as the model saw it last."""

    model: str
    updates: int
    arms: tuple[Arm, ...]
    view: str

    @property
    def note(self) -> str:
        """What must be said where a program answered, and no language model; else nothing."""
        return PLAIN_WORDS if self.model.startswith("scripted") else ""


def demo(
    base_url: Annotated[
        str | None,
        typer.Option(help="A running server, as http://127.0.0.1:8484; without it one is started."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Which of the server's models; without it its first.")
    ] = None,
    updates: Annotated[int, typer.Option(min=2, max=400, help="Updates of each key.")] = UPDATES,
    as_json: AsJson = False,
) -> None:
    """Answer one stream of updates with and without the tools and show what changed.

    Example: sculptor demo
    """
    from rich.console import Console

    from sculptor.cli.logs import configure_logs

    configure_logs("error")
    with Console(stderr=True).status("starting") as status:
        found = run_demo(base_url, model=model, updates=updates, progress=status.update)
    if as_json:
        print_json({**asdict(found), "note": found.note})
    else:
        print_demo(found, Console())


def run_demo(
    base_url: str | None = None,
    *,
    model: str | None = None,
    updates: int = UPDATES,
    seed: int = 0,
    progress: Progress = lambda text: None,
) -> Demo:
    """Answer one PI-LLM stream in both arms and return what was measured.

    Without ``base_url`` (a server's address, without ``/v1``) a server is started on a free port of
    this machine, with the shipped model if there is one, else the scripted backend, with nothing
    kept, and stopped at the end.

    Raises:
        CommandError: the server cannot be reached, refused a request, or offered no tools.
    """
    from sculptor.evals.registry import find_task

    progress("drawing a stream")
    task = find_task("pi-llm")
    sample = task.sample({"task": task.name, "seed": seed, "n_tracked_updates": updates})
    with _server(base_url, progress) as url, _client(url) as client:
        name = model or _first_model(client)
        progress("answering without the tools")
        plain, _ = _answer(client, name, task, sample, tools="off")
        progress("answering with the tools")
        managed, told = _answer(client, name, task, sample, tools="on")
        view = _view(client, url, told)
    return Demo(model=told["model"], updates=updates, arms=(plain, managed), view=view)


def print_demo(found: Demo, console: "Console") -> None:
    """Print the table, the sculpted view and what neither of them shows."""
    from rich.table import Table

    table = Table(title=f"PI-LLM: {KEYS} keys, {found.updates} updates each, model {found.model}")
    for heading in ("", "tokens, first", "tokens, last", "steps", "seconds", "accuracy"):
        table.add_column(heading, justify="right" if heading else "left")
    for arm in found.arms:
        table.add_row(
            arm.name,
            f"{arm.first_tokens:,}",
            f"{arm.last_tokens:,}",
            str(arm.steps),
            f"{arm.seconds:.2f}",
            f"{arm.accuracy:.0%}",
        )
    console.print(table)
    console.print("\nThe view in the last call with the tools (shortened):", style="bold")
    console.print(shorten(found.view), markup=False, highlight=False)
    if found.note:
        console.print(f"\n{found.note}", highlight=False)


PLAIN_WORDS = (
    "The answers came from a script that knows the task, not from a language model. It never "
    "forgets, so it scores the same in both arms: what this shows is the mechanism. The accuracy "
    "curve needs a language model: sculptor serve --upstream URL --upstream-key-env NAME, then "
    "sculptor demo --base-url http://127.0.0.1:8484"
)


def shorten(view: str) -> str:
    """Return a view with its markers whole and each long stretch of text cut in the middle."""
    pieces: list[str] = []
    at = 0
    for marker in _MARKER.finditer(view):
        pieces += [_cut_middle(view[at : marker.start()]), marker[0]]
        at = marker.end()
    return "\n".join(piece for piece in [*pieces, _cut_middle(view[at:])] if piece)


def _cut_middle(text: str) -> str:
    text = text.strip()
    left_out = len(text) - 2 * _SHOWN_CHARS
    if left_out <= 0:
        return text
    return f"{text[:_SHOWN_CHARS]} … {left_out:,} characters … {text[-_SHOWN_CHARS:]}"


@contextmanager
def _server(base_url: str | None, progress: Progress) -> Iterator[str]:
    if base_url is not None:
        yield base_url.rstrip("/").removesuffix("/v1")
        return
    progress("starting a server")
    from sculptor.cli.options import settings_of
    from sculptor.server.run import serve_in_thread
    from sculptor.server.settings import Settings

    own = settings_of()
    kept = {"mom_weights": own.mom_weights, "mom_device": own.mom_device}
    settings = Settings.model_validate({"port": 0, "store": "memory", **kept})
    url, stop = serve_in_thread(settings)
    try:
        with _client(url) as client:  # what is loaded at a server's first answer is not timed
            client.chat.completions.create(model="any", messages=_GREETING, max_tokens=1)
        yield url
    finally:
        stop()


@contextmanager
def _client(url: str) -> "Iterator[OpenAI]":
    """Open a client; what goes wrong with its requests is told in one line."""
    import openai

    key = os.environ.get("OPENAI_API_KEY") or "none"
    try:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            yield client
    except openai.APIConnectionError as error:
        raise CommandError(
            f"nothing answers at {url}: start a server with `sculptor serve`, or leave out "
            "--base-url and the demo starts its own."
        ) from error
    except openai.APIStatusError as error:
        raise CommandError(f"{url} answered {error.status_code}: {error.message}") from error


def _first_model(client: "OpenAI") -> str:
    return next((model.id for model in client.models.list()), "scripted")


def _answer(
    client: "OpenAI", model: str, task: "Task", sample: "Sample", *, tools: str
) -> tuple[Arm, dict[str, Any]]:
    headers = {"x-sculptor": tools, "x-session-id": f"demo-{tools}-{uuid4().hex}"}
    started = time.perf_counter()
    completion = client.chat.completions.create(
        model=model,
        messages=sample.messages,  # type: ignore[arg-type]  # a task's messages are wire JSON
        extra_headers=headers,
    )
    seconds = time.perf_counter() - started
    told = {"model": completion.model, **((completion.model_extra or {}).get("x_context") or {})}
    prompt_tokens = completion.usage.prompt_tokens if completion.usage else 0
    sent = [row["prompt_tokens"] for row in told.get("billed", ())] or [prompt_tokens]
    score = task.score(completion.choices[0].message.content or "", sample.reference)
    arm = Arm(
        name="without tools" if tools == "off" else "with tools",
        first_tokens=sent[0],
        last_tokens=sent[-1],
        steps=len(sent),
        seconds=seconds,
        accuracy=score.value or 0.0,
    )
    return arm, told


def _view(client: "OpenAI", url: str, told: dict[str, Any]) -> str:
    """Return the newest user message of a session as the model is shown it."""
    if "session" not in told:
        raise CommandError(f"{url} offered no tools: point --base-url at a Sculptor server.")
    path = f"{url}/api/sessions/{told['session']}/view"
    answer = client.get(path, cast_to=dict[str, Any])
    texts = [message["content"] for message in answer["messages"] if message["role"] == "user"]
    return str(texts[-1])
