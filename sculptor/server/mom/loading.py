"""A weights folder as a model that can be served: weights, vocabulary, and what it says of itself.

``config.json`` may hold a member ``serving`` with the model's ``name`` and ``window_tokens``, the
longest view it was trained for; a ``tokenizer.json`` beside it goes before the shipped one.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import orjson

from sculptor.errors import SettingsError
from sculptor.mom.engine.weights import Weights, WeightsError, load_weights
from sculptor.mom.language.tokenizer import Tokenizer, TokenizerError, load_tokenizer

DEFAULT_NAME = "sculptor-mom"
DEFAULT_WINDOW_TOKENS = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What a weights folder holds; ``fingerprint`` tells one set of weights from another."""

    name: str
    window_tokens: int
    fingerprint: str
    weights: Weights
    tokenizer: Tokenizer


def load_model(folder: Path) -> LoadedModel:
    """Load a weights folder.

    Raises:
        SettingsError: something in it is missing, damaged, or does not fit the rest.
    """
    own = folder / "tokenizer.json"
    try:
        weights = load_weights(folder)
        tokenizer = load_tokenizer(own if own.is_file() else None)
    except (WeightsError, TokenizerError) as error:
        raise SettingsError(str(error)) from error
    if weights.config.vocab_size != tokenizer.vocab_size:
        raise SettingsError(
            f"The weights in {folder} know {weights.config.vocab_size} tokens, their tokenizer "
            f"{tokenizer.vocab_size}; put the tokenizer.json they were trained with beside them."
        )
    config = (folder / "config.json").read_bytes()
    name, window = _serving(config, folder)
    digest = hashlib.sha256(config).hexdigest()[:10]
    return LoadedModel(
        name=name,
        window_tokens=window,
        fingerprint=f"mom_{digest}",
        weights=weights,
        tokenizer=tokenizer,
    )


def describe_model(
    folder: Path,
    *,
    tokenizer: Tokenizer,
    name: str = DEFAULT_NAME,
    window_tokens: int = DEFAULT_WINDOW_TOKENS,
) -> None:
    """Write into exported weights how they are served, with the tokenizer they were trained on."""
    path = folder / "config.json"
    value = orjson.loads(path.read_bytes())
    value["serving"] = {"name": name, "window_tokens": window_tokens}
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    (folder / "tokenizer.json").write_bytes(tokenizer.to_json())


def _serving(config: bytes, folder: Path) -> tuple[str, int]:
    told = orjson.loads(config).get("serving", {})
    name, window = DEFAULT_NAME, DEFAULT_WINDOW_TOKENS
    if isinstance(told, dict):
        name, window = told.get("name", name), told.get("window_tokens", window)
    if not isinstance(name, str) or not name or not isinstance(window, int) or window < 1_024:
        raise SettingsError(
            f'"serving" in {folder / "config.json"} needs a name and window_tokens of at least '
            "1024; export the weights again."
        )
    return name, window
