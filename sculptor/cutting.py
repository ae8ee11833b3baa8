"""Where a text may be cut.

Every place handed out here lies on a grapheme border (``regex``'s ``\\X``), so that no emoji, flag,
accent, Hangul syllable or CRLF is ever torn. Among these, cuts go to natural boundaries: after a
line end (a blank line, where there is one), a sentence or a record; else between words; and inside
a word only where there is nothing else. All offsets are code points of the whole text. Work is
linear in the length of the range, whatever the text.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from sculptor.tokens import TokenCounter

_TOLERANCE = 0.1
_SLACK_CHARS = 64
_CHARS_A_TOKEN = 8
_MARGIN_TOKENS = 16

_LINE_END = r"(?:\r\n|[\n\r\x85\u2028\u2029])"
_BOUNDARIES = (
    rf"{_LINE_END}(?:[ \t]*+{_LINE_END})*+",
    r"[.!?…؟۔।][\"'”’»)\]]{0,8}[ \t]++",
    r"[。！？；｡][”’」』）】》]{0,8}\s?+",
    r";[ \t]++",
)

_WORD = r"[\p{L}\p{M}\p{N}_]"
# Scripts written without spaces: any two of their characters may be parted.
_SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_GAP = rf"(?=\S)(?:(?<!{_WORD})|(?!{_WORD})|(?<={_SPACELESS})|(?={_SPACELESS}))"

_MARK = r"[\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=ZWJ}]"
# Counted from a border, two regional indicators are a flag. \X alone finds that out by looking back
# to the first flag of the row each time, which is quadratic in a row of flags.
_GRAPHEME = rf"[\U0001f1e6-\U0001f1ff]{{2}}{_MARK}*+|\X"

# Borders that two characters alone decide (UAX 29): after a control; after any character without a
# role of its own, unless a mark follows; between two whole Hangul syllables; after a mark, before a
# script that knows no conjuncts. The last border of this kind is where counting graphemes begins.
_SURE_BORDER = "|".join(
    (
        r"(?<=[\p{GCB=Control}\p{GCB=LF}])",
        rf"(?<=\p{{GCB=Other}})(?!{_MARK})",
        r"(?<=[\p{GCB=LV}\p{GCB=LVT}])(?=[\p{GCB=LV}\p{GCB=LVT}\p{GCB=Other}])",
        r"(?<=[\p{GCB=Extend}\p{GCB=SpacingMark}])(?=[\p{Latin}\p{Han}\p{Thai}])(?=\p{GCB=Other})",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One piece of a text: its code points and about how many tokens it holds."""

    start: int
    end: int
    tokens: int


