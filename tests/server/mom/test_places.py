import shutil
from pathlib import Path

import orjson
import pytest

from sculptor.errors import SettingsError
from sculptor.server.app import make_backend
from sculptor.server.mom import places
from sculptor.server.mom.loading import load_model
from sculptor.server.settings import Settings, load_settings
from tests.server.mom.builders import NAME, WINDOW_TOKENS


def chosen(**fields: object) -> str:
    return Settings.model_validate(fields).chosen_backend


def test_weights_in_the_package_make_the_model_the_default(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "none")
    assert chosen() == "scripted"
    assert chosen(mom_weights=str(weights)) == "mom"
    monkeypatch.setattr(places, "SHIPPED", weights)
    assert chosen() == "mom"
    assert make_backend(Settings()).names == (NAME,)
    assert chosen(upstream="http://127.0.0.1:1/v1") == "openai"
    assert chosen(backend="scripted") == "scripted"


def test_without_weights_it_is_told_how_to_make_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "none")
    for folder in ("", str(tmp_path)):
        settings = Settings.model_validate({"backend": "mom", "mom_weights": folder})
        with pytest.raises(
            SettingsError, match=r"sculptor mom train .*sculptor mom export"
        ) as told:
            make_backend(settings)
        assert folder in str(told.value)


def test_the_folder_can_come_from_the_environment(weights: Path, tmp_path: Path) -> None:
    told = {"SCULPTOR_MOM_WEIGHTS": str(weights), "SCULPTOR_MOM_MEMORY_MIB": "7"}
    settings, _ = load_settings(environment=told, folder=tmp_path)
    assert (settings.chosen_backend, settings.mom_memory_mib) == ("mom", 7)


def test_a_folder_says_how_it_is_served(weights: Path, tmp_path: Path) -> None:
    loaded = load_model(weights)
    assert (loaded.name, loaded.window_tokens) == (NAME, WINDOW_TOKENS)
    copy = shutil.copytree(weights, tmp_path / "copy")
    (copy / "tokenizer.json").unlink()
    about = orjson.loads((copy / "config.json").read_bytes())
    del about["serving"]
    (copy / "config.json").write_bytes(orjson.dumps(about))
    plain = load_model(copy)
    assert (plain.name, plain.window_tokens) == ("sculptor-mom", 32_768)
    assert plain.fingerprint != loaded.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b"{", "cannot be read"),
        ("weights-1-of-1.safetensors", b"cut", "is damaged"),
        ("tokenizer.json", b"{}", "holds no tokenizer"),
        ("serving", {"name": "x", "window_tokens": 3}, "at least 1024"),
        ("serving", {"name": "", "window_tokens": 4096}, "needs a name"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(
    weights: Path, tmp_path: Path, name: str, content: object, words: str
) -> None:
    copy = shutil.copytree(weights, tmp_path / "copy")
    if isinstance(content, bytes):
        (copy / name).write_bytes(content)
    else:
        about = orjson.loads((copy / "config.json").read_bytes()) | {name: content}
        (copy / "config.json").write_bytes(orjson.dumps(about))
    with pytest.raises(SettingsError, match=words):
        load_model(copy)


def test_a_tokenizer_of_another_size_is_refused(weights: Path, tmp_path: Path) -> None:
    from sculptor.mom.recipes.tokenizer import train_tokenizer

    copy = shutil.copytree(weights, tmp_path / "copy")
    small = train_tokenizer(["some words to learn from"], vocab_size=500)
    (copy / "tokenizer.json").write_bytes(small.to_json())
    with pytest.raises(SettingsError, match=r"know 4096 tokens, their tokenizer"):
        load_model(copy)


def test_a_gpu_that_is_not_there_is_told(weights: Path) -> None:
    settings = Settings.model_validate({"mom_weights": str(weights), "mom_device": "cuda"})
    with pytest.raises(SettingsError, match="leave it at cpu"):
        make_backend(settings)
