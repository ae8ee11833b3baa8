"""Building the document: records in the original's order, cut to length, needles set in.

All arithmetic is on cl100k tokens and follows the original, its peculiarities included: records are
shuffled in place for repetition after repetition, each with its own seed; the multi-reasoning task
counts the needles already inserted twice; one decode at the end, so that a needle can split a
character.
"""

import json
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from sculptor.errors import EvalError
from sculptor.evals.files import DataFiles
from sculptor.evals.filler import open_pool

ENCODING = "cl100k_base"

# The last order made for a number of records, with its counter: the next is made from it.
_LAST_ORDERS: dict[int, tuple[int, tuple[int, ...]]] = {}
_ORDERS_KEPT = 64


class Records(Protocol):
    """The texts of one haystack file."""

    def __len__(self) -> int: ...

    def text(self, index: int) -> str:
        """Return the text of one record."""
        ...


class FileRecords:
    """The records of a JSONL file in the upstream's schema: one object a line, its ``text``."""

    def __init__(self, content: str, name: str) -> None:
        self._texts = [_record_text(line, name) for line in content.split("\n") if line.strip()]

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, index: int) -> str:
        """Return the text of one record."""
        return self._texts[index]


def open_records(name: str, files: DataFiles) -> Records:
    """Return the records of a haystack file: a pool of our filler or a file of the data folder."""
    pool = open_pool(name)
    if pool is not None:
        return pool
    return _file_records(files.text(name), name)


def encode(text: str) -> list[int]:
    """Return the cl100k tokens of a text."""
    from sculptor.tokens import encoding

    return encoding(ENCODING).encode_ordinary(text)


def decode(tokens: Sequence[int]) -> str:
    """Return the text of tokens; broken characters become U+FFFD."""
    from sculptor.tokens import encoding

    return encoding(ENCODING).decode(list(tokens))


def cut_haystack(
    name: str, files: DataFiles, *, counter: int, tokens: int, allow_short: bool
) -> list[int]:
    """Return exactly ``tokens`` tokens of the file's records as repetition ``counter`` orders them.

    Raises:
        EvalError: the file holds fewer tokens and ``allow_short`` is not set. The original then
            returns what there is without a word.
    """
    records = open_records(name, files)
    if tokens <= 0:
        return []
    found: list[int] = []
    for index in shuffled_order(len(records), counter):
        found += _record_tokens(name, files, records, index)
        if len(found) >= tokens:
            return found[:tokens]
    if allow_short:
        return found
    raise EvalError(
        f"{name} holds {len(found):,} tokens and {tokens:,} are asked for; name a longer file, or "
        "set allow_short in the draw to get the original's short document."
    )


def shuffled_order(size: int, counter: int) -> tuple[int, ...]:
    """Return the order of the records in repetition ``counter``: its shuffle and all before it."""
    done, known = _LAST_ORDERS.get(size, (-1, tuple(range(size))))
    if done > counter:
        done, known = -1, tuple(range(size))
    order = list(known)
    for repetition in range(done + 1, counter + 1):
        random.Random(repetition).shuffle(order)
    if size not in _LAST_ORDERS and len(_LAST_ORDERS) >= _ORDERS_KEPT:
        _LAST_ORDERS.clear()
    _LAST_ORDERS[size] = (counter, tuple(order))
    return _LAST_ORDERS[size][1]


def insert_single(haystack: list[int], needle: list[int], depth: float) -> list[int]:
    """Return the haystack with the needle at ``depth`` percent."""
    place = int(len(haystack) * (depth / 100))
    return haystack[:place] + needle + haystack[place:]


def insert_parallel(
    haystack: list[int], needles: Sequence[list[int]], depths: Sequence[float]
) -> list[int]:
    """Return the haystack with needle ``i`` at depth ``i`` of the text without needles."""
    places = [int(len(haystack) * (depth / 100)) for depth in depths]
    inserted = 0
    for place, needle in zip(places, needles, strict=False):
        place = min(place + inserted, len(haystack))
        haystack = haystack[:place] + needle + haystack[place:]
        inserted += len(needle)
    return haystack


def insert_chain(
    haystack: list[int], needles: Sequence[list[int]], depth: float, diff: float
) -> list[int]:
    """Return the haystack with the first needle at ``depth`` and the next ones ``diff`` % apart.

    Each place already counts the needle before it and is pushed on again by every needle inserted,
    as in the original; places past the end append.
    """
    size = len(haystack)
    places: list[int] = []
    for number in range(len(needles)):
        if not places:
            place = int(size * (depth / 100))
        else:
            place = int(places[-1] + len(needles[number - 1]) + size * (diff / 100))
        places.append(min(place, size + sum(map(len, needles[:number]))))
    pushed = 0
    for place, needle in zip(places, needles, strict=True):
        haystack = haystack[: place + pushed] + needle + haystack[place + pushed :]
        pushed += len(needle)
    return haystack


def _record_text(line: str, name: str) -> str:
    try:
        record = json.loads(line)
        text = record["text"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise EvalError(f"{name}: every line must be an object with a 'text'.") from error
    if not isinstance(text, str):
        raise EvalError(f"{name}: a record's 'text' must be a string.")
    return text


@lru_cache(maxsize=8)
def _file_records(content: str, name: str) -> FileRecords:
    return FileRecords(content, name)


_TOKENS: dict[tuple[str, str | None, int], list[int]] = {}
_TOKENS_KEPT = 4096


def _record_tokens(name: str, files: DataFiles, records: Records, index: int) -> list[int]:
    """Return a record's tokens, kept for the next sample; the memory is bounded."""
    key = (name, str(files.folder), index)
    if key not in _TOKENS:
        if len(_TOKENS) >= _TOKENS_KEPT:
            _TOKENS.clear()
        _TOKENS[key] = encode(records.text(index))
    return _TOKENS[key]
