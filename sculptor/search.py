"""Search over the originals of a conversation.

Texts are searched as they came, and a match is a span of code points in the text it lies in. Every
mode is bounded: exact and case-blind search run at the speed of ``str.find``; a pattern that a
model wrote runs in RE2, which cannot backtrack; fuzzy search always has a cutoff. What is shown of
a match is widened to grapheme borders, so no excerpt begins or ends inside a character.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from sculptor._caseless import caseless
from sculptor._fuzzy import fuzzy_matcher, nearest_spans
from sculptor._patterns import pattern_matcher
from sculptor.cutting import snap
from sculptor.terms import Embedder, cosine_ranking, reciprocal_rank_fusion, terms

__all__ = [
    "Embedder",
    "Match",
    "Mode",
    "Order",
    "Window",
    "cosine_ranking",
    "count",
    "excerpt",
    "find",
    "merge_windows",
    "nearest",
    "reciprocal_rank_fusion",
    "terms",
]

Mode = Literal["exact", "ignore_case", "regex", "fuzzy"]
Order = Literal["first", "last"]

DEFAULT_LIMIT = 1_000
COUNT_LIMIT = 10_000
"""Where ``count`` stops in patterns and fuzzy search, whose matches are made one by one."""

_Matcher = Callable[[str], Iterator[tuple[int, int, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A span of the text at ``index``; ``score`` is 1 unless the match is only similar."""

    index: int
    start: int
    end: int
    score: float = 1.0


class Window(NamedTuple):
    """A stretch of one text to be shown, on grapheme borders."""

    start: int
    end: int


def find(
    texts: Sequence[str],
    query: str,
    *,
    mode: Mode = "exact",
    order: Order = "first",
    limit: int = DEFAULT_LIMIT,
) -> list[Match]:
    """Return up to ``limit`` matches: the first in their order, or the last, latest first.

    Matches of one text do not overlap and are taken from its start in either order. An empty query
    matches nothing.

    Raises:
        ToolError: ``BAD_PATTERN``, ``PATTERN_TOO_COSTLY`` or ``QUERY_TOO_LONG``, in words for the
            model.
    """
    if not query or limit < 1:
        return []
    matcher = _matcher(query, mode)
    if order == "first":
        return list(islice(_matches(texts, matcher), limit))
    found: list[Match] = []
    for index in range(len(texts) - 1, -1, -1):
        latest = deque(matcher(texts[index]), maxlen=limit - len(found))
        found += (
            Match(index=index, start=start, end=end, score=score)
            for start, end, score in reversed(latest)
        )
        if len(found) == limit:
            break
    return found


def count(texts: Iterable[str], query: str, *, mode: Mode = "exact") -> int:
    """Return how many matches there are in all; patterns and fuzzy search stop at 10,000.

    Raises:
        ToolError: as ``find`` does.
    """
    if not query:
        return 0
    if mode == "exact":
        return sum(text.count(query) for text in texts)
    if mode == "ignore_case":
        return sum(1 for _ in _matches(texts, _ignore_case(query)))
    return sum(1 for _ in islice(_matches(texts, _matcher(query, mode)), COUNT_LIMIT))


def nearest(texts: Sequence[str], query: str, *, limit: int = 3) -> list[Match]:
    """Return the places most like a query that was not found, best first, case aside.

    Stretches that read the same are named once; what is less than 60 % alike is not near.
    """
    if not query.strip():
        return []
    found = nearest_spans(texts, query, limit=limit)
    return [
        Match(
            index=index,
            start=snap(texts[index], near.start, up=False),
            end=snap(texts[index], near.end, up=True),
            score=near.score / 100,
        )
        for index, near in found
    ]


def excerpt(text: str, start: int, end: int, *, context_size: int) -> Window:
    """Return the span with ``context_size`` code points on each side, on grapheme borders."""
    return Window(
        snap(text, max(start - context_size, 0), up=False),
        snap(text, min(end + context_size, len(text)), up=True),
    )


def merge_windows(windows: Iterable[tuple[int, int]]) -> list[Window]:
    """Return the windows of one text in order, those that overlap or touch made one."""
    merged: list[Window] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(end, merged[-1].end))
        else:
            merged.append(Window(start, end))
    return merged


def _matches(texts: Iterable[str], matcher: _Matcher) -> Iterator[Match]:
    for index, text in enumerate(texts):
        for start, end, score in matcher(text):
            yield Match(index=index, start=start, end=end, score=score)


def _matcher(query: str, mode: Mode) -> _Matcher:
    makers: dict[Mode, Callable[[str], _Matcher]] = {
        "exact": _exact,
        "ignore_case": _ignore_case,
        "regex": pattern_matcher,
        "fuzzy": fuzzy_matcher,
    }
    return makers[mode](query)


def _exact(query: str) -> _Matcher:
    length = len(query)

    def matches(text: str) -> Iterator[tuple[int, int, float]]:
        at = text.find(query)
        while at >= 0:
            yield at, at + length, 1.0
            at = text.find(query, at + length)

    return matches


def _ignore_case(query: str) -> _Matcher:
    plain = _exact(caseless(query).text)

    def matches(text: str) -> Iterator[tuple[int, int, float]]:
        hay = caseless(text)
        reached = 0
        for start, end, score in plain(hay.text):
            span = hay.span(start, end)
            if span[0] >= reached:
                reached = span[1]
                yield *span, score

    return matches
