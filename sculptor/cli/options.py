"""The flags that several commands share, and the settings they come to.

A flag that is not given stays None, so that the file and the environment keep their say.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from sculptor.server.settings import Settings

_SERVER, _MODEL, _CONTEXT = "Server", "Model", "Context"


def _option(*names: str, help: str, panel: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False)


Host = Annotated[
    str | None, _option("--host", help="Address to bind; 127.0.0.1 if not given.", panel=_SERVER)
]
Port = Annotated[
    int | None,
    _option("--port", help="Port, 8484 if not given; 0 takes a free one.", panel=_SERVER),
]
StoreFile = Annotated[
    str | None, _option("--store", help="SQLite file of the store, or 'memory'.", panel=_SERVER)
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    _option("--log-level", help="What is logged.", panel=_SERVER),
]
Upstream = Annotated[
    str | None,
    _option("--upstream", help="Base URL of an OpenAI-compatible provider.", panel=_MODEL),
]
UpstreamKeyEnv = Annotated[
    str | None,
    _option(
        "--upstream-key-env",
        help="Name of the environment variable with the provider's key.",
        panel=_MODEL,
    ),
]
BackendName = Annotated[
    Literal["openai", "mom", "scripted"] | None,
    _option("--backend", help="What answers requests.", panel=_MODEL),
]
WindowTokens = Annotated[
    int | None,
    _option("--window-tokens", help="The model's window; longer views are folded.", panel=_MODEL),
]
Encoding = Annotated[
    str | None,
    _option(
        "--encoding",
        help="Tokenizer to count with: o200k_base, cl100k_base or the path of a tokenizer.json; "
        "else by the model's name.",
        panel=_MODEL,
    ),
]
ToolsetFlag = Annotated[
    Literal["full", "paper"] | None,
    _option("--toolset", help="Which tools models are offered.", panel=_CONTEXT),
]
AdmissionFlag = Annotated[
    Literal["auto", "on", "off"] | None,
    _option("--admission", help="When the tools are offered.", panel=_CONTEXT),
]
AdmissionTokens = Annotated[
    int | None,
    _option(
        "--admission-tokens",
        help="Tokens of what the client sent from which auto offers them; "
        "empty: 4096, with the mom backend 1024.",
        panel=_CONTEXT,
    ),
]
MaxSteps = Annotated[int | None, _option("--max-steps", help="Model steps a turn.", panel=_CONTEXT)]
SummarizerFlag = Annotated[
    Literal["model", "extractive"] | None,
    _option("--summarizer", help="Who writes summaries.", panel=_CONTEXT),
]
UsageFlag = Annotated[
    Literal["final", "sum"] | None,
    _option("--usage", help="Prompt tokens reported: of the last call, or of all.", panel=_CONTEXT),
]
StrictFlag = Annotated[
    bool | None,
    _option(
        "--strict/--no-strict",
        help="Answer 503 where the context layer cannot work, instead of passing through.",
        panel=_CONTEXT,
    ),
]
Tenant = Annotated[
    str | None, typer.Option("--tenant", help="Whose sessions, where the settings hold keys.")
]


def settings_of(**flags: object) -> "Settings":
    """Return the settings in force with these flags.

    Raises:
        SettingsError: a source cannot be read, or the settings contradict themselves.
    """
    from sculptor.server.settings import load_settings

    return load_settings(flags)[0]
