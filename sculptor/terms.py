"""The words a text is found by in ranked search, and how rankings are joined.

A term is a case-folded, compatibility-normalised word of letters, marks and digits. Scripts written
without spaces, and Korean, whose words carry their particles, give overlapping pairs of characters,
so that a query finds them wherever a word begins. An identifier gives itself and its parts. The
text itself is never changed: terms exist for the index alone.
"""

import re
import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Protocol, TypeVar, cast

Item = TypeVar("Item", bound=Hashable)

MAX_TERM_CHARS = 64
RANK_OFFSET = 60

_ASCII_WORD = re.compile(r"[A-Za-z0-9_]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_PAIRED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々]"


class Embedder(Protocol):
    """Turns texts into vectors of one length; whose model it is, it says in ``name``."""

    name: str

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, in order."""
        ...


def terms(text: str) -> list[str]:
    """Return the terms of a text in order, repeated as often as they occur."""
    if text.isascii():
        return list(_words_terms(_ASCII_WORD.findall(text)))
    return list(_mixed_terms(unicodedata.normalize("NFKC", text)))


def reciprocal_rank_fusion(
    rankings: Iterable[Sequence[Item]], *, offset: int = RANK_OFFSET
) -> list[tuple[Item, float]]:
    """Join rankings into one, best first: each item scores the sum of 1 / (offset + its rank).

    Equal scores keep the order in which the items were first met. The method and its offset of 60
    are those of Cormack, Clarke and Büttcher (SIGIR 2009).
    """
    scores: dict[Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(dict.fromkeys(ranking), start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (offset + rank)
    return sorted(scores.items(), key=lambda scored: -scored[1])


def cosine_ranking(
    query: Sequence[float], vectors: Sequence[Sequence[float]], *, limit: int
) -> list[tuple[int, float]]:
    """Return the indexes of the vectors nearest to ``query`` with their cosine, best first.

    Raises:
        ValueError: the vectors do not all have the query's length.
    """
    import numpy as np

    if not vectors or limit < 1:
        return []
    matrix, wanted = np.asarray(vectors, dtype=np.float32), np.asarray(query, dtype=np.float32)
    if matrix.shape != (len(vectors), len(wanted)):
        raise ValueError(f"the query has {len(wanted)} dimensions, the vectors have others")
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(wanted)
    cosines = matrix @ wanted / np.where(lengths == 0, 1, lengths)
    order = np.argsort(-cosines, kind="stable")[:limit]
    return [(int(index), float(cosines[index])) for index in order]


def _words_terms(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word.islower() and len(word) <= MAX_TERM_CHARS and "_" not in word:
            yield word
        else:
            yield from _word_terms(word)


def _mixed_terms(text: str) -> Iterator[str]:
    for found in _runs().finditer(text):
        word = found.group()
        if found.lastgroup == "pairs":
            yield from _pairs(word.casefold())
        else:
            yield from _word_terms(word)


def _word_terms(word: str) -> Iterator[str]:
    folded = word.casefold().strip("_")
    if not folded:
        return
    yield folded[:MAX_TERM_CHARS]
    parts: list[str] = _PART.findall(word)
    if len(parts) > 1 and word.isascii():
        yield from (part.lower()[:MAX_TERM_CHARS] for part in parts)


def _pairs(run: str) -> Iterator[str]:
    """Yield each two neighbours, and the last one alone: each character begins one term."""
    yield from map("".join, pairwise(run))
    yield run[-1]


@cache
def _runs() -> "re.Pattern[str]":
    import regex  # type: ignore[import-untyped]  # it ships no annotations

    pattern = rf"(?P<pairs>{_PAIRED}+)|(?P<word>(?:(?!{_PAIRED})[\p{{L}}\p{{M}}\p{{N}}_])+)"
    return cast("re.Pattern[str]", regex.compile(pattern))
