"""What the commands that use the model share: its weights, and a server of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sculptor.cli.options import settings_of

if TYPE_CHECKING:
    from openai import OpenAI

    from sculptor.server.mom.backend import MomBackend
    from sculptor.server.settings import Settings

Weights = Annotated[
    str | None,
    typer.Option("--weights", help="Folder of weights; else the settings', else the shipped."),
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Limit of an answer.")]

_FLAGS: dict[str, Any] = {
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that runs while a command does, and the model behind it."""

    url: str
    name: str
    fingerprint: str

    def client(self) -> "OpenAI":
        """Return a client of it."""
        import openai

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)


def open_model(weights: str | None) -> "MomBackend":
    """Load the model.

    Raises:
        SettingsError: there are no weights, or they cannot be used.
    """
    return _open(_settings(weights))


@contextmanager
def serving(weights: str | None) -> Iterator[Served]:
    """Serve the model on a free port of this machine, nothing kept, while the block runs.

    Raises:
        SettingsError: there are no weights, or they cannot be used.
    """
    from sculptor.cli.logs import configure_logs
    from sculptor.server.app import Server
    from sculptor.server.run import serve_in_thread

    configure_logs("error")
    settings = _settings(weights)
    backend = _open(settings)
    url, stop = serve_in_thread(settings, server=Server(settings, backend=backend))
    try:
        yield Served(url=url, name=backend.names[0], fingerprint=backend.fingerprint)
    finally:
        stop()


def _settings(weights: str | None) -> "Settings":
    return settings_of(**_FLAGS, mom_weights=weights)


def _open(settings: "Settings") -> "MomBackend":
    from sculptor.server.mom.backend import open_backend
    from sculptor.server.mom.places import need_weights

    return open_backend(
        need_weights(settings.mom_weights),
        memory_mib=settings.mom_memory_mib,
        device=settings.mom_device,
    )
