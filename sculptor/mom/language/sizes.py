"""How much schemas name: a grammar holds every value, property and required key of them."""

from collections.abc import Mapping
from typing import cast

_NAMING = ("enum", "properties", "required")
_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords below which stand names of the client's own, and below these schemas."""

_DATA = frozenset({"enum", "const", "default", "examples"})
"""Keywords below which stand values and no schemas."""


def count_named(schemas: object) -> int:
    """Return how many values, properties and required keys a schema, or a list of them, names."""
    named, left = 0, [schemas]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += cast("list[object]", part)
        elif isinstance(part, Mapping):
            schema = cast("Mapping[str, object]", part)
            lists = (schema.get(name) for name in _NAMING)
            named += sum(len(each) for each in lists if isinstance(each, list | dict))
            for keyword, inside in schema.items():
                if keyword in _BY_NAME and isinstance(inside, dict):
                    left += inside.values()
                elif keyword not in _DATA:
                    left.append(inside)
    return named
