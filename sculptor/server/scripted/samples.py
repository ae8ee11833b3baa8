"""A smallest value that a JSON schema admits, for calls and answers that must have a shape.

A client that forces a tool or a response format gets something it can parse. Only the keywords that
such schemas use are read; a schema that cannot be met this way gets a value of the right type. One
whose keywords hold what they must not, or whose sample would be large, is refused: the sample is
made on the event loop, where it must not hold up others.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from sculptor.server.envelope import ApiError
from sculptor.server.request_rules import refusal
from sculptor.server.scripted.schema_reading import Keywords, Schema, SchemaRefused

MOST_CHARS = 65_536
"""The most that a sample may take as JSON."""

_TEXT = "scripted"
_DEPTH = 12
_CHOICES = ("anyOf", "oneOf", "allOf")
_SIGNS = 2
"""What brackets or quotation marks take; a comma and a colon as well."""

_LARGEST_WHOLE = 2**64 - 1
"""JSON of our writer has no whole number past this."""


def sample(schema: Schema) -> Any:
    """Return a value of the schema: required members only, the first of each choice.

    Raises:
        SchemaRefused: a keyword holds what it must not, or asks for more than a sample may hold.
    """
    return _Sampler(schema).value(schema, "", 0)


def sample_asked(schema: Schema, where: str, *, code: str) -> Any:
    """Return a sample of a request's schema, which stands at ``where``.

    Raises:
        ApiError: no sample is made of it.
    """
    try:
        return sample(schema)
    except SchemaRefused as refused:
        raise _told(refused, where, code) from None


def _told(refused: SchemaRefused, where: str, code: str) -> ApiError:
    problem = f"cannot be followed, because of {refused.place}, which {refused.problem}"
    return refusal(where, problem, code=code)


class _Sampler:
    """Makes one sample, within what it may hold."""

    def __init__(self, root: Schema) -> None:
        self._root, self._left = root, MOST_CHARS
        self._targets: dict[str, Schema] = {}

    def value(self, schema: object, place: str, depth: int) -> Any:
        """Return a value of the schema at a place."""
        keywords = Keywords(schema, place)
        if depth > _DEPTH:
            return self._given(keywords, "type", None)
        reference = keywords.reference()
        if reference is not None:
            if reference not in self._targets:
                self._targets[reference] = _resolve(reference, self._root)
            target = self._targets[reference]
            return self.value(target, reference.lstrip("#/").replace("/", "."), depth + 1)
        if "const" in keywords:
            return self._given(keywords, "const", keywords.value("const"))
        if values := keywords.listed("enum"):
            return self._given(keywords, "enum", values[0])
        for choice in _CHOICES:
            if options := keywords.listed(choice):
                first = keywords.over(options[0], choice)
                return self.value(first, place, depth + 1)
        return self._of_type(keywords, depth)

    def _of_type(self, keywords: Keywords, depth: int) -> Any:
        kind = keywords.kind() or ("object" if keywords.members("properties") else "string")
        match kind:
            case "object":
                return self._object(keywords, depth)
            case "array":
                return self._array(keywords, depth)
            case "string":
                return self._text(keywords)
            case "integer" | "number":
                return self._given(keywords, "type", _number(keywords, whole=kind == "integer"))
        return self._given(keywords, "type", False if kind == "boolean" else None)

    def _object(self, keywords: Keywords, depth: int) -> dict[str, Any]:
        members = keywords.members("properties")
        made: dict[str, Any] = {}
        self._take(_SIGNS, keywords, "required")
        for name in keywords.names("required"):
            self._take(len(name) + 2 * _SIGNS, keywords, "required")
            place = f"{keywords.path('properties')}.{name}"
            made[name] = self.value(members.get(name), place, depth + 1)
        return made

    def _array(self, keywords: Keywords, depth: int) -> list[Any]:
        """Return as many items as there must be, all alike: one is made, and counted for each."""
        count = keywords.size("minItems") or 0
        self._take(_SIGNS + count, keywords, "minItems")
        if not count:
            return []
        before = self._left
        item = self.value(_item(keywords), keywords.path("items"), depth + 1)
        self._take((before - self._left) * (count - 1), keywords, "minItems")
        return [item] * count

    def _text(self, keywords: Keywords) -> str:
        least = keywords.size("minLength") or 0
        text = _TEXT[: keywords.size("maxLength")]
        self._take(_SIGNS + max(least, len(text)), keywords, "minLength")
        return text.ljust(least, ".")

    def _given(self, keywords: Keywords, name: str, value: Any) -> Any:
        """Return a value that the schema itself holds."""
        self._take(len(orjson.dumps(value)), keywords, name)
        return value

    def _take(self, chars: int, keywords: Keywords, name: str) -> None:
        if chars > self._left:
            problem = f"asks for more than the {MOST_CHARS:,} characters that an answer holds here"
            raise keywords.refusal(name, problem)
        self._left -= chars


def _item(keywords: Keywords) -> object:
    """Return the schema of all items; a list, one for each, was read in drafts before 2020."""
    items = keywords.value("items")
    return True if isinstance(items, list) and all(map(_is_schema, items)) else items


def _is_schema(value: object) -> bool:
    return isinstance(value, bool | Mapping)


def _number(keywords: Keywords, *, whole: bool) -> int | float:
    least, above = keywords.number("minimum"), keywords.value("exclusiveMinimum")
    # Up to draft 4 it was true or false, beside a minimum.
    if least is None and not isinstance(above, bool):
        above = keywords.number("exclusiveMinimum")
        least = None if above is None else above + 1
    value, most = 0 if least is None else least, keywords.number("maximum")
    if whole:
        value, most = -_floor(-value), most if most is None else _floor(most)
    value = value if most is None else min(value, most)
    return float(value) if value > _LARGEST_WHOLE else value


def _floor(value: int | float) -> int | float:
    """Return the whole number below; past 2**53 a float is one already."""
    return value if abs(value) >= 2**53 else int(value // 1)


def _resolve(reference: str, root: Schema) -> Schema:
    found: Any = root
    for step in unquote(reference).removeprefix("#").strip("/").split("/"):
        if step:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
