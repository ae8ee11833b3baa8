"""Words that belong to the evaluations and are no training word.

Keys, values, names, subjects and keywords of every evaluation, whole and case aside, and the parts
of people's names. They are read from the evaluations' own data, so what is added there is refused
here from then on.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import orjson

from sculptor.evals import tool_log
from sculptor.evals.files import DICTIONARY, OWN_NAMES, OWN_NEEDLES, OWN_REASONING, DataFiles

_LONGEST_NAME = 4
"""Words of the longest names looked for."""

_WORD = re.compile(r"[^\W_]+")
_DIGIT = re.compile(r"\d")


def is_reserved(word: str) -> bool:
    """Whether an evaluation uses a word as one of its own."""
    return word.casefold() in reserved_words()


@lru_cache(maxsize=1)
def reserved_words() -> frozenset[str]:
    """Return every reserved word, case folded."""
    files = DataFiles()
    found = (*_updates(files), *_needles(files), *_names(files), *_coded())
    return frozenset(word.casefold() for word in found if word)


@lru_cache(maxsize=1)
def last_words() -> frozenset[str]:
    """Return the words that reserved words of several words end with."""
    return frozenset(words[-1] for words in map(words_of, reserved_words()) if len(words) > 1)


def words_of(text: str) -> Sequence[str]:
    """Return a text's words case folded, each with a digit in it as "0"."""
    return ["0" if _DIGIT.search(word) else word for word in _WORD.findall(text.casefold())]


def reserved_names(text: str) -> Iterator[str]:
    """Yield reserved words of several words that a text holds, whatever signs are between them."""
    words, names = words_of(text), _rest_by_first()
    for at, word in enumerate(words):
        for rest in names.get(word, ()):
            if tuple(words[at + 1 : at + 1 + len(rest)]) == rest:
                yield " ".join((word, *rest))


@lru_cache(maxsize=1)
def _rest_by_first() -> Mapping[str, Sequence[tuple[str, ...]]]:
    """Return what follows the first word of every reserved name of two to four words."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for name in reserved_words():
        first, *rest = words_of(name) or ("0",)
        if rest and len(rest) < _LONGEST_NAME and "0" not in (first, *rest):
            found.setdefault(first, []).append(tuple(rest))
    return found


def _updates(files: DataFiles) -> Iterator[str]:
    for key, values in orjson.loads(files.text(DICTIONARY)).items():
        yield key
        yield from values


def _needles(files: DataFiles) -> Iterator[str]:
    for line in files.text(OWN_NEEDLES).splitlines():
        row = orjson.loads(line)
        yield from (row["arg1"], row["arg2"])
    for row in orjson.loads(files.text(OWN_REASONING)):
        yield row["answer"]


def _names(files: DataFiles) -> Iterator[str]:
    for names in orjson.loads(files.text(OWN_NAMES)).values():
        for name in names.split(","):
            yield name
            yield from name.split()


def _coded() -> Iterable[str]:
    return (*tool_log.SERVICES, *tool_log.SETTINGS)
