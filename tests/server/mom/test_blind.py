"""The engine, the language and the backend hold nothing of an evaluation: no name, no pattern."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson
import pytest

import sculptor
from sculptor.evals.files import DICTIONARY, DataFiles
from sculptor.evals.registry import load_tasks
from sculptor.mom.language.protocol import SPELLINGS
from sculptor.mom.recipes.corpus.leaks import Leak, find_leaks
from tests.server.mom.builders import TOKENIZER

ROOT = Path(sculptor.__file__).parent
FOLDERS = [ROOT / "mom" / "engine", ROOT / "mom" / "language", ROOT / "server" / "mom"]
SOURCES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
FAMILIES = (
    r"pi.?llm\w*|needle\w*|haystack\w*|ruler|mrcr|niah|kinship|ancestor\w*|tool.?log|"
    r"variable.?tracking|interference|benchmark\w*|sculptor\.evals"
)


def names() -> re.Pattern[str]:
    """What evaluations are called, and the keys of the updating streams that are several words."""
    tasks = sorted(load_tasks(), key=len, reverse=True)
    keys = [key for key in orjson.loads(DataFiles().text(DICTIONARY)) if " " in key]
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, [*tasks, *keys]))}|{FAMILIES})\b", re.I)


def phrases_of_evals(texts: Iterable[str]) -> list[Leak]:
    """Return what of prompts, filler and needles these texts hold.

    Names alone do not count: among thousands of values some are words of every day.
    """
    return [leak for leak in find_leaks(texts) if leak.kind != "name"]


def literals(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_a_source_knows_no_evaluation(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert names().findall(source) == []
    assert phrases_of_evals(literals(source)) == []


def test_the_vocabulary_holds_no_phrase_of_an_evaluation() -> None:
    tokens = [TOKENIZER.token_bytes(token) for token in range(TOKENIZER.vocab_size)]
    texts = [token.decode(errors="replace") for token in tokens if token]
    assert phrases_of_evals(texts) == []
    assert [text for text in texts if names().search(text)] == []
    assert not any(names().search(spelling.decode()) for spelling in SPELLINGS.values())


def test_what_is_looked_for_would_be_found() -> None:
    task = load_tasks()["pi-llm"]
    prompt = str(task.sample(task.draw(0)).messages[-1]["content"])
    assert phrases_of_evals([prompt])
    assert names().search("if task == 'pi-llm':")
    assert names().search("NeedleBench")
    assert names().search("the key is Visual Art")
    assert len(SOURCES) > 30
