"""Proof that no item of an evaluation occurs in training.

Three things are looked for in what a model would be trained on: a reserved word of several words
(a name, a needle's subject or keyword, a value), a stretch of six words that an evaluation's prompt
or filler holds as well (numbers aside), and a sentence that tells kinship in an evaluation's own
words. Single reserved words are refused where words are made; ordinary speech may hold some.

    python -m sculptor.mom.recipes.corpus.leaks --samples 1000
"""

import argparse
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal

import orjson

from sculptor.evals.files import OWN_NEEDLES, OWN_REASONING, DataFiles
from sculptor.evals.filler import FillerPool
from sculptor.evals.needlebench.kinship import GENERATIONS, templates
from sculptor.evals.registry import load_tasks
from sculptor.mom.recipes.corpus.reserved import reserved_names, words_of
from sculptor.mom.recipes.corpus.rollout import texts_of
from sculptor.mom.recipes.corpus.samples import FAMILIES, HELD_OUT, Mix, make_sample

STRETCH_WORDS = 6
_RECORDS = 40
_DRAWS = 2
_SAID_ELSEWHERE = frozenset({"pi-llm-long"})
"""Tasks whose prompts are longer ones of another, word for word, and slow to draw."""

_SHORT_TOKENS = 5_000
"""Longer prompts of a task hold more of the same filler, and nothing else."""

_PLAIN_WORDS = 4
"""A stretch with fewer words than these, numbers and repeats left out, says nothing."""

LeakKind = Literal["name", "stretch", "kinship"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Something of an evaluation's, found in training text."""

    kind: LeakKind
    text: str


def find_leaks(texts: Iterable[str]) -> list[Leak]:
    """Return what of an evaluation's these texts hold, each thing once, in order."""
    found: dict[Leak, None] = {}
    for text in texts:
        found.update(dict.fromkeys(_leaks_of(text)))
    return list(found)


@lru_cache(maxsize=1)
def eval_stretches() -> frozenset[tuple[str, ...]]:
    """Return the stretches of the evaluations' prompts, filler and needles."""
    found: set[tuple[str, ...]] = set()
    for text in _eval_texts():
        found.update(_stretches(text))
    return frozenset(found)


def _eval_texts() -> Iterator[str]:
    files = DataFiles()
    yield from files.text(OWN_NEEDLES).splitlines()
    yield from (text for row in orjson.loads(files.text(OWN_REASONING)) for text in _strings(row))
    for language in ("en", "zh"):
        pool = FillerPool(language=language, count=2**20)
        rng = random.Random(0)
        yield from (pool.text(rng.randrange(len(pool))) for _ in range(_RECORDS))
    tasks = load_tasks()
    for name in sorted(set(tasks) - _SAID_ELSEWHERE):
        task = tasks[name]
        for index in range(min(_DRAWS, len(task))):
            draw = task.draw(index)
            length = draw.get("length", 0)
            if isinstance(length, int) and length <= _SHORT_TOKENS:
                yield from _strings([dict(message) for message in task.sample(draw).messages])


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _leaks_of(text: str) -> Iterator[Leak]:
    for name in reserved_names(text):
        yield Leak(kind="name", text=name)
    for stretch in _stretches(text):
        if stretch in eval_stretches():
            yield Leak(kind="stretch", text=" ".join(stretch))
    for match in _kinship().finditer(text):
        yield Leak(kind="kinship", text=match[0])


def _stretches(text: str) -> Iterator[tuple[str, ...]]:
    words = words_of(text)
    for at in range(len(words) - STRETCH_WORDS + 1):
        stretch = tuple(words[at : at + STRETCH_WORDS])
        if len(set(stretch) - {"0"}) >= _PLAIN_WORDS:
            yield stretch


@lru_cache(maxsize=1)
def _kinship() -> re.Pattern[str]:
    person = r"[A-Z]\w+(?: [A-Z]\w+)?"
    terms = "|".join(GENERATIONS["English"])
    known = {text for style in ("v1", "v2", "elder-only") for text in templates("English", style)}
    patterns = (
        re.escape(text)
        .replace(r"\{A\}", person)
        .replace(r"\{B\}", person)
        .replace(r"\{R\}", f"(?:{terms})")
        for text in sorted(known)
    )
    return re.compile("|".join(patterns))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check samples of a seed and print what was found as JSON; 1 where that is anything."""
    parser = argparse.ArgumentParser(description="Look for items of the evaluations in training.")
    parser.add_argument("--samples", type=int, default=1000, help="samples to check")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples")
    chosen = parser.parse_args(arguments)
    mix = Mix(families=dict.fromkeys(sorted(FAMILIES.keys() - HELD_OUT), 1.0))
    instances = (
        instance
        for index in range(chosen.samples)
        for instance in make_sample(chosen.seed, index, mix=mix).instances
    )
    leaks = find_leaks(texts_of(instances))
    report = {"samples": chosen.samples, "leaks": [asdict(leak) for leak in leaks]}
    sys.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
