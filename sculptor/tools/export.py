"""The tools as files, for people of other languages: ``python -m sculptor.tools.export [FOLDER]``.

``tools/`` at the top of the repository is written by this and held against the code by a test, so
that what is copied from there is what models are offered here.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import orjson

from sculptor.summaries import SUMMARY_PROMPT
from sculptor.tools.registry import ToolsetName, toolset


def exported() -> Iterator[tuple[str, bytes]]:
    """Yield each file's name below the folder, and its content."""
    for name in get_args(ToolsetName):
        definitions = [tool.definition() for tool in toolset(name).tools.values()]
        yield f"{name}.json", orjson.dumps(definitions, option=orjson.OPT_INDENT_2) + b"\n"
    yield "prompts/summarize.txt", SUMMARY_PROMPT.encode() + b"\n"


def export(folder: Path) -> list[Path]:
    """Write all files into a folder and return them."""
    written: list[Path] = []
    for name, content in exported():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        written.append(place)
    return written


if __name__ == "__main__":
    print(*export(Path(sys.argv[1] if len(sys.argv) > 1 else "tools")), sep="\n")
