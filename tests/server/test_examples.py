"""What an operator copies: example settings, container, compose file."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml

from sculptor.server.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "server" / "sculptor.example.toml"
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"


def test_the_example_holds_every_setting_at_its_default(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    values = tomllib.loads(text)
    defaults = Settings().model_dump()
    assert {name: list(v) if isinstance(v, tuple) else v for name, v in defaults.items()} == (
        {**dict.fromkeys(("backend", "admission_tokens")), "keys": {}, **values}
    )
    for name in set(defaults) - set(values):
        assert re.search(rf"^# \[?{name}\b", text, re.MULTILINE), name
    (tmp_path / "sculptor.toml").write_text(text, encoding="utf-8")
    assert load_settings(environment={}, folder=tmp_path)[0] == Settings()


def test_what_the_example_comments_out_can_be_set(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace('upstream = ""', 'upstream = "http://u/v1"')
    text = re.sub(
        r"^# (?=\[?(?:backend|admission_tokens|keys|local)\b)", "", text, flags=re.MULTILINE
    )
    (tmp_path / "sculptor.toml").write_text(text, encoding="utf-8")
    settings, origins = load_settings(environment={}, folder=tmp_path)
    assert settings.backend == "openai"
    assert list(settings.keys) == ["local"]
    assert set(origins.values()) == {"sculptor.toml"}


def test_the_image_is_made_of_what_is_there_and_starts_what_is_installed() -> None:
    steps = list(_instructions(DOCKERFILE.read_text(encoding="utf-8")))
    names = [name for name, _ in steps]
    assert names.count("FROM") == 2
    assert names[-2:] == ["ENTRYPOINT", "CMD"]
    for name, rest in steps:
        if name == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest
            assert {source.removeprefix("./") for source in sources} <= _sent_to_the_build()
    users = [rest for name, rest in steps if name == "USER"]
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")
    settings = _settings_of(steps)
    assert settings.host == "0.0.0.0"
    assert settings.port == 8484
    assert ("EXPOSE", "8484") in steps
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert dict(steps)["ENTRYPOINT"] == '["sculptor"]'
    assert "sculptor" in script


def test_the_compose_file_serves_this_machine_and_demands_keys() -> None:
    service = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["sculptor"]
    assert service["ports"] == ["127.0.0.1:8484:8484"]
    assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    environment: dict[str, str] = service["environment"]
    assert environment["SCULPTOR_KEYS"].startswith("${SCULPTOR_KEYS:?")
    known = {f"SCULPTOR_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in environment if name.startswith("SCULPTOR_")} <= known
    grace_s = int(service["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings().drain_seconds
    volumes = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["volumes"]
    assert {mount.partition(":")[0] for mount in service["volumes"]} == set(volumes)


def _instructions(text: str) -> "list[tuple[str, str]]":
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = (line.strip().partition(" ") for line in joined.splitlines())
    return [(name, " ".join(rest.split())) for name, _, rest in pairs]


def _settings_of(steps: "list[tuple[str, str]]") -> Settings:
    given: dict[str, Any] = {}
    for name, rest in steps:
        if name == "ENV":
            given.update(pair.split("=", 1) for pair in shlex.split(rest))
    environment = {**given, "SCULPTOR_KEYS": "local=key"}
    unknown = {
        name
        for name in given
        if name.startswith("SCULPTOR_") and name[9:].lower() not in Settings.model_fields
    }
    assert not unknown
    return load_settings(environment=environment, folder=Path("/nonexistent"))[0]


def _sent_to_the_build() -> set[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    return {line.removeprefix("!") for line in lines if line.startswith("!")}
