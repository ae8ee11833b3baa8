"""Reading a PI-LLM prompt (arXiv 2506.08184): the keys asked for, and the updates that can be seen.

Where text is folded the view holds a marker; updates behind it are not seen, and what stands on its
two sides is never read as one update. An inserted sentence (a "forgetting prompt") in front of an
update is passed over, as the benchmark means it to have no effect on the true last value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from sculptor.server.scripted.prompt import Prompt

_QUESTION = re.compile(r"What are the ([^?]{1,60}?) value of each key \(([^)]+)\) you are tracking")
_HEADER = "The text stream starts on the next line."
_SENTENCE = re.compile(r"'(The [^'<>]* value of <key> is <value>\.)'")
_MARKER = re.compile(r"⟦/?(f[0-9a-f]{5})( folded)?[^⟧]*⟧")
_ENTRY = re.compile(r"[^;]+(?:;\s?)?")


class Update(NamedTuple):
    """One update: its key and value, and where its text starts and ends in the message."""

    key: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStream:
    """A stream as far as it can be seen, and the question about it."""

    keys: tuple[str, ...]
    probe: str
    sentence: str
    """How each value is to be told; empty where a dictionary is asked for."""
    text: str
    """The message that holds the stream, as shown."""
    updates: tuple[Update, ...]
    folded: tuple[str, ...]
    """IDs of the folded fragments in this message, in order."""

    @property
    def last(self) -> Mapping[str, Update]:
        """The last update that can be seen of each key asked for."""
        wanted = set(self.keys)
        return {update.key: update for update in self.updates if update.key in wanted}

    @property
    def is_covered(self) -> bool:
        """Whether every key asked for has an update that can be seen."""
        return self.last.keys() >= set(self.keys)

    @property
    def shown_from(self) -> int:
        """Where the first update stands that has no folded text behind it (-1: there is none)."""
        folds = (match.end() for match in _MARKER.finditer(self.text) if match[2])
        last_fold = max(folds, default=0)
        return next((update.start for update in self.updates if update.start >= last_fold), -1)

    def answer(self) -> str:
        """Tell the last value that can be seen of each key, in the words asked for."""
        last = self.last
        known = [(key, last[key].value) for key in self.keys if key in last]
        if not self.sentence:
            pairs = ", ".join(f"{key}: {value}" for key, value in known)
            return f"The {self.probe} key-value pairs are: {{{pairs}}}"
        lines = (self.sentence.replace("<key>", k).replace("<value>", v) for k, v in known)
        return "\n".join(lines)


def read_update_stream(prompt: Prompt) -> UpdateStream | None:
    """Return the stream that the newest user message asks about, or None where it asks otherwise.

    The stream may stand in that message or in an earlier one.
    """
    asked = list(_QUESTION.finditer(prompt.question))
    if not asked:
        return None
    keys = tuple(key.strip() for key in asked[-1][2].split(","))
    sentence = _SENTENCE.search(prompt.question, asked[-1].end())
    text, updates = _find_stream(prompt.texts("user"), asked[-1].start(), keys)
    return UpdateStream(
        keys=keys,
        probe=asked[-1][1],
        sentence=sentence[1] if sentence else "",
        text=text,
        updates=updates,
        folded=tuple(match[1] for match in _MARKER.finditer(text) if match[2]),
    )


def _find_stream(
    texts: Sequence[str], end: int, keys: Sequence[str]
) -> tuple[str, tuple[Update, ...]]:
    """Return the newest text with updates; where none is left in view, one with a fold."""
    for text in reversed(texts):
        updates = tuple(_updates(text, end, keys))
        if updates:
            return text, updates
        end = -1
    return next((text for text in reversed(texts) if _MARKER.search(text)), ""), ()


def _updates(text: str, end: int, keys: Sequence[str]) -> Iterator[Update]:
    """Yield the updates of the keys between the stream's header and ``end`` (-1: the text's)."""
    header = text.find(_HEADER)
    at = header + len(_HEADER) if header >= 0 else 0
    end = len(text) if end < 0 else end
    pattern = _update_pattern(keys)
    for start, stop in _visible(text, at, end):
        for entry in _ENTRY.finditer(text, start, stop):
            found = pattern.match(text, *entry.span())
            value = entry[0][found.end() - entry.start() :].strip() if found else ""
            if found and (value.endswith(";") or stop == end):
                key = found["key"] or found["named"]
                yield Update(key, value.removesuffix(";"), *entry.span())


def _visible(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the stretches between markers, without white space in front."""
    borders = [(start, start), *(m.span() for m in _MARKER.finditer(text, start, end)), (end, end)]
    for (_, low), (high, _) in pairwise(borders):
        while low < high and text[low].isspace():
            low += 1
        if low < high:
            yield low, high


def _update_pattern(keys: Sequence[str]) -> re.Pattern[str]:
    """Return what finds a key and its separator at an entry's start, or behind a sentence there."""
    names = "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))
    return re.compile(
        rf"(?:[^;]*?(?:[.\n]\s*|\bto ))??(?P<key>{names})(?:: | - | = )"
        rf"|update the value of (?P<named>{names}) by setting it to "
    )
