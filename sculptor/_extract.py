"""A summary made of the text's own sentences and records, without a model.

Each unit (a sentence, a record, a line) is scored by the words of the focus it holds, by words that
recur in the text (after Luhn, 1958), by numbers and identifiers, and by its place; the best are
kept, in their order, until the limit is reached. In a stream of records only the latest value of
each key counts. The same text, focus and limit always give the same summary.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sculptor.cutting import snap
from sculptor.guards import Record, records
from sculptor.terms import terms

if TYPE_CHECKING:
    from sculptor.tokens import TokenCounter

_UNIT = re.compile(r"[^\n\r.!?。！？]*+(?:[.!?](?!\s)[^\n\r.!?。！？]*+)*+[.!?。！？]*+[\"'”’」)]*")
# A line end within a sentence: lower case before it and after it.
_WRAP = re.compile(r"(?<=[a-z,’'\"]) ?\r?\n(?=[a-z(\"])")
_CODE_WORD = re.compile(r"\w*[\d_]\w*|\w+\(\)|[A-Z]{2,}")
_CUE = re.compile(
    r"\b(?:must|never|always|decid|conclu|result|because|error|fail|fix|todo|action|deadline)"
    r"|结论|决定|必须|错误|因此",
    re.IGNORECASE,
)
_COMMON_WORDS = """
a an and are as at be but by for from has have he i in is it its not of on or she so that the their
there they this to was we were what which will with you
"""
_COMMON = frozenset(_COMMON_WORDS.split())

_RECORD_SHARE = 0.6
_MISFITS = 50
_MAX_UNIT_CHARS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    place: int
    text: str
    score: float


def extract(text: str, *, focus: str, limit_tokens: int, counter: "TokenCounter") -> str:
    """Return the most telling units of a text, in order, within ``limit_tokens``."""
    wanted = {term for term in terms(focus) if term not in _COMMON}
    found = list(records(text))
    if sum(len(record.value) + len(record.key) for record in found) >= _RECORD_SHARE * len(text):
        units, joint = _record_units(found, wanted), "; "
    else:
        units, joint = _sentence_units(text, wanted), "\n"
    kept = _fill(units, limit_tokens, joint, counter)
    if not kept:
        return _head(text.strip(), limit_tokens, counter)
    return joint.join(unit.text for unit in kept)


def _record_units(found: Sequence[Record], wanted: set[str]) -> list[_Unit]:
    """Return the latest value of each key; of keys that say nothing of the focus, the latest."""
    latest: dict[str, tuple[int, Record]] = {}
    for place, record in enumerate(found):
        latest[record.key] = (place, record)
    return [
        _Unit(
            place=place,
            text=f"{record.key}: {record.value}",
            score=len(wanted.intersection(terms(record.key))) + place / len(found),
        )
        for place, record in latest.values()
    ]


def _sentence_units(text: str, wanted: set[str]) -> list[_Unit]:
    sentences = list(dict.fromkeys(_sentences(text)))
    words = [terms(sentence) for sentence in sentences]
    seen = Counter(word for line in words for word in set(line) if word not in _COMMON)
    last = len(sentences) - 1
    return [
        _Unit(
            place=place,
            text=sentence,
            score=_weight(sentence, line, seen, wanted) + (place == 0) + 0.5 * (place == last),
        )
        for place, (sentence, line) in enumerate(zip(sentences, words, strict=True))
    ]


def _weight(sentence: str, words: Sequence[str], seen: Counter[str], wanted: set[str]) -> float:
    telling = {word for word in words if word not in _COMMON}
    if not telling:
        return 0.0
    recurring = sum(math.log(seen[word]) for word in telling) / len(telling)
    codes = min(sum(1 for _ in _CODE_WORD.finditer(sentence)), 3)
    cue = 0.5 if _CUE.search(sentence) else 0.0
    return 3.0 * len(wanted & telling) + recurring + 0.4 * codes + cue


def _sentences(text: str) -> Iterator[str]:
    for found in _UNIT.finditer(_WRAP.sub(" ", text)):
        sentence = found.group().strip()
        if sentence and len(sentence) <= _MAX_UNIT_CHARS:
            yield sentence


def _fill(
    units: Sequence[_Unit], limit_tokens: int, joint: str, counter: "TokenCounter"
) -> list[_Unit]:
    """Return the best units that fit together, in their order; gives up after many misfits."""
    kept: list[_Unit] = []
    room = limit_tokens
    misfits = 0
    for unit in sorted(units, key=lambda unit: (-unit.score, unit.place)):
        tokens = counter.count(unit.text + joint)
        if tokens <= room:
            kept.append(unit)
            room -= tokens
        else:
            misfits += 1
        if not room or misfits > _MISFITS:
            break
    return sorted(kept, key=lambda unit: unit.place)


def _head(text: str, limit_tokens: int, counter: "TokenCounter") -> str:
    """Return the beginning of a text that has no unit of a fitting size."""
    offsets = counter.offsets(text[: 16 * limit_tokens])
    most = max(int(limit_tokens / counter.factor) - 2, 1)
    if len(offsets) <= most:
        return text[: 16 * limit_tokens]
    return text[: snap(text, offsets[most], up=False)].rstrip() + " …"
