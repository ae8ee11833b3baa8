"""Ordinary questions: what is wanted is what the text says, and every cell is counted."""

import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.server.mom.builders import write_weights

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"


@pytest.fixture
def everyday(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(RECIPES))
    import everyday

    yield everyday
    for name in ("everyday", "everyday_texts", "origin"):
        sys.modules.pop(name, None)


def last_words(text: str, subject: str) -> str:
    """Return the word at the end of the last line or sentence that begins with this subject."""
    said = re.findall(rf"(?:^|[\n ]){re.escape(subject)} [^.\n]*?(\w+)(?=[.\n]|$)", text)
    return said[-1]


@pytest.mark.parametrize("lines", [1, 40, 200])
def test_the_answer_wanted_is_the_last_that_the_text_gives(
    everyday: ModuleType, lines: int
) -> None:
    for seed in range(20):
        listed = everyday.KINDS["newest value in a list"](random.Random(seed), lines)
        subject = re.search(r"widget \d+", listed.question)
        assert subject
        assert last_words(listed.text, subject[0]) == listed.wanted
        told = everyday.KINDS["newest value in prose"](random.Random(seed), lines)
        name = re.search(r"does (.+) live", told.question)
        assert name
        assert last_words(told.text, name[1]) == told.wanted


def test_a_fact_is_said_once_and_what_is_absent_never(everyday: ModuleType) -> None:
    asked = everyday.KINDS["a fact said once"](random.Random(1), 100)
    thing = asked.question.removeprefix("Where is ").removesuffix(" kept?")
    assert asked.text.lower().count(f"{thing} is kept in the {asked.wanted}") == 1
    absent = everyday.KINDS["what is not there"](random.Random(1), 100)
    assert "telescope" in absent.question
    assert "telescope" not in absent.text


def test_every_cell_is_asked_and_reported(
    everyday: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_weights(tmp_path / "weights")
    monkeypatch.setattr(everyday, "LINES", (3, 400))
    out = tmp_path / "out"
    asked = ["everyday.py", "--out", str(out), "--n", "1", "--weights", str(weights)]
    monkeypatch.setattr(sys, "argv", asked)
    everyday.main()
    result = json.loads((out / "result.json").read_text())
    assert len(result["cells"]) == len(everyday.KINDS) * 2 * 2
    assert {cell["n"] for cell in result["cells"]} == {1}
    offered = {(cell["lines"], cell["mode"]): cell["offered"] for cell in result["cells"]}
    assert offered == {(3, "off"): 0, (3, "auto"): 0, (400, "off"): 0, (400, "auto"): 1}
    assert (out / "report.md").read_text().count("\n| ") == 1 + len(everyday.KINDS) * 2
