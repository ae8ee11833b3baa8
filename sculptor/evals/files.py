"""Where a task's texts come from: the package's own data, or a folder given with ``--data``.

A draw names the files it needs. A name of ours (``sculptor_…`` and the PI-LLM dictionary) is
package data; every other name is looked up in the folder, directly or in the subfolders
``needlebench`` and ``pi-llm``. Nothing is downloaded, and a missing file is an error that names it.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path

from sculptor.errors import EvalError
from sculptor.evals.types import Json

DICTIONARY = "dict_category_double-word_46-400_v1-1.json"
OWN_NEEDLES = "sculptor_needles.jsonl"
OWN_NAMES = "sculptor_names.json"
OWN_REASONING = "sculptor_reasoning.json"

# The original NeedleBench files nobody may carry, and the files that stand in for them.
_STAND_INS: Mapping[str, tuple[str, ...]] = {
    "needles.jsonl": ("needles_reconstructed.jsonl",),
    "names.json": ("names_substitute.json",),
}
_SUBFOLDERS = ("", "needlebench", "pi-llm", "pi_llm")


class DataFiles:
    """The files a task may read; ``folder`` holds files in the upstream's schema."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise EvalError(f"--data must be a folder; {folder} is none.")
        self.folder = folder

    def has(self, name: str) -> bool:
        """Say whether a file of this name can be read."""
        return self._outside(name) is not None or _own(name) is not None

    def text(self, name: str) -> str:
        """Return a file's text."""
        path = self._outside(name)
        if path is not None:
            return _read(path)
        own = _own(name)
        if own is None:
            raise EvalError(self._missing(name))
        return own

    def json(self, name: str) -> Json:
        """Return a JSON file's content."""
        value: Json = _parse(self.text(name), name)
        return value

    def _outside(self, name: str) -> Path | None:
        if self.folder is None or not _is_plain(name):
            return None
        for candidate in (name, *_STAND_INS.get(name, ())):
            for subfolder in _SUBFOLDERS:
                path = self.folder / subfolder / candidate
                if path.is_file():
                    return path
        return None

    def _missing(self, name: str) -> str:
        name = name if len(name) <= 80 else name[:77] + "..."
        if self.folder is None:
            return f"This draw needs {name}, which is not shipped: give its folder with --data DIR."
        return f"This draw needs {name}, and {self.folder} does not hold it."


def _is_plain(name: str) -> bool:
    """Say whether this is the name of a file, not a path and nothing a file system refuses."""
    return (
        name == Path(name).name and "\0" not in name and len(name.encode(errors="replace")) <= 255
    )


@lru_cache(maxsize=32)
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@lru_cache(maxsize=16)
def _own(name: str) -> str | None:
    if not _is_plain(name):
        return None
    resource = resources.files("sculptor.evals") / "data" / name
    return resource.read_text(encoding="utf-8") if resource.is_file() else None


@lru_cache(maxsize=16)
def _parse(text: str, name: str) -> Json:
    try:
        value: Json = json.loads(text)
    except json.JSONDecodeError as error:
        raise EvalError(f"{name} is not JSON: {error}.") from error
    return value
