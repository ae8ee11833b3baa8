"""The exported tools are those that models are offered."""

from pathlib import Path

import orjson
import pytest

from sculptor.tools import toolset
from sculptor.tools.export import export, exported

FOLDER = Path(__file__).parents[2] / "tools"


@pytest.mark.parametrize(("name", "content"), list(exported()), ids=lambda value: str(value)[:20])
def test_the_files_are_exported_from_the_code(name: str, content: bytes) -> None:
    assert (FOLDER / name).read_bytes() == content, "run: python -m sculptor.tools.export tools"


def test_the_files_hold_what_goes_over_the_wire() -> None:
    for name in ("full", "paper"):
        value = orjson.loads((FOLDER / f"{name}.json").read_bytes())
        assert tuple(orjson.dumps(item) for item in value) == toolset(name).wire


def test_nothing_else_lies_there(tmp_path: Path) -> None:
    written = {place.relative_to(tmp_path) for place in export(tmp_path)}
    there = {place.relative_to(FOLDER) for place in FOLDER.rglob("*") if place.is_file()}
    assert there == written | {Path("README.md")}
