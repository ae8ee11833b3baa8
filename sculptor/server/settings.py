"""All settings of the server, made once at start and handed down.

They come from defaults, then ``sculptor.toml``, then ``SCULPTOR_…`` in the environment, then flags;
``sculptor doctor`` prints where each came from.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from platformdirs import user_state_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from sculptor.errors import SettingsError
from sculptor.filenames import own_path
from sculptor.server.mom.places import find_weights
from sculptor.tokens import encoding_of

Backend = Literal["openai", "mom", "scripted"]
Source = Literal["default", "sculptor.toml", "environment", "flag"]
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
PREFIX = "SCULPTOR_"
ADMISSION_TOKENS = 4096
MOM_ADMISSION_TOKENS = 1024
"""Its attention spans about half as many: from there on it answers from memory alone
(decision 0017)."""


class Settings(BaseModel):
    """One server's settings; times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Address to bind; others than loopback need keys.")
    port: int = Field(8484, ge=0, le=65535, description="Port; 0 takes a free one.")
    store: str = Field("", description="SQLite file, or 'memory'; empty: the state folder.")
    durability: Literal["process", "power"] = Field(
        "process", description="What an acknowledged write survives: a crash, or a power cut too."
    )
    backend: Backend | None = Field(
        None,
        description="Empty: openai with an upstream, else mom if it has weights, else scripted.",
    )
    upstream: str = Field("", description="Base URL of an OpenAI-compatible provider.")
    upstream_key_env: str = Field("", description="Environment variable with the provider's key.")
    mom_weights: str = Field(
        "", description="Folder of weights for the mom backend; empty: those that were shipped."
    )
    mom_memory_mib: int = Field(
        256, ge=0, description="Memory for earlier turns, whose tokens are not read again."
    )
    mom_device: Literal["cpu", "cuda"] = Field("cpu", description="What runs the mom backend.")
    keys: dict[str, SecretStr] = Field(
        default_factory=dict, description="Client keys by tenant; none: loopback only."
    )
    hosts: tuple[str, ...] = Field(
        (), description="Further names by which people reach the management API."
    )
    toolset: Literal["full", "paper"] = Field("full", description="Which tools models are offered.")
    inline: bool = Field(False, description="Show fragment borders in the text, as the paper did.")
    admission: Literal["auto", "on", "off"] = Field("auto", description="When tools are offered.")
    admission_tokens: int | None = Field(
        None,
        ge=0,
        description="Size from which auto offers them; empty: 4096, with the mom backend 1024.",
    )
    window_tokens: int = Field(128_000, ge=1024, description="The upstream model's window.")
    protected_tokens: int = Field(
        600, ge=1, description="Tokens at the newest user message's end that stay visible."
    )
    max_steps: int = Field(20, ge=1, description="Model steps a turn.")
    max_turn_tokens: int = Field(4_000_000, ge=1, description="Input tokens a turn.")
    max_turn_seconds: float = Field(900.0, gt=0, description="Seconds a turn.")
    usage: Literal["final", "sum"] = Field("final", description="Which prompt tokens are reported.")
    ledger: bool = Field(True, description="Show the model a table of its fragments.")
    summarizer: Literal["model", "extractive"] = Field("model", description="Who summarizes.")
    embeddings_model: str = Field("", description="Model for semantic search; empty: none.")
    encoding: str = Field(
        "", description="Tokenizer: o200k_base, cl100k_base or a tokenizer.json; empty: by model."
    )
    strict: bool = Field(False, description="Answer 503 where the context layer cannot work.")
    relay_client_key: bool = Field(True, description="On loopback, pass the client's own key on.")
    body_limit_bytes: int = Field(32 * 1024 * 1024, ge=1024, description="Largest request body.")
    first_byte_timeout: float = Field(300.0, gt=0, description="Wait for an upstream's answer.")
    idle_timeout: float = Field(120.0, gt=0, description="Wait between an upstream's bytes.")
    max_retries: int = Field(2, ge=0, le=5, description="Tries after a failed upstream call.")
    max_running: int = Field(256, ge=1, description="Requests at a time.")
    max_queued: int = Field(512, ge=0, description="Requests that wait.")
    max_running_per_key: int = Field(128, ge=1, description="Requests at a time for one key.")
    keep_alive: float = Field(10.0, ge=0, description="Seconds between comments in a stream.")
    drain_seconds: float = Field(120.0, ge=0, description="Time for streams at shutdown.")
    expire_days: float = Field(30.0, gt=0, description="Sessions unused so long are deleted.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Logs.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.host not in LOOPBACK and not self.keys:
            raise ValueError(
                f"binding {self.host} needs client keys: set [keys] in sculptor.toml, "
                "or bind 127.0.0.1"
            )
        if self.upstream_key_env and not self.upstream:
            raise ValueError("upstream_key_env is set, but no upstream is")
        if self.backend == "openai" and not self.upstream:
            raise ValueError("the openai backend needs an upstream: set --upstream URL")
        if self.encoding:
            encoding_of(self.encoding)
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK

    @property
    def relays_client_key(self) -> bool:
        """Whether each client's own key goes on to the upstream, for want of one of ours."""
        wanted = self.relay_client_key and bool(self.upstream) and not self.upstream_key_env
        return wanted and self.chosen_backend == "openai" and self.is_loopback and not self.keys

    @property
    def chosen_backend(self) -> Backend:
        """The backend in force: with no upstream, ``mom`` where its weights are there."""
        if self.backend or self.upstream:
            return self.backend or "openai"
        return "mom" if self.mom_weights or find_weights() else "scripted"

    @property
    def chosen_admission_tokens(self) -> int:
        """From how many tokens on ``auto`` offers the tools; a small model needs them sooner."""
        if self.admission_tokens is not None:
            return self.admission_tokens
        return MOM_ADMISSION_TOKENS if self.chosen_backend == "mom" else ADMISSION_TOKENS

    @property
    def upstream_key(self) -> str | None:
        """The provider's key, read from the environment variable that the settings name.

        Raises:
            SettingsError: the variable is not set.
        """
        if not self.upstream_key_env:
            return None
        key = os.environ.get(self.upstream_key_env, "").strip()
        if not key:
            raise SettingsError(
                f"{self.upstream_key_env} is not set: export it with the upstream's key, or leave "
                "out --upstream-key-env"
            )
        return key

    @property
    def store_path(self) -> Path | None:
        """The SQLite file, or None for a store in memory."""
        if self.store == "memory":
            return None
        named = Path(self.store).expanduser() if self.store else None
        return own_path(named or state_folder() / "sculptor.sqlite3")


def state_folder() -> Path:
    """Return the platform's folder for what the server keeps."""
    return user_state_path("sculptor")


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> tuple[Settings, dict[str, Source]]:
    """Return the settings in force, and where each comes from.

    Raises:
        SettingsError: a source cannot be read, or the settings contradict themselves.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Source] = dict.fromkeys(Settings.model_fields, "default")
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    layers: tuple[tuple[Source, Mapping[str, Any]], ...] = (
        ("sculptor.toml", _from_file(folder or Path.cwd())),
        ("environment", _from_environment(os.environ if environment is None else environment)),
        ("flag", given),
    )
    for source, layer in layers:
        for key, value in layer.items():
            values[key] = value
            origins[key] = source
    try:
        return Settings.model_validate(values), origins
    except ValidationError as error:
        problems = "; ".join(_problem(item, origins) for item in error.errors())
        raise SettingsError(f"The settings cannot be used: {problems}.") from None


def _from_file(folder: Path) -> dict[str, Any]:
    path = folder / "sculptor.toml"
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path.name} cannot be read: {error}.") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in Settings.model_fields:
        text = environment.get(PREFIX + name.upper())
        if text is not None and text != "":
            found[name] = _READERS[name](text) if name in _READERS else text
    return found


def _keys(text: str) -> dict[str, str]:
    """Read ``tenant=key,tenant=key``; a key alone is the local tenant's.

    Raises:
        SettingsError: a tenant comes twice, or what is there is of another form, such as JSON.
    """
    if found := next((sign for sign in _NO_KEYS if sign in text), None):
        raise _bad_keys(f"holds {found}, and is no JSON or TOML but {_KEYS_FORM}")
    keys: dict[str, str] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, sign, key = item.partition("=")
        tenant = name if sign else "local"
        if tenant in keys:
            raise _bad_keys(f"has several keys for the tenant {tenant}; each has one: {_KEYS_FORM}")
        keys[tenant] = key if sign else name
    return keys


def _bad_keys(problem: str) -> SettingsError:
    return SettingsError(f"The settings cannot be used: {PREFIX}KEYS {problem}.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


_NO_KEYS = '{["'
_KEYS_FORM = "tenant=key,tenant=key (a key alone is the local tenant's)"
_READERS: dict[str, Callable[[str], Any]] = {"keys": _keys, "hosts": _names}


def _problem(item: Mapping[str, Any], origins: Mapping[str, Source]) -> str:
    name = ".".join(map(str, item["loc"]))
    text = str(item["msg"]).removeprefix("Value error, ").removesuffix(".")
    top = str(item["loc"][0]) if item["loc"] else ""
    return f"{name} (from {origins.get(top, 'nowhere')}): {text}" if name else text
