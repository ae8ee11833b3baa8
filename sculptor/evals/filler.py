"""Filler text of our own, as much as asked for, the same on every machine.

A pool is a list of records like an upstream haystack file, but its records are written when they
are read: record ``i`` of a language depends on nothing but ``(language, i)``. A pool's file name
says what it holds, ``sculptor_filler_en_160k.jsonl`` being 160 records of at least 1,000 cl100k
tokens each, so a longer suite names a larger pool and none is silently short.
"""

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sculptor.errors import EvalError
from sculptor.evals.files import DataFiles
from sculptor.evals.types import derive_seed

MIN_RECORD_TOKENS = 1000

_POOL_NAME = re.compile(r"sculptor_filler_(en|zh)_(\d+)k\.jsonl")
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa]) ([aeiou])")
# A record stops at the first paragraph past this; enough for MIN_RECORD_TOKENS in cl100k_base.
_RECORD_CHARS = {"en": 6000, "zh": 1100}
_SHAPE = ("claim", "detail", "claim", "turning", "detail", "claim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Templates by their place in a paragraph, and the words that fill their slots."""

    templates: Mapping[str, Sequence[str]]
    shared: Mapping[str, Sequence[str]]
    topics: Sequence[Mapping[str, Sequence[str]]]

    def words(self) -> set[str]:
        """Return every text of the grammar, for leakage checks."""
        lists = [*self.templates.values(), *self.shared.values()]
        lists += [texts for topic in self.topics for texts in topic.values()]
        return {text for texts in lists for text in texts}


@dataclass(frozen=True, slots=True, kw_only=True)
class FillerPool:
    """A haystack of ``count`` records in one language (``en`` or ``zh``)."""

    language: str
    count: int

    def __len__(self) -> int:
        return self.count

    def text(self, index: int) -> str:
        """Return one record: a short essay on one topic."""
        return _record(self.language, index)


def pool_name(language: str, tokens: int) -> str:
    """Return the file name of the pool that holds at least so many tokens."""
    return f"sculptor_filler_{language}_{-(-tokens // MIN_RECORD_TOKENS)}k.jsonl"


def open_pool(name: str) -> FillerPool | None:
    """Return the pool of this file name, or ``None`` if the name is not a pool's."""
    match = _POOL_NAME.fullmatch(name)
    if match is None:
        return None
    if int(match[2]) < 1:
        raise EvalError(f"{name} holds nothing; name a size of at least 1k.")
    return FillerPool(language=match[1], count=int(match[2]))


@lru_cache(maxsize=2)
def grammar(language: str) -> Grammar:
    """Load the grammar of ``en`` or ``zh``."""
    parsed = tomllib.loads(DataFiles().text(f"sculptor_filler_{language}.toml"))
    return Grammar(templates=parsed["templates"], shared=parsed["shared"], topics=parsed["topics"])


@lru_cache(maxsize=256)
def _record(language: str, index: int) -> str:
    rng = random.Random(derive_seed("filler", language, index))
    source = grammar(language)
    writer = _Writer(rng, source, {**source.shared, **rng.choice(source.topics)})
    joint = "" if language == "zh" else " "
    paragraphs: list[str] = []
    while sum(map(len, paragraphs)) < _RECORD_CHARS[language]:
        paragraphs.append(joint.join(writer.sentence(kind) for kind in _shape(rng)))
    return "\n\n".join(paragraphs) + "\n\n"


def _shape(rng: random.Random) -> list[str]:
    shape = ["opening", *rng.sample(_SHAPE, rng.randint(3, len(_SHAPE))), "closing"]
    return shape[:-1] if rng.random() < 0.4 else shape


class _Writer:
    """One essay in the making: every template of a kind is used once before one comes again."""

    def __init__(
        self, rng: random.Random, source: Grammar, topic: Mapping[str, Sequence[str]]
    ) -> None:
        self._rng, self._source, self._topic = rng, source, topic
        self._bags: dict[str, list[str]] = {}

    def sentence(self, kind: str) -> str:
        used: set[str] = set()

        def fill(match: re.Match[str]) -> str:
            words = self._topic[match[1]]
            word = self._rng.choice([word for word in words if word not in used] or words)
            used.add(word)
            return word

        text = _ARTICLE.sub(r"\1n \2", _SLOT.sub(fill, self._template(kind)))
        return text[:1].upper() + text[1:]

    def _template(self, kind: str) -> str:
        bag = self._bags.get(kind)
        if not bag:
            every = self._source.templates[kind]
            bag = self._bags[kind] = self._rng.sample(every, len(every))
        return bag.pop()
