"""``sculptor wrap -- CMD``: run a command with its OpenAI client pointed at a server of ours.

The command is a child in our process group, so a terminal's Ctrl-C reaches it by itself; what is
sent to us alone is passed on. Its exit status is ours.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from sculptor.cli import options
from sculptor.cli.running import find_server

if TYPE_CHECKING:
    from sculptor.server.settings import Settings

WRAP_SETTINGS = {"allow_interspersed_args": False, "ignore_unknown_options": False}

NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
_PLACEHOLDER_KEY = "sculptor"
DIGEST_PREFIX = "sha256:"


def wrap(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="What to run.")],
    store: options.StoreFile = None,
    upstream: options.Upstream = None,
    upstream_key_env: options.UpstreamKeyEnv = None,
    backend: options.BackendName = None,
    window_tokens: options.WindowTokens = None,
    toolset: options.ToolsetFlag = None,
    admission: options.AdmissionFlag = None,
    admission_tokens: options.AdmissionTokens = None,
) -> None:
    """Run a command with OPENAI_BASE_URL pointed at Sculptor, and end with its status.

    Without flags a server that runs already is used; else one is started on a free port, for as
    long as the command runs.

    Example: sculptor wrap --upstream http://127.0.0.1:11434/v1 -- python agent.py
    """
    flags = {
        "store": store,
        "upstream": upstream,
        "upstream_key_env": upstream_key_env,
        "backend": backend,
        "window_tokens": window_tokens,
        "toolset": toolset,
        "admission": admission,
        "admission_tokens": admission_tokens,
    }
    settings = options.settings_of(**flags)
    is_plain = all(value is None for value in flags.values())
    with _server(settings, use_running=is_plain) as address:
        code = run_command(command, client_environment(settings, address, os.environ))
    raise typer.Exit(code)


def client_environment(
    settings: "Settings", address: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment in which an OpenAI client finds the server.

    A key that is set stays, unless the server takes others only; where none is, it is given one.
    """
    keys = [secret.get_secret_value() for secret in settings.keys.values()]
    taken = [key for key in keys if not key.startswith(DIGEST_PREFIX)]
    key = environment.get("OPENAI_API_KEY") or _PLACEHOLDER_KEY
    base_url = f"{address}/v1"
    return {
        **environment,
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_BASE": base_url,
        "OPENAI_API_KEY": taken[0] if taken and key not in taken else key,
    }


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end and return its status, as a shell would tell it."""
    children: list[subprocess.Popen[bytes]] = []
    with _signals_passed_on(children):
        try:
            children.append(subprocess.Popen(command, env=environment))
        except FileNotFoundError:
            typer.echo(f"Error: there is no command {command[0]!r}.", err=True)
            return NOT_FOUND
        except OSError as error:
            typer.echo(f"Error: {command[0]} cannot be run: {error.strerror}.", err=True)
            return NOT_EXECUTABLE
        code = children[0].wait()
    return SIGNALLED - code if code < 0 else code


@contextmanager
def _server(settings: "Settings", *, use_running: bool) -> Iterator[str]:
    running = find_server(settings) if use_running else None
    if running is not None:
        typer.echo(f"sculptor: using the server at {running.url}", err=True)
        yield running.url
        return
    from sculptor.cli.logs import configure_logs
    from sculptor.server.run import serve_in_thread

    configure_logs("error")
    address, stop = serve_in_thread(settings.model_copy(update={"host": "127.0.0.1", "port": 0}))
    typer.echo(f"sculptor: serving {settings.chosen_backend} at {address}", err=True)
    try:
        yield address
    finally:
        stop()


@contextmanager
def _signals_passed_on(children: Sequence["subprocess.Popen[bytes]"]) -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        # The terminal gives Ctrl-C to the whole group, the child included.
        if children and not (number == signal.SIGINT and sys.stdin.isatty()):
            children[0].send_signal(number)

    caught = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before: list[Callable[[int, FrameType | None], object] | int | None] = [
        signal.signal(number, pass_on) for number in caught
    ]
    try:
        yield
    finally:
        for number, handler in zip(caught, before, strict=True):
            signal.signal(number, handler)
