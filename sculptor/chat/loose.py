"""Answers that only a loose reader takes: NaN, numbers past every range, halves of characters.

Some upstreams write an emoji as two escapes (``\\ud83d\\ude00``) and cut their text between them.
UTF-8 has no bytes for half a character, so it can be neither stored nor written to the client:
halves that follow each other become the character they are, others become U+FFFD. A number that
JSON cannot say becomes null.
"""

import json
from math import isfinite
from typing import Any

import orjson

from sculptor.chat.events import JsonObject

_LONGEST_INT = 20  # digits; longer ones are past the 64 bits that our writer knows
_Path = tuple[str | int, ...]


class LooseObject(JsonObject):
    """An object with nothing in it that cannot be written; ``halved`` still has its halves."""

    __slots__ = ("halved",)

    def __init__(self, mended: JsonObject, halved: JsonObject) -> None:
        super().__init__(mended)
        self.halved = halved


def read_loosely(data: bytes) -> LooseObject | None:
    """Return the object that Python's ``json`` reads, or None where it reads none."""
    try:
        halved = json.loads(
            data.decode("utf-8-sig"),
            parse_constant=lambda _: None,
            parse_float=_finite,
            parse_int=_whole,
        )
        # Our own parser reads it again, so that its limits hold for what came this way as well.
        mended = orjson.loads(mend_text(json.dumps(halved, ensure_ascii=False)))
    except (ValueError, RecursionError):
        return None
    return LooseObject(mended, halved) if isinstance(mended, dict) else None


def mend_text(text: str) -> str:
    """Return text with halves that meet joined, and U+FFFD for each other half."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class HalfJoiner:
    """Joins characters whose halves came in two chunks of a stream, whatever field they are in.

    A half at the end of a text is held back until that field's next piece.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[_Path, str] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def join(self, delta: JsonObject) -> JsonObject:
        """Return a delta with what was held put before it, and no half left in it."""
        joined: JsonObject = self._join(delta, ())
        return joined

    def close(self) -> str:
        """Return what stands for a half of the answer's text whose other half never came.

        Of other fields, such a half is dropped: nobody would see it.
        """
        owed = self._held.get(("content",), "")
        self._held.clear()
        return mend_text(owed)

    def _join(self, value: Any, path: _Path) -> Any:
        if isinstance(value, dict):
            return {mend_text(key): self._join(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._join(item, (*path, _place(item, nth))) for nth, item in enumerate(value)]
        if not isinstance(value, str) or not value:
            return value
        text = self._held.pop(path, "") + value
        if "\ud800" <= text[-1] <= "\udbff":
            self._held[path], text = text[-1], text[:-1]
        return mend_text(text)


def _place(entry: Any, nth: int) -> int:
    """Return what names an entry of a list in every chunk: its index, where it has one."""
    index = entry.get("index") if isinstance(entry, dict) else None
    return index if isinstance(index, int) else nth


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if isfinite(number) else None


def _whole(digits: str) -> int | float | None:
    if len(digits) > _LONGEST_INT:
        return _finite(digits)
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)
