"""OpenAI's published schemas of chat completions, made strict enough to judge what we write.

The description says ``nullable: true`` as OpenAPI 3.0 did; such a schema becomes a union with null.
It also leaves every object open, so that a misspelt member would pass; here an object that names
its members has no others, except ``x_context``, the one extension of ours.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from jsonschema import Draft202012Validator

Schema = dict[str, Any]
FILE = Path(__file__).parents[1] / "data" / "openai" / "chat_schemas.json"
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_X_CONTEXT: Schema = {
    "type": "object",
    "properties": {
        "session": {"type": "string", "minLength": 1},
        "lane": {"type": "string", "minLength": 1},
        "version": {"type": "string", "minLength": 1},
        "operations": _COUNT,
        "steps": _COUNT,
        "stored": {"type": "boolean"},
        "view_tokens": _COUNT,
        "original_tokens": _COUNT,
        "billed": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "prompt_tokens": _COUNT_OR_NULL,
                    "cached_tokens": _COUNT_OR_NULL,
                    "completion_tokens": _COUNT_OR_NULL,
                    "view_tokens": _COUNT,
                },
                "additionalProperties": False,
                "required": ["prompt_tokens", "cached_tokens", "completion_tokens", "view_tokens"],
            },
        },
    },
    "additionalProperties": False,
    "required": ["session", "lane", "version", "operations", "steps", "view_tokens", "billed"],
}
_EXTENDED = ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse")


def check(name: str, value: object, *, strict: bool = True) -> None:
    """Hold a JSON value against a schema; not ``strict``: members beyond it may stand."""
    errors = list(_validator(name, strict).iter_errors(value))
    assert not errors, "\n".join(f"{e.json_path}: {e.message[:400]}" for e in errors)


@lru_cache
def _validator(name: str, strict: bool) -> Draft202012Validator:
    schemas: dict[str, Schema] = orjson.loads(FILE.read_bytes())["components"]["schemas"]
    if strict:
        for extended in _EXTENDED:
            schemas[extended]["properties"]["x_context"] = _X_CONTEXT
        parts = {reference for schema in schemas.values() for reference in _composed(schema)}
        for each, schema in schemas.items():
            _close(schema, is_part=each in parts)
    made = {
        "$ref": f"#/components/schemas/{name}",
        "components": {"schemas": {each: _unite(schema) for each, schema in schemas.items()}},
    }
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _unite(schema: Any) -> Any:
    """Return the schema with every ``nullable`` written as a union with null."""
    if isinstance(schema, list):
        return [_unite(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {key: _unite(item) for key, item in schema.items() if key != "nullable"}
    return {"anyOf": [rest, {"type": "null"}]} if schema.get("nullable") is True else rest


def _composed(schema: Any) -> set[str]:
    """Return the names of the schemas that are parts of an ``allOf``."""
    if isinstance(schema, list):
        return set().union(*map(_composed, schema))
    if not isinstance(schema, dict):
        return set()
    parts = [part["$ref"] for part in schema.get("allOf", ()) if "$ref" in part]
    return {part.rpartition("/")[2] for part in parts}.union(*map(_composed, schema.values()))


def _close(schema: Any, *, is_part: bool = False) -> None:
    """Forbid members beyond those named; a part of an ``allOf`` is closed by the whole."""
    if isinstance(schema, list):
        for item in schema:
            _close(item)
    if not isinstance(schema, dict):
        return
    names_members = "allOf" in schema or isinstance(schema.get("properties"), dict)
    if names_members and "additionalProperties" not in schema and not is_part:
        schema["unevaluatedProperties"] = False
    for key, item in schema.items():
        if key == "properties":
            for member in item.values():
                _close(member)
        elif key == "allOf":
            for part in item:
                _close(part, is_part=True)
        elif key != "unevaluatedProperties":
            _close(item)
