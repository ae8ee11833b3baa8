"""``sculptor serve``: the proxy, until it is told to stop."""

from typing import TYPE_CHECKING

import typer

from sculptor.cli import options
from sculptor.cli.console import INTERRUPTED, AsJson, print_json, print_pairs

if TYPE_CHECKING:
    from sculptor.server.settings import Settings


def serve(
    host: options.Host = None,
    port: options.Port = None,
    store: options.StoreFile = None,
    log_level: options.LogLevel = None,
    upstream: options.Upstream = None,
    upstream_key_env: options.UpstreamKeyEnv = None,
    backend: options.BackendName = None,
    window_tokens: options.WindowTokens = None,
    encoding: options.Encoding = None,
    toolset: options.ToolsetFlag = None,
    admission: options.AdmissionFlag = None,
    admission_tokens: options.AdmissionTokens = None,
    max_steps: options.MaxSteps = None,
    summarizer: options.SummarizerFlag = None,
    usage: options.UsageFlag = None,
    strict: options.StrictFlag = None,
    as_json: AsJson = False,
) -> None:
    """Start the proxy and say where to point a client.

    Settings come from sculptor.toml in this folder, then SCULPTOR_… in the environment, then these
    flags; `sculptor doctor` shows where each comes from.

    Example: sculptor serve --upstream https://api.openai.com/v1 --upstream-key-env OPENAI_API_KEY
    """
    settings = options.settings_of(
        host=host,
        port=port,
        store=store,
        log_level=log_level,
        upstream=upstream,
        upstream_key_env=upstream_key_env,
        backend=backend,
        window_tokens=window_tokens,
        encoding=encoding,
        toolset=toolset,
        admission=admission,
        admission_tokens=admission_tokens,
        max_steps=max_steps,
        summarizer=summarizer,
        usage=usage,
        strict=strict,
    )
    run_server(settings, as_json=as_json)


def run_server(settings: "Settings", *, as_json: bool) -> None:
    """Serve until Ctrl-C or SIGTERM, having told the address; a second one ends it at once.

    Raises:
        SettingsError: the address cannot be bound, or a key is not set.
        StoreError: the store cannot be opened.
    """
    import structlog

    from sculptor.cli.logs import configure_logs
    from sculptor.server.app import Server
    from sculptor.server.run import serve as serve_until_stopped

    configure_logs(settings.log_level, for_good=True)

    def announce(address: str) -> None:
        if as_json:
            print_json(start_facts(settings, address))
        else:
            print_pairs(start_lines(settings, address), title=f"Sculptor is listening on {address}")

    def say(line: str) -> None:
        if as_json:
            structlog.get_logger("sculptor").info(line)
        else:
            typer.echo(line, err=True)

    server = Server(settings)
    if serve_until_stopped(settings, server=server, started=announce, stopping=say):
        raise typer.Exit(INTERRUPTED)


def start_facts(settings: "Settings", address: str) -> dict[str, object]:
    """Return what a program needs to know of a server that has started."""
    return {
        "address": address,
        "base_url": f"{address}/v1",
        "docs": f"{address}/docs",
        "backend": settings.chosen_backend,
        "upstream": settings.upstream or None,
        "store": None if settings.store_path is None else str(settings.store_path),
        "relays_client_key": settings.relays_client_key,
    }


def start_lines(settings: "Settings", address: str) -> list[tuple[str, str]]:
    """Return what a person needs to know of a server that has started, label and text."""
    path, backend = settings.store_path, settings.chosen_backend
    unused = [("upstream", f"{settings.upstream} is not used: the {backend} backend has none")]
    return [
        ("point a client here", f"export OPENAI_BASE_URL={address}/v1"),
        ("API and its docs", f"{address}/docs"),
        ("backend", _backend_line(settings)),
        *(unused if _leaves_upstream(settings) else []),
        ("store", "memory, gone when the server stops" if path is None else str(path)),
        ("client keys", _keys_line(settings)),
        ("upstream key", _upstream_key_line(settings)),
    ]


def _backend_line(settings: "Settings") -> str:
    match settings.chosen_backend:
        case "openai":
            return settings.upstream
        case "mom":
            return "mom, the small language model that ships with Sculptor"
        case "scripted":
            mend = "leave out --backend" if settings.upstream else "--upstream URL"
            return f"scripted, no language model; attach one: {mend}"


def _leaves_upstream(settings: "Settings") -> bool:
    """Whether an upstream is named that the backend, which answers by itself, does not ask."""
    return bool(settings.upstream) and settings.chosen_backend != "openai"


def _keys_line(settings: "Settings") -> str:
    if settings.keys:
        return f"needed; {len(settings.keys)} in the settings"
    return "not needed: this machine only, and whoever asks shares its sessions"


def _upstream_key_line(settings: "Settings") -> str:
    if not settings.upstream or _leaves_upstream(settings):
        return "not needed"
    if settings.upstream_key_env:
        return f"from {settings.upstream_key_env}"
    if settings.relays_client_key:
        return "each client's own is passed on to the upstream"
    return "none"
