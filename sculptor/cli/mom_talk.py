"""``sculptor mom generate`` and ``chat``: the model in use, without torch.

`generate` asks the model alone; `chat` goes through a server of its own on this machine, so that
the model has its tools.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sculptor.cli.console import AsJson, print_json, visible
from sculptor.cli.mom_serving import MaxTokens, Weights, open_model, serving

if TYPE_CHECKING:
    from openai import OpenAI

    from sculptor.chat import Completed


def _utf8(text: str) -> str:
    """Return text as it is, for an option; bytes that are no UTF-8 came as half surrogates."""
    if not _is_utf8(text):
        raise typer.BadParameter("this is not UTF-8")
    return text


def _is_utf8(text: str) -> bool:
    """Whether text can be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


System = Annotated[str, typer.Option("--system", help="Text of a system message.", callback=_utf8)]
Temperature = Annotated[float, typer.Option(min=0, max=2, help="0 takes the likeliest token.")]
Seed = Annotated[
    int | None, typer.Option(min=-(2**63), max=2**63 - 1, help="Makes a draw repeatable.")
]

_QUIT, _NEW = "/quit", "/new"


def generate(
    prompt: Annotated[
        str, typer.Option("--prompt", help="What to answer; - reads it from stdin.", callback=_utf8)
    ],
    weights: Weights = None,
    system: System = "",
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Share of likely tokens.")] = 1.0,
    seed: Seed = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            help="Text that ends the answer; may be repeated.",
            callback=lambda stops: [_utf8(stop) for stop in stops or ()],
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer one prompt with the model alone, no tools and no server.

    Example: sculptor mom generate --prompt "Which colour has the third door?" --max-tokens 40
    """
    text = (
        _utf8(sys.stdin.buffer.read().decode(errors="surrogateescape")) if prompt == "-" else prompt
    )
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

    Example: sculptor mom chat --seed 7 <<< "The gate code is 4471. What is the gate code?"
    """
    with serving(weights) as served, served.client() as client:
        from rich.console import Console

        Console(stderr=True).print(f"{served.name}; {_NEW} begins anew, {_QUIT} ends", style="dim")
        history = _messages(system, None)
        for line in _lines():
            if line == _NEW:
                history = _messages(system, None)
                continue
            if not _is_utf8(line):
                typer.echo("Error: this line is not UTF-8; write it again.", err=True)
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

    backend = open_model(weights)

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
