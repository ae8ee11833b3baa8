"""A smallest value that a JSON schema admits, for calls and answers that must have a shape.

A client that forces a tool or a response format gets something it can parse. Only the keywords that
such schemas use are read; a schema that cannot be met this way gets a value of the right type.
"""

from collections.abc import Mapping
from typing import Any

_TEXT = "scripted"
_DEPTH = 12

Schema = Mapping[str, Any]


def sample(schema: Schema) -> Any:
    """Return a value of the schema: required members only, the first of each choice."""
    return _sample(schema, schema, 0)


def _sample(schema: Schema, root: Schema, depth: int) -> Any:
    if depth > _DEPTH:
        return None
    if "$ref" in schema:
        return _sample(_resolve(str(schema["$ref"]), root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return _sample({**schema, choice: None, **schema[choice][0]}, root, depth + 1)
    return _of_type(schema, root, depth)


def _of_type(schema: Schema, root: Schema, depth: int) -> Any:
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        members: Schema = schema.get("properties") or {}
        wanted = schema.get("required") or ()
        return {key: _sample(members.get(key) or {}, root, depth + 1) for key in wanted}
    if kind == "array":
        count = schema.get("minItems") or 0
        return [_sample(schema.get("items") or {}, root, depth + 1) for _ in range(count)]
    if kind == "string":
        return _text(schema)
    if kind in ("integer", "number"):
        return _number(schema)
    return False if kind == "boolean" else None


def _text(schema: Schema) -> str:
    text = _TEXT[: schema.get("maxLength")]
    return text.ljust(schema.get("minLength") or 0, ".")


def _number(schema: Schema) -> int | float:
    least = schema.get("minimum")
    if least is None and "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + 1
    most = schema.get("maximum")
    value = 0 if least is None else least
    return min(value, most) if isinstance(most, int | float) else value


def _resolve(reference: str, root: Schema) -> Schema:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
