"""Pages that were committed are what their figures give today."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RECIPES, REPORTS = ROOT / "evals" / "recipes" / "mom", ROOT / "evals" / "reports"


@pytest.fixture(autouse=True)
def _recipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(RECIPES))
    yield
    for name in set(sys.modules) - before:
        if (RECIPES / f"{name}.py").exists():
            del sys.modules[name]


def test_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from card_pages import main

    folder = REPORTS / "mom" / "card"
    for name in ("card.jsonl", "about.json"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.setattr(sys, "argv", ["card_pages.py", str(tmp_path)])
    main()
    for name in ("result.json", "report.md"):
        assert (tmp_path / name).read_text() == (folder / name).read_text()


def test_the_shortened_recipe(tmp_path: Path) -> None:
    from ablation_pages import write_pages

    folder = REPORTS / "mom-model" / "ablations"
    shutil.copy(folder / "result.json", tmp_path)
    write_pages(tmp_path, {})
    assert (tmp_path / "report.md").read_text() == (folder / "report.md").read_text()


def test_the_same_views() -> None:
    from same_views_pages import page

    folder = REPORTS / "mom-model" / "same-views"
    value = json.loads((folder / "result.json").read_text())
    assert "\n".join(page(value)) + "\n" == (folder / "report.md").read_text()
