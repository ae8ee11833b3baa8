"""JSON schemas in few tokens, and JSON text cut into tokens with atomic argument keys.

The model is shown of a tool's parameters what it needs to write a call: names, types and allowed
values. Descriptions and limits are left out; the grammar holds decoding to the limits.
"""

import re
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import unquote

import orjson

from sculptor.mom.language.protocol import ARGUMENT_TOKENS, NEXT_STRING
from sculptor.mom.language.tokenizer import Tokenizer

Json = Mapping[str, object]

_DEPTH = 3
"""Levels of nested objects that are shown; deeper ones are named by their type alone."""

_STRING_OR_SPACE = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\n\r]+', re.DOTALL)
_KEY = f'"({"|".join(ARGUMENT_TOKENS)})":'
_STRING = r'"(?:[^"\\]|\\.)*+"'
_ATOMIC = re.compile(f"{_KEY}|{_STRING}(?:(?=,{_STRING}(?!:))(,))?", re.DOTALL)


def render_parameters(schema: Json, *, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens of a tool's parameters: ``"name":type`` one after the other."""
    return encode_json(_properties(schema, root=schema, depth=0), tokenizer=tokenizer)


def compact(text: str) -> str:
    """Return JSON without white space between its signs, and what is no JSON as it is.

    Strings, numbers and keys stay as they were written.
    """
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return _STRING_OR_SPACE.sub(lambda found: found[1] or "", text)


def encode_json(text: str, *, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens of compact JSON inside a call, keys of atomic names as their one token."""
    tokens: list[int] = []
    at = 0
    for found in _ATOMIC.finditer(text):
        if found[1]:
            tokens += tokenizer.encode(text[at : found.start()])
            tokens.append(ARGUMENT_TOKENS[found[1]])
            at = found.end()
        elif found[2]:
            tokens += tokenizer.encode(text[at : found.end() - len('",')])
            tokens.append(NEXT_STRING)
            at = found.end() + len('"')
    return tokens + tokenizer.encode(text[at:])


def _properties(schema: Json, *, root: Json, depth: int) -> str:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return ""
    required = schema.get("required")
    needed = set(required) if isinstance(required, Sequence) else set[object]()
    return "".join(
        f"{_dumps(name)}:{_shape(value, root=root, depth=depth)}{'' if name in needed else '?'}"
        for name, value in cast("Json", properties).items()
    )


def _shape(schema: object, *, root: Json, depth: int) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    schema = _resolved(cast("Json", schema), root)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, Sequence):
        return "|".join(_dumps(value) for value in values)
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, Sequence):
        return "|".join(_shape(option, root=root, depth=depth) for option in options)
    kind = schema.get("type")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        return "|".join(_shape({**schema, "type": one}, root=root, depth=depth) for one in kind)
    if kind == "array" and depth < _DEPTH:
        return f"[{_shape(schema.get('items'), root=root, depth=depth + 1)}]"
    if kind == "object" and depth < _DEPTH:
        return "{" + _properties(schema, root=root, depth=depth + 1) + "}"
    return kind if isinstance(kind, str) else "any"


def _resolved(schema: Json, root: Json) -> Json:
    """Return what a local reference names, once; a reference to nothing shows as any value."""
    target = resolve(schema.get("$ref"), root)
    return cast("Json", target) if isinstance(target, Mapping) else schema


def resolve(reference: object, root: object) -> object:
    """Return what a local ``$ref`` (``#/$defs/name``) names, or None where it names nothing."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    place = root
    for step in unquote(reference[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(place, Mapping):
            place = cast("Json", place).get(name)
        elif isinstance(place, Sequence) and name.isdigit() and int(name) < len(place):
            place = cast("Sequence[object]", place)[int(name)]
        else:
            return None
    return place


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()
