"""What would be lost from view, before a fold or a summary takes force.

A guard only reports; it never refuses. It reads plain text without a model: records such as
``key: value;``, identifiers, names and numbers. Work is bounded whatever the sizes: a bounded part
of the hidden text is read for facts, and the visible text is scanned a bounded number of times, so
a report may name too little and never takes long.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

MAX_READ_CHARS = 60_000
"""So much of the hidden text is read for facts: half from its start, half from its end."""

MAX_SCANNED_CHARS = 40_000_000
"""So much visible text is scanned for them, all scans together."""

_MAX_FACTS = 100
_MAX_KEY_CHARS = 60
_MAX_KEY_WORDS = 6
_LABEL_WORDS = 2
_MAX_VALUE_CHARS = 400

_SEPARATOR = re.compile(r"[;；\n\r]+")
_COLON = re.compile(r"\s*[:：=](?!//)\s*")
_CLAUSE_END = re.compile(r"[.,!?。，！？]")
_STREAM_SHARE = 0.3
_STREAM_RECORDS = 3
_TOKEN = re.compile(r"[A-Za-z_][\w./@#-]*\w|\d[\d.,:/-]*\d%?|\d%")
_INNER_CAPITAL = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")
# Two sentences with the space between them lost.
_RUN_ON = re.compile(r"[A-Za-z]+\.[A-Z][a-z]*\.?")
_NAME = re.compile(r"(?<=[a-z0-9,;:'\"(] )[A-Z][\w'’-]+(?: [A-Z][\w'’-]+){0,3}")


class Record(NamedTuple):
    """A ``key: value`` pair with its place in code points."""

    key: str
    value: str
    start: int
    end: int


class Stretch(NamedTuple):
    """A piece of a conversation in its order, with whether the view would show it."""

    text: str
    is_hidden: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a text states that a later question may need, each once, in order of appearance."""

    heads: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()

    def all(self) -> Iterator[str]:
        """Yield every fact, the most telling kinds first."""
        yield from self.heads
        yield from self.identifiers
        yield from self.names
        yield from self.numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which keys of a stream of records keep their last value in view."""

    kept: tuple[str, ...]
    lost: tuple[str, ...]


def records(text: str) -> Iterator[Record]:
    """Yield the ``key: value`` records of a text, separated by semicolons or line ends.

    A key is short, has a letter and is no part of an address; a value is not empty.
    """
    at = 0
    for separator in _SEPARATOR.finditer(text):
        yield from _record(text, at, separator.start())
        at = separator.end()
    yield from _record(text, at, len(text))


def facts(text: str) -> Facts:
    """Return the heads of records, identifiers, names and numbers of a text.

    At most a hundred of each kind. Single digits are no facts, nor is a word that only begins a
    sentence.
    """
    identifiers: dict[str, None] = {}
    numbers: dict[str, None] = {}
    for token in _TOKEN.findall(text):
        if token[0].isdigit():
            numbers[token] = None
        elif _is_identifier(token):
            identifiers[token] = None
    return Facts(
        heads=_distinct(_heads(text)),
        identifiers=_distinct(identifiers),
        names=_distinct(_NAME.findall(text)),
        numbers=_distinct(numbers),
    )


def newly_invisible(
    hidden_texts: Iterable[str], visible_texts: Iterable[str], *, limit: int
) -> list[str]:
    """Return up to ``limit`` facts of the texts to be hidden that no visible text states."""
    visible = list(visible_texts)
    missing: list[str] = []
    scanned = 0
    for fact in dict.fromkeys(facts(_readable(list(hidden_texts))).all()):
        if len(missing) == limit or scanned > MAX_SCANNED_CHARS:
            break
        is_there, read = _scan(visible, fact)
        scanned += read
        if not is_there:
            missing.append(fact)
    return missing


def coverage(stretches: Iterable[Stretch]) -> Coverage:
    """Return which keys keep, and which lose, their last value, each in order of that value.

    ``stretches`` are all texts in the order of the conversation, hidden and visible. A record that
    a stretch's end cuts in two counts on neither side, so cut at record borders first.
    """
    last: dict[str, bool] = {}
    for stretch in stretches:
        for record in records(stretch.text):
            last.pop(record.key, None)
            last[record.key] = stretch.is_hidden
    return Coverage(
        kept=tuple(key for key, is_hidden in last.items() if not is_hidden),
        lost=tuple(key for key, is_hidden in last.items() if is_hidden),
    )


def _record(text: str, start: int, end: int) -> Iterator[Record]:
    colon = _COLON.search(text, start, min(end, start + _MAX_KEY_CHARS + 8))
    if colon is None:
        return
    key, value = text[start : colon.start()].strip(), text[colon.end() : end].strip()
    if not value or len(value) > _MAX_VALUE_CHARS or len(key) > _MAX_KEY_CHARS:
        return
    if len(key.split()) > _MAX_KEY_WORDS or _CLAUSE_END.search(key):
        return
    if any(map(str.isalpha, key)):
        yield Record(key, value, start, end)


def _heads(text: str) -> Iterator[str]:
    """Yield the keys of a stream of records; of other text, those that look like a label."""
    found = list(records(text))
    pieces = sum(1 for piece in _SEPARATOR.split(text) if piece.strip())
    is_stream = len(found) >= max(_STREAM_RECORDS, _STREAM_SHARE * pieces)
    for record in found:
        if is_stream or (record.key[:1].isupper() and len(record.key.split()) <= _LABEL_WORDS):
            yield record.key


def _is_identifier(token: str) -> bool:
    if any(mark in token for mark in "_/@#"):
        return True
    if any(map(str.isdigit, token)) or _INNER_CAPITAL.search(token):
        return True
    return "." in token.strip(".") and not _RUN_ON.fullmatch(token)


def _distinct(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(dict.fromkeys(found), _MAX_FACTS))


def _readable(texts: Sequence[str]) -> str:
    """Return the start and the end of the texts, where they are too long to read whole."""
    half = MAX_READ_CHARS // 2
    if sum(map(len, texts)) <= MAX_READ_CHARS:
        return "\n".join(texts)
    front = _first(texts, half)
    back = _first([text[: -half - 1 : -1] for text in reversed(texts)], half)
    return "\n".join([*front, *(text[::-1] for text in reversed(back))])


def _first(texts: Iterable[str], room: int) -> list[str]:
    taken: list[str] = []
    for text in texts:
        if room <= 0:
            break
        taken.append(text[:room])
        room -= len(taken[-1])
    return taken


def _scan(texts: Sequence[str], fact: str) -> tuple[bool, int]:
    """Say whether a text states the fact as a word of its own, and how much was read for it."""
    read = 0
    for text in texts:
        at = text.find(fact)
        while at >= 0:
            if _stands_alone(text, at, at + len(fact)):
                return True, read + at
            at = text.find(fact, at + 1)
        read += len(text)
    return False, read


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    joins_before = before.isalnum() and text[start].isalnum()
    joins_after = after.isalnum() and text[end - 1].isalnum()
    return not (joins_before or joins_after)
