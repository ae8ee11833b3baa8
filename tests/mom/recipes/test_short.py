"""Shortened samples stay within the size they are named for and hold what is asked."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sculptor.evals.registry import find_task
from tests.server.mom.builders import write_weights

RECIPES = Path(__file__).parents[3] / "evals" / "recipes" / "mom"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(RECIPES))
    import short

    yield short
    sys.modules.pop("short", None)


def test_what_is_asked_is_told_in_the_shortened_text(short: ModuleType) -> None:
    for name, shorten in short.KINDS.values():
        task = find_task(name)
        for index in range(8):
            sample = task.sample(shorten(task.draw(index, seed=short.SEED)))
            text = json.dumps([dict(message) for message in sample.messages], ensure_ascii=False)
            assert len(text) < 4_000  # under a thousand tokens
            wanted = sample.reference
            values = wanted.values() if isinstance(wanted, dict) else [wanted]
            for value in values:
                for one in value if isinstance(value, list) else [value]:
                    assert str(one) in text


def test_every_kind_is_asked_with_and_without_the_tools(
    short: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_weights(tmp_path / "weights")
    out = tmp_path / "out"
    asked = ["short.py", "--out", str(out), "--n", "1", "--weights", str(weights)]
    monkeypatch.setattr(sys, "argv", asked)
    short.main()
    result = json.loads((out / "result.json").read_text())
    assert [kind["kind"] for kind in result["kinds"]] == list(short.KINDS)
    assert {kind["n"] for kind in result["kinds"]} == {1}
    assert all(0 < kind["tokens_at_most"] < 1_000 for kind in result["kinds"])
    assert (out / "report.md").read_text().count("\n| ") == 1 + len(short.KINDS)
