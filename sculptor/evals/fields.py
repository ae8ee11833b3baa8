"""Reading fields out of JSON that somebody else wrote.

A draw may come from a script around the original program, so a field is looked up under our name,
the original's name and the names a reader would try, in that order, at the top level and inside
``options``, ``params`` or ``draw``. Fields nobody asks for are kept out of the way; a field of
the wrong type is an error that names it.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from sculptor.errors import EvalError
from sculptor.evals.types import Json, Object

_T = TypeVar("_T")
MAX_NUMBER = 2**32 - 1
"""The largest number a draw may hold: what seeds numpy's legacy generator."""

_NESTS = ("options", "params", "parameters", "config", "draw")


class Fields:
    """A typed view of one JSON object."""

    def __init__(self, source: Object, *, what: str = "draw") -> None:
        self._what = what
        self._layers = [source, *_nested(source)]

    def find(self, *names: str) -> Json:
        """Return the first field present under one of these names, else ``None``."""
        for name in names:
            for layer in self._layers:
                if layer.get(name) is not None:
                    return layer[name]
        return None

    def has(self, *names: str) -> bool:
        """Say whether any of these names holds a value."""
        return self.find(*names) is not None

    def text(self, *names: str, default: str | None = None) -> str:
        """Return a string field; numbers are taken as their text."""
        value = self.find(*names)
        if value is None:
            return self._default(default, names)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._wrong(names, "a string", value)
        return str(value)

    def number(
        self, *names: str, default: int | None = None, least: int = 0, most: int = MAX_NUMBER
    ) -> int:
        """Return an integer field within bounds; ``"12"`` and ``12.0`` count as 12."""
        value = self.find(*names)
        if value is None:
            return self._default(default, names)
        number = _whole(value)
        if number is None or not least <= number <= most:
            raise self._wrong(names, f"a whole number from {least:,} to {most:,}", value)
        return number

    def flag(self, *names: str, default: bool) -> bool:
        """Return a truth value; 0, 1, "on", "off", "true" and "false" are understood."""
        value = self.find(*names)
        if value is None:
            return default
        if isinstance(value, bool | int):
            return bool(value)
        if isinstance(value, str) and value.lower() in _WORDS:
            return _WORDS[value.lower()]
        raise self._wrong(names, "true or false", value)

    def sequence(self, *names: str) -> Sequence[Json] | None:
        """Return a list field, or ``None`` if there is none."""
        value = self.find(*names)
        if value is None:
            return None
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self._wrong(names, "a list", value)
        return value

    def texts(self, *names: str) -> tuple[str, ...] | None:
        """Return a list of strings; one string that is no list counts as a list of one."""
        value = self.find(*names)
        if isinstance(value, str):
            return (value,)
        items = self.sequence(*names)
        if items is None:
            return None
        if not all(isinstance(item, str) for item in items):
            raise self._wrong(names, "a list of strings", items)
        return tuple(str(item) for item in items)

    def numbers(self, *names: str) -> tuple[int, ...] | None:
        """Return a list of whole numbers."""
        items = self.sequence(*names)
        if items is None:
            return None
        return tuple(Fields({names[0]: item}, what=self._what).number(names[0]) for item in items)

    def _default(self, default: _T | None, names: Sequence[str]) -> _T:
        if default is None:
            others = f" (also read as {', '.join(names[1:])})" if len(names) > 1 else ""
            raise EvalError(f"The {self._what} needs the field {names[0]!r}{others}.")
        return default

    def _wrong(self, names: Sequence[str], wanted: str, value: Json) -> EvalError:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return EvalError(f"The {self._what}'s field {names[0]!r} must be {wanted}, not {shown}.")


def sample_id(fields: Fields, name: str, text: str) -> str:
    """Return the draw's own id, its seed and index, or a hash of its text."""
    if fields.has("id"):
        return fields.text("id")
    if fields.has("seed") and fields.has("index"):
        return f"{name}/{fields.number('seed')}/{fields.number('index')}"
    return f"{name}/{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:12]}"


def _whole(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return int(value) if not isinstance(value, float) or value.is_integer() else None
    except (ValueError, OverflowError):
        return _whole(float(value)) if _is_decimal(value) else None


def _is_decimal(value: Json) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{1,15}\.0+", value) is not None


_WORDS = {"true": True, "on": True, "yes": True, "1": True}
_WORDS |= {"false": False, "off": False, "no": False, "0": False}


def _nested(source: Object) -> list[Object]:
    found: list[Object] = []
    for name in _NESTS:
        inner = source.get(name)
        if isinstance(inner, Mapping):
            found += [inner, *_nested(inner)]
    return found
