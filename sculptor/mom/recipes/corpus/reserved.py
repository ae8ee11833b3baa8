"""Words that belong to the evaluations and are no training word.

Keys, values, names, subjects and keywords of every evaluation, whole and case aside, and the parts
of people's names. They are read from the evaluations' own data, so what is added there is refused
here from then on.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import orjson

from sculptor.evals import tool_log
from sculptor.evals.files import DICTIONARY, OWN_NAMES, OWN_NEEDLES, OWN_REASONING, DataFiles


def is_reserved(word: str) -> bool:
    """Whether an evaluation uses a word as one of its own."""
    return word.casefold() in reserved_words()


@lru_cache(maxsize=1)
def reserved_words() -> frozenset[str]:
    """Return every reserved word, case folded."""
    files = DataFiles()
    found = (*_updates(files), *_needles(files), *_names(files), *_coded())
    return frozenset(word.casefold() for word in found if word)


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
