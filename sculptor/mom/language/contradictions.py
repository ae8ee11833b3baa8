"""Schemas that nothing satisfies, told by the keyword that leaves nothing.

Only what is certain is told, so that no schema with a value is ever taken for one without: limits
count where the type beside them says what they limit, and a part is looked into only where a value
cannot do without it. What else leaves nothing (parts of an ``allOf`` that contradict one another, a
recursion without an end) is not found here.
"""

import math
from collections.abc import Mapping
from typing import cast

from sculptor.mom.language.keywords import limit_of, range_of
from sculptor.mom.language.shapes import Json, resolve
from sculptor.mom.language.values import fitting

_SIZES = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


def contradiction(schema: object) -> str | None:
    """Return the path of a keyword that leaves no value (``properties.a.enum``), or None."""
    return _Search(schema).inside(schema, "")


class _Search:
    """Looks through one schema; references lead to places in it."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._targets: dict[str, str | None] = {}
        """What was found where a reference leads; None as well while it is looked for."""

    def inside(self, schema: object, where: str) -> str | None:
        """Return the path of what leaves no value in the schema at ``where``."""
        if schema is False:
            return where or "false"
        if not isinstance(schema, Mapping):
            return None
        fields, at = cast("Json", schema), f"{where}." if where else ""
        found = _values(fields) or _limits(fields)
        return f"{at}{found}" if found else self._parts(fields, at)

    def _parts(self, schema: Json, at: str) -> str | None:
        """Return what leaves no value in a part that no value can do without."""
        if found := self._target(schema.get("$ref")):
            return found
        for part in _listed(schema, "allOf"):
            if found := self.inside(part, f"{at}allOf"):
                return found
        for name in ("anyOf", "oneOf"):
            if schema.get(name) == []:
                return f"{at}{name}"
            each = [self.inside(option, f"{at}{name}") for option in _listed(schema, name)]
            if each and all(each):
                return each[0]
        match schema.get("type"):
            case "array" if _least(schema, "minItems") > 0 and "prefixItems" not in schema:
                return self.inside(schema.get("items"), f"{at}items")
            case "object":
                return self._members(schema, at)
            case _:
                return None

    def _target(self, reference: object) -> str | None:
        if not isinstance(reference, str):
            return None
        if reference not in self._targets:
            self._targets[reference] = None
            target = resolve(reference, self._root)
            self._targets[reference] = self.inside(target, reference.lstrip("#/").replace("/", "."))
        return self._targets[reference]

    def _members(self, schema: Json, at: str) -> str | None:
        properties = schema.get("properties")
        named = cast("Json", properties) if isinstance(properties, Mapping) else {}
        is_closed = schema.get("additionalProperties") is False
        is_closed = is_closed and "patternProperties" not in schema
        for name in _names(schema, "required"):
            if is_closed and name not in named:
                return f"{at}required"
            if found := self.inside(named.get(name), f"{at}properties.{name}"):
                return found
        too_few = is_closed and len(named) < _least(schema, "minProperties")
        return f"{at}minProperties" if too_few else None


def _values(schema: Json) -> str | None:
    """Return the keyword that names values, where the rest leaves none of them."""
    if "const" in schema and not fitting([schema["const"]], schema):
        return "const"
    if isinstance(schema.get("enum"), list):
        values = fitting(_listed(schema, "enum"), schema)
        if "const" in schema:
            values = [value for value in values if _is_same(value, schema["const"])]
        if not values:
            return "enum"
    return "not" if schema.get("not") is True or schema.get("not") == {} else None


def _is_same(value: object, other: object) -> bool:
    """Whether two values are one in JSON, where true is no number."""
    return value == other and isinstance(value, bool) is isinstance(other, bool)


def _limits(schema: Json) -> str | None:
    """Return the limit that leaves nothing beside another."""
    match schema.get("type"):
        case "integer":
            wanted = range_of(schema, integral=True)
            is_empty = (
                wanted.low is not None and wanted.high is not None and wanted.low > wanted.high
            )
            return _first(schema, "maximum", "exclusiveMaximum") if is_empty else None
        case "number":
            return _first(schema, "maximum", "exclusiveMaximum") if _is_empty(schema) else None
        case str(kind) if kind in _SIZES:
            low, high = _SIZES[kind]
            most = limit_of(schema, high)
            least: float = _least(schema, low)
            if kind == "object":
                least = max(least, len(set(_names(schema, "required"))))
            return high if most is not None and least > most else None
        case _:
            return None


def _is_empty(schema: Json) -> bool:
    """Whether no number lies within the limits of a schema."""
    low, above = limit_of(schema, "minimum"), limit_of(schema, "exclusiveMinimum")
    high, below = limit_of(schema, "maximum"), limit_of(schema, "exclusiveMaximum")
    least = max((limit for limit in (low, above) if limit is not None), default=-math.inf)
    most = min((limit for limit in (high, below) if limit is not None), default=math.inf)
    return least > most or (least == most and (least == above or most == below))


def _least(schema: Json, name: str) -> float:
    return limit_of(schema, name) or 0


def _first(schema: Json, *names: str) -> str:
    return next(name for name in names if name in schema)


def _listed(schema: Json, name: str) -> list[object]:
    value = schema.get(name)
    return cast("list[object]", value) if isinstance(value, list) else []


def _names(schema: Json, name: str) -> list[str]:
    return [each for each in _listed(schema, name) if isinstance(each, str)]
