"""Places in a text that nearly equal a query, case aside.

Similarity is rapidfuzz's normalised Indel similarity, 0 to 100, always with a cutoff. Its alignment
is quick up to 64 characters, one machine word; a longer query is looked for by its first and its
last 64 characters, and each place so found is then compared as a whole. Texts are read in windows
of bounded length, so the time is linear in the text whatever is found.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sculptor._caseless import Caseless, caseless
from sculptor.errors import ToolError

if TYPE_CHECKING:
    from rapidfuzz.distance import ScoreAlignment

MAX_QUERY_CHARS = 2_000
FUZZY_CUTOFF = 80.0
NEAR_CUTOFF = 60.0
_WORD_CHARS = 64
_NEAR_WINDOW_CHARS = 4_096


class Near(NamedTuple):
    """A span of one text that nearly equals the query; ``score`` from 0 to 100."""

    score: float
    start: int
    end: int


class _Seed(NamedTuple):
    text: str
    offset: int


def fuzzy_matcher(query: str) -> Callable[[str], Iterator[tuple[int, int, float]]]:
    """Return what yields the spans of a text that nearly equal ``query``, in order, apart.

    Raises:
        ToolError: the query is too long to be compared.
    """
    if len(query) > MAX_QUERY_CHARS:
        raise ToolError(
            "QUERY_TOO_LONG",
            f"A fuzzy query has at most {MAX_QUERY_CHARS} characters; this one has {len(query)}."
            " Search for a shorter, telling part of it.",
        )
    needle = caseless(query).text
    window = max(256, 4 * min(len(needle), _WORD_CHARS))

    def matches(text: str) -> Iterator[tuple[int, int, float]]:
        hay = caseless(text)
        if not _may_hold(needle, hay.text):
            return
        found: list[Near] = []
        for seed in _seeds(needle):
            found += _near(needle, seed, hay, window=window, cutoff=lambda: FUZZY_CUTOFF)
        for near in _apart(found):
            yield near.start, near.end, near.score / 100

    return matches


def nearest_spans(texts: Sequence[str], query: str, *, limit: int) -> list[tuple[int, Near]]:
    """Return the places most like ``query`` with the index of their text, best first.

    Of equal stretches only the first is returned. The end of a long query is looked for only where
    its beginning is nowhere; what is too long to be compared is left out.
    """
    needle = caseless(query[:MAX_QUERY_CHARS]).text
    best = _Best(limit)
    for seed in _seeds(needle):
        for index, text in enumerate(texts):
            hay = caseless(text)
            for near in _near(needle, seed, hay, window=_NEAR_WINDOW_CHARS, cutoff=best.cutoff):
                best.add(index, near, text[near.start : near.end])
        if best.heap:
            break
    ranked = sorted(best.heap, reverse=True)
    return [(-index, Near(score, -start, end)) for score, index, start, end in ranked]


class _Best:
    """The best places so far; the cutoff rises with them."""

    def __init__(self, limit: int) -> None:
        self.heap: list[tuple[float, int, int, int]] = []
        self._limit = limit
        self._known: set[str] = set()

    def cutoff(self) -> float:
        return self.heap[0][0] + 0.01 if len(self.heap) >= self._limit else NEAR_CUTOFF

    def add(self, index: int, near: Near, stretch: str) -> None:
        if near.score < self.cutoff() or stretch in self._known:
            return
        self._known.add(stretch)
        heapq.heappush(self.heap, (near.score, -index, -near.start, near.end))
        if len(self.heap) > self._limit:
            heapq.heappop(self.heap)


def _near(
    needle: str, seed: _Seed, hay: Caseless, *, window: int, cutoff: Callable[[], float]
) -> Iterator[Near]:
    """Yield candidate places of the original text, at most one for each window."""
    for begin in range(0, max(len(hay.text), 1), window):
        stretch = hay.text[begin : begin + window + 2 * len(seed.text)]
        found = _align(seed.text, stretch, cutoff())
        if found is None:
            continue
        start, end, score = begin + found.dest_start, begin + found.dest_end, found.score
        if len(needle) > len(seed.text):
            start = max(0, start - seed.offset)
            end = min(len(hay.text), start + len(needle))
            score = _similarity(needle, hay.text[start:end], cutoff())
        if score and start < end:
            yield Near(score, *hay.span(start, end))


def _seeds(needle: str) -> list[_Seed]:
    if len(needle) <= _WORD_CHARS:
        return [_Seed(needle, 0)]
    last = len(needle) - _WORD_CHARS
    return [_Seed(needle[:_WORD_CHARS], 0), _Seed(needle[last:], last)]


def _may_hold(needle: str, text: str) -> bool:
    return any(_align(seed.text, text, FUZZY_CUTOFF) for seed in _seeds(needle))


def _align(seed: str, text: str, cutoff: float) -> "ScoreAlignment | None":
    """Align the seed within a text; a text shorter than the seed is compared as a whole."""
    from rapidfuzz import fuzz
    from rapidfuzz.distance import ScoreAlignment

    if len(text) < len(seed):
        score = fuzz.ratio(seed, text, score_cutoff=cutoff)
        return ScoreAlignment(score, 0, len(seed), 0, len(text)) if score else None
    return fuzz.partial_ratio_alignment(seed, text, score_cutoff=cutoff)


def _similarity(left: str, right: str, cutoff: float) -> float:
    from rapidfuzz import fuzz

    return fuzz.ratio(left, right, score_cutoff=cutoff)


def _apart(found: Iterable[Near]) -> list[Near]:
    """Return the places in order; of neighbours that overlap, the better one."""
    kept: list[Near] = []
    for near in sorted(found, key=lambda near: (near.start, near.end)):
        if not kept or near.start >= kept[-1].end:
            kept.append(near)
        elif near.score > kept[-1].score:
            kept[-1] = near
    return kept