def cut(
    text: str,
    *,
    start: int = 0,
    end: int | None = None,
    pieces: int | None = None,
    size_tokens: int | None = None,
    counter: "TokenCounter",
) -> list[Cut]:
    """Cut a range into equal shares of tokens and return them in order, without gap or overlap.

    Say either how many ``pieces`` or of what size. Each cut moves to the nearest natural boundary
    within a tenth of a share. There are fewer pieces than asked for where the range is too short.

    Raises:
        ValueError: neither or both of ``pieces`` and ``size_tokens`` are given, or one below 1.
    """
    end = len(text) if end is None else end
    if (pieces is None) == (size_tokens is None) or (pieces or size_tokens or 0) < 1:
        raise ValueError("give either pieces or size_tokens, at least 1")
    if start >= end:
        return []
    offsets = [start + offset for offset in counter.offsets(text[start:end])]
    if pieces is None:
        pieces = -(-counter.scaled(len(offsets)) // (size_tokens or 1))
    borders = _borders(text, offsets, end, min(pieces, len(offsets)))
    return _pieces(offsets, borders, counter)


def snap(text: str, index: int, *, up: bool, floor: int = 0) -> int:
    """Return the nearest grapheme border at or after (``up``), or at or before, ``index``.

    ``floor`` is a border known to lie at or before ``index``; it spares a look further back.
    """
    if index <= floor:
        return max(floor, 0)
    if index >= len(text):
        return len(text)
    if not _may_join(text[index - 1], text[index]):
        return index
    grapheme, safe = _graphemes()
    found = safe.search(text, floor, index + 1)
    begin = found.start() if found else floor
    if begin == index:
        return index
    piece = next(m for m in grapheme.finditer(text, begin) if m.end() >= index)
    return piece.end() if up or piece.end() == index else piece.start()


def is_border(text: str, index: int) -> bool:
    """Say whether ``index`` lies between two graphemes, or at an end of the text."""
    return snap(text, index, up=False) == index


def ends_of(text: str, chars: int) -> tuple[str, str]:
    """Return at most the first and the last ``chars`` code points, on grapheme borders."""
    return text[: snap(text, chars, up=False)], text[snap(text, len(text) - chars, up=True) :]


def tail_start(text: str, tokens: int, counter: "TokenCounter") -> int:
    """Return where the last ``tokens`` begin, moved back to a natural boundary.

    The tail at most doubles by this; where no boundary lies within reach it begins at a word.
    """
    if tokens < 1:
        return len(text)
    target = _last_tokens(text, tokens, counter)
    lowest = max(0, 2 * target - len(text))
    if not lowest:
        return max(_naturals(text, 0, target), default=0)
    return boundary_before(text, target, lowest=lowest)


def boundary_before(text: str, index: int, *, lowest: int, floor: int = 0) -> int:
    """Return the last natural boundary from ``lowest`` to ``index``, else the last word's border.

    Where a single word or grapheme fills all that, the grapheme border before ``index`` (which may
    lie below ``lowest``) is returned. ``floor`` is a border known to lie at or before ``lowest``.
    """
    natural = max(_naturals(text, lowest, index, floor=floor), default=None)
    return _gap_before(text, index, lowest, floor=floor) if natural is None else natural


def _last_tokens(text: str, tokens: int, counter: "TokenCounter") -> int:
    """Return where the last tokens begin, reading no more of a long text than is needed."""
    wanted = math.ceil(tokens / counter.factor)
    span = wanted * _CHARS_A_TOKEN
    while True:
        first = max(0, len(text) - span)
        offsets = counter.offsets(text[first:])
        if not first or len(offsets) > wanted + _MARGIN_TOKENS:
            return first + offsets[-wanted] if len(offsets) > wanted else 0
        span *= 4


def _pieces(offsets: Sequence[int], borders: Sequence[int], counter: "TokenCounter") -> list[Cut]:
    """Give each token to the piece it ends in: a word's token begins with the space before it."""
    nexts = chain(islice(offsets, 1, None), [borders[-1]])
    ends = [max(after, start + 1) for start, after in zip(offsets, nexts, strict=True)]
    done = [0, *(bisect_right(ends, border) for border in borders[1:])]
    return [
        Cut(start=start, end=end, tokens=counter.scaled(after - before))
        for (start, end), (before, after) in zip(pairwise(borders), pairwise(done), strict=True)
    ]


def _borders(text: str, offsets: Sequence[int], end: int, pieces: int) -> list[int]:
    """Return the ends of the pieces, the range's own two included."""
    borders = [offsets[0]]
    reached = 0  # one grapheme may swallow several shares; it is walked through once
    share = len(offsets) / pieces

    def reach(middle: float, tokens: float) -> tuple[int, int]:
        low, high = max(math.floor(middle - tokens), 0), math.ceil(middle + tokens)
        return offsets[low], offsets[high] if high < len(offsets) else end

    for number in range(1, pieces):
        middle = number * share
        target = offsets[round(middle)]
        if target < reached:
            continue
        near, far = reach(middle, _TOLERANCE * share), reach(middle, share / 2)
        reached = _best(text, target, near, far, floor=borders[-1])
        if borders[-1] < reached < end:
            borders.append(reached)
    return [*borders, end]


def _best(
    text: str, target: int, near: tuple[int, int], far: tuple[int, int], *, floor: int
) -> int:
    natural = [at for at in _naturals(text, *near, floor=floor) if at > floor]
    if natural:
        return min(natural, key=lambda at: abs(at - target))
    gaps = _gaps(text, target, *far, floor=floor)
    if gaps:
        return min(gaps, key=lambda at: abs(at - target))
    below = snap(text, target, up=False, floor=floor)
    return below if below > floor else snap(text, target, up=True, floor=floor)


def _naturals(text: str, low: int, high: int, *, floor: int = 0) -> Iterator[int]:
    """Yield the natural boundaries from ``low`` to ``high``, the latter included."""
    limit = min(len(text), high + _SLACK_CHARS)
    for found in _boundary().finditer(text, max(low - _SLACK_CHARS, 0), limit):
        at = found.end()
        if at > high:
            return
        if at >= low and snap(text, at, up=False, floor=min(floor, at)) == at:
            yield at


def _gaps(text: str, target: int, low: int, high: int, *, floor: int) -> list[int]:
    """Return the nearest gaps between words on both sides of ``target``, where there are any."""
    after, before = _word_gaps()
    found = (
        before.search(text, max(low, floor + 1), target + 1),
        after.search(text, max(target, floor + 1), high + 1),
    )
    places = (match.start() for match in found if match)
    return [
        at
        for at in places
        if max(low, floor + 1) <= at <= high and snap(text, at, up=False, floor=floor) == at
    ]


def _gap_before(text: str, target: int, low: int, *, floor: int) -> int:
    gaps = _gaps(text, target, low, target, floor=floor)
    return max(gaps) if gaps else snap(text, target, up=False, floor=floor)


def _may_join(left: str, right: str) -> bool:
    """Say whether two characters can belong to one grapheme; certain only where it says no."""
    if _is_plain(left) and _is_plain(right):
        return left == "\r" and right == "\n"
    return True


def _is_plain(character: str) -> bool:
    return character < "\u0300" or "\u3400" <= character <= "\u9fff"


def _compile(pattern: str) -> "re.Pattern[str]":
    import regex  # type: ignore[import-untyped]  # it ships no annotations

    return cast("re.Pattern[str]", regex.compile(pattern))


@cache
def _graphemes() -> "tuple[re.Pattern[str], re.Pattern[str]]":
    """Return what matches a grapheme, and what finds the last border that needs no context."""
    return _compile(_GRAPHEME), _compile(f"(?rs)(?=.)(?:{_SURE_BORDER})")


@cache
def _boundary() -> "re.Pattern[str]":
    return _compile("|".join(_BOUNDARIES))


@cache
def _word_gaps() -> "tuple[re.Pattern[str], re.Pattern[str]]":
    """Return what finds the next and the last gap between words."""
    return _compile(_GAP), _compile(f"(?r){_GAP}")
