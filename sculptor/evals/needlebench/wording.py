"""NeedleBench's prompt texts with their slots filled."""

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache

from sculptor.evals.files import DataFiles

_SLOT = re.compile(r"\{(\w+)\}")


@lru_cache(maxsize=64)
def wording(version: str, language: str, name: str) -> str:
    """Return one text, its standing parts (examples, notes) already in place."""
    texts = _load()[version][language]
    return _fill(
        texts[name], {part: texts[part] for part in ("examples", "notes", "rules") if part in texts}
    )


def fill(version: str, language: str, name: str, **slots: str) -> str:
    """Return a text with its slots filled, in one pass: what is filled in is never searched."""
    return _fill(wording(version, language, name), slots)


def _fill(text: str, slots: Mapping[str, str]) -> str:
    return _SLOT.sub(lambda match: slots.get(match[1], match[0]), text)


@lru_cache(maxsize=1)
def _load() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    return tomllib.loads(DataFiles().text("needlebench_prompts.toml"))
