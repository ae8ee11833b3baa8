"""Keywords of a client's JSON schema, each read as what it must be.

Only what a sample is made from is read, so a keyword that makes no difference may hold anything.
``null`` counts as a keyword left out.
"""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_KEYWORDS = (
    *("$ref", "const", "enum", "anyOf", "oneOf", "allOf", "type", "properties", "required"),
    *("items", "minItems", "minLength", "maxLength", "minimum", "exclusiveMinimum", "maximum"),
)


class SchemaRefused(Exception):
    """Raised where no sample is made of a schema; ``place`` is the path of the keyword."""

    def __init__(self, place: str, problem: str) -> None:
        self.place, self.problem = place, problem
        super().__init__(f"{place}: {problem}")


class Keywords:
    """One schema at its path; ``True``, ``False`` and null leave everything open."""

    __slots__ = ("_fields", "place")

    def __init__(self, schema: object, place: str) -> None:
        if schema is not None and not isinstance(schema, bool | Mapping):
            raise SchemaRefused(place or "its root", "must be a schema: an object, true or false")
        self._fields: Schema = schema if isinstance(schema, Mapping) else {}
        self.place = place

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def path(self, name: str) -> str:
        """Return the path of one of the schema's keywords."""
        return f"{self.place}.{name}" if self.place else name

    def value(self, name: str) -> Any:
        """Return what a keyword holds, or None."""
        return self._fields.get(name)

    def refusal(self, name: str, problem: str) -> SchemaRefused:
        """Return the error of a keyword."""
        return SchemaRefused(self.path(name), problem)

    def over(self, first: object, name: str) -> dict[str, Any]:
        """Return what the first option of a choice says, and beside it the rest of the schema.

        What no sample is made from is left out: a wide schema is not copied for each of its uses.
        """
        option = Keywords(first, self.path(name))
        rest = {key: self.value(key) for key in _KEYWORDS if key in self and key != name}
        return rest | {key: option.value(key) for key in _KEYWORDS if key in option}

    def reference(self) -> str | None:
        """Return where ``$ref`` leads, or None."""
        reference = self.value("$ref")
        if not isinstance(reference, str | None):
            raise self.refusal("$ref", "must be a string")
        return reference

    def kind(self) -> str | None:
        """Return the type, the first of several, or None."""
        kind = self.value("type")
        if isinstance(kind, list) and kind:
            kind = kind[0]
        if not isinstance(kind, str | None):
            raise self.refusal("type", "must be the name of a type, or a list of such names")
        return kind

    def listed(self, name: str) -> list[Any]:
        """Return a list, empty where there is none."""
        values = self.value(name)
        if not isinstance(values, list | None):
            raise self.refusal(name, "must be a list")
        return values or []

    def names(self, name: str) -> list[str]:
        """Return a list of strings, empty where there is none."""
        values = self.listed(name)
        if not all(isinstance(value, str) for value in values):
            raise self.refusal(name, "must be a list of strings")
        return values

    def members(self, name: str) -> Schema:
        """Return an object, empty where there is none."""
        value = self.value(name)
        if not isinstance(value, Mapping | None):
            raise self.refusal(name, "must be an object")
        return value or {}

    def size(self, name: str) -> int | None:
        """Return a length or a count, or None."""
        value = self.number(name)
        if value is not None and (value < 0 or value != value // 1):
            raise self.refusal(name, "must be a whole number, 0 or more")
        return None if value is None else int(value)

    def number(self, name: str) -> int | float | None:
        """Return a number, or None."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise self.refusal(name, "must be a number")
        return value
