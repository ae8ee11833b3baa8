"""Keywords of JSON schemas: reading one, and joining the keywords of several schemas."""

from collections.abc import Mapping, Sequence
from typing import cast

from sculptor.mom.language.numbers import NumberRange, number_range
from sculptor.mom.language.shapes import Json

_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NOTES = frozenset(
    ("title", "description", "default", "examples", "$defs", "definitions", "$schema", "$id")
)


def range_of(schema: Json, *, integral: bool) -> NumberRange:
    """Return the numbers that the limits of a schema leave."""
    return number_range(
        integral=integral,
        low=limit_of(schema, "minimum"),
        high=limit_of(schema, "maximum"),
        above=limit_of(schema, "exclusiveMinimum"),
        below=limit_of(schema, "exclusiveMaximum"),
    )


def size_of(schema: Json, name: str) -> int | None:
    """Return a limit of a length or a count, or None where there is none."""
    value = limit_of(schema, name)
    return None if value is None else max(0, int(value))


def limit_of(schema: Json, name: str) -> float | None:
    """Return a limit, or None where there is none."""
    value = schema.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return cast("float", value) if is_number else None


def of_type(values: Sequence[object], kind: object) -> list[object]:
    """Return the values of the type, or of one of the types, that stand beside them."""
    names = [kind] if isinstance(kind, str) else kind if isinstance(kind, Sequence) else []
    if not names:
        return list(values)
    return [value for value in values if any(_is_of(value, str(name)) for name in names)]


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _PYTHON_TYPES.get(kind, (object,)))


def without(schema: Json, name: str) -> Json:
    """Return the other keywords of a schema; notes for people left out."""
    return {key: value for key, value in schema.items() if key != name and key not in _NOTES}


def merged(parts: Sequence[object]) -> Json | None:
    """Return one schema that says what all parts say, or None where they cannot be joined."""
    joined: dict[str, object] = {}
    for part in parts:
        if part is True:
            continue
        if not isinstance(part, Mapping):
            return None
        for name, value in cast("Json", part).items():
            if name not in _NOTES and not _join(joined, name, value):
                return None
    return joined


def _join(joined: dict[str, object], name: str, value: object) -> bool:
    """Add a keyword to those joined so far, and return whether that can be said."""
    known = joined.get(name, value)
    if name == "properties" and isinstance(known, Mapping) and isinstance(value, Mapping):
        joined[name] = {**known, **value}
        return all(known[key] == value[key] for key in known.keys() & value.keys())
    if name == "required" and isinstance(known, list) and isinstance(value, list):
        joined[name] = list(dict.fromkeys([*known, *value]))
        return True
    joined[name] = value
    return bool(known == value)
