import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sculptor.mom.language.contradictions import contradiction
from sculptor.mom.language.grammar import Grammar
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.tools import toolset
from tests.mom.language.random_schemas import instances, schemas

NOTHING: dict[str, Any] = {"type": "string", "enum": []}
VALUES: list[Any] = [None, True, 0, 1, 2.5, -3, "", "a", "abc", [], [1], ["a", 1], {}, {"a": 1}]
VALUES += [{"a": "a", "b": 2}, {"a": [], "b": {}, "c": None}, [[], {}], {"b": {"a": 1}}]


def closed(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, **fields}


def one(inner: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": inner}, "required": ["a"]}


CASES: list[tuple[Any, str]] = [
    (False, "false"),
    (NOTHING, "enum"),
    ({"enum": []}, "enum"),
    ({"const": 3, "enum": [1, 2]}, "enum"),
    ({"const": 1, "enum": [True]}, "enum"),
    ({"anyOf": []}, "anyOf"),
    ({"enum": [1, None], "type": ["string", "boolean"]}, "enum"),
    ({"type": "string", "enum": ["abcd"], "maxLength": 3}, "enum"),
    ({"enum": ["a", "ab"], "pattern": "c"}, "enum"),
    ({"enum": [1, 2], "multipleOf": 4, "type": "integer"}, "enum"),
    ({"enum": [[1]], "minItems": 2}, "enum"),
    ({"const": "abcd", "maxLength": 3}, "const"),
    ({"const": 1, "type": "string"}, "const"),
    ({"not": {}}, "not"),
    ({"type": "string", "not": True}, "not"),
    ({"type": "integer", "minimum": 2, "maximum": 1}, "maximum"),
    ({"type": "integer", "minimum": 0.2, "maximum": 0.8}, "maximum"),
    ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "exclusiveMaximum"),
    ({"type": "number", "minimum": 1.5, "maximum": 1}, "maximum"),
    ({"type": "number", "minimum": 1, "exclusiveMaximum": 1}, "exclusiveMaximum"),
    ({"type": "string", "minLength": 2, "maxLength": 1}, "maxLength"),
    ({"type": "array", "minItems": 2, "maxItems": 1}, "maxItems"),
    ({"type": "array", "minItems": 1, "items": False}, "items"),
    ({"type": "array", "minItems": 1, "items": NOTHING}, "items.enum"),
    ({"type": "object", "minProperties": 2, "maxProperties": 1}, "maxProperties"),
    ({"type": "object", "required": ["a", "b"], "maxProperties": 1}, "maxProperties"),
    (closed(required=["a"]), "required"),
    (closed(properties={"a": {}}, minProperties=2), "minProperties"),
    (one(NOTHING), "properties.a.enum"),
    (one(one(False)), "properties.a.properties.a"),
    ({"anyOf": [NOTHING, {"not": {}}]}, "anyOf.enum"),
    ({"oneOf": [NOTHING]}, "oneOf.enum"),
    ({"allOf": [{}, NOTHING]}, "allOf.enum"),
    ({**one({"$ref": "#/$defs/door"}), "$defs": {"door": NOTHING}}, "$defs.door.enum"),
    ({"anyOf": [{"$ref": "#/$defs/x"}] * 2, "$defs": {"x": NOTHING}}, "$defs.x.enum"),
]

SATISFIED: list[Any] = [
    True,
    {},
    {"const": 1, "enum": ["a", 1.0]},
    {"type": "object"},
    {"minItems": 2, "maxItems": 1},
    {"minimum": 2, "maximum": 1},
    {"additionalProperties": False, "required": ["a"]},
    closed(patternProperties={"^a": {}}, required=["a"], minProperties=1),
    {"type": "object", "properties": {"a": NOTHING}},
    {"type": "array", "items": NOTHING},
    {"type": "array", "minItems": 1, "prefixItems": [{}], "items": False},
    {"anyOf": [NOTHING, {"type": "string"}]},
    {"not": {"type": "string"}},
    {"type": "number", "minimum": 1, "maximum": 1},
    {"type": "integer", "exclusiveMinimum": 1, "maximum": 2},
    {"enum": [1.0], "type": "integer"},
    {"enum": ["a", 1], "pattern": "b"},
    {"enum": ["a"], "pattern": "(?=a)", "minimum": 2},
    {"enum": [True], "minimum": 2},
    {"enum": [None], "type": ["string", "null"]},
    {"type": "object", "required": ["a", "a"], "maxProperties": 1},
    {"type": "string", "enum": "abc"},
    {"type": "number", "minimum": "2", "maximum": None},
    {"type": "object", "properties": {"a": {"$ref": "#"}}},
    {"type": "object", "required": [["a"], 7], "additionalProperties": False},
]


@pytest.mark.parametrize(("schema", "keyword"), CASES, ids=str)
def test_the_keyword_that_leaves_nothing_is_named(schema: Any, keyword: str) -> None:
    assert not any(Draft202012Validator(schema).is_valid(value) for value in VALUES)
    assert contradiction(schema) == keyword


@pytest.mark.parametrize("schema", SATISFIED, ids=str)
def test_what_has_a_value_is_left_alone(schema: Any) -> None:
    assert contradiction(schema) is None


@pytest.mark.parametrize("name", ["full", "paper"])
def test_our_own_tools_can_be_called(name: Any) -> None:
    for wire in toolset(name).wire:
        assert contradiction(orjson.loads(wire)["function"]["parameters"]) is None


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_schema_with_a_value_is_taken_for_one_without(data: st.DataObject) -> None:
    schema = data.draw(schemas)
    data.draw(instances(schema))
    assert contradiction(schema) is None


LIMITS = st.integers(-1, 3) | st.floats(-1, 3).map(lambda value: round(value, 1))
KINDS = st.sampled_from(["object", "array", "string", "integer", "number", "null", "boolean"])
KEYS = st.sampled_from(["a", "b", "c"])
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
SIZES = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
ANY: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.booleans()
        | st.fixed_dictionaries(
            {},
            optional={
                "type": KINDS | st.lists(KINDS, min_size=1, max_size=2, unique=True),
                "enum": st.lists(st.sampled_from(VALUES[:8]), max_size=2),
                "const": st.sampled_from(VALUES[:8]),
                "not": ANY,
                "allOf": st.lists(ANY, min_size=1, max_size=2),
                "anyOf": st.lists(ANY, min_size=1, max_size=2),
                "oneOf": st.lists(ANY, min_size=1, max_size=2),
                "items": ANY,
                "properties": st.dictionaries(KEYS, ANY, max_size=2),
                "patternProperties": st.dictionaries(KEYS, ANY, max_size=1),
                "additionalProperties": ANY,
                "required": st.lists(KEYS, max_size=2, unique=True),
                "$ref": st.just("#/$defs/x"),
                **dict.fromkeys(BOUNDS, LIMITS),
                **dict.fromkeys(SIZES, st.integers(0, 3)),
            },
        )
    )
)


@settings(max_examples=80, deadline=None)
@given(ANY, ANY)
def test_a_validator_finds_no_value_either(schema: Any, other: Any) -> None:
    whole = {"allOf": [schema], "$defs": {"x": other}}
    if contradiction(whole) is not None:
        validator = Draft202012Validator(whole)
        # A reference to itself is one that a validator makes no end of.
        with contextlib.suppress(RecursionError):
            assert not any(validator.is_valid(value) for value in VALUES)


def test_what_is_not_found_becomes_any_value() -> None:
    endless = one({"$ref": "#"})
    tokenizer = load_tokenizer()
    for schema in (endless, {"type": "string", "allOf": [{"const": 1}]}):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        assert contradiction(schema) is None
        allowed = Grammar(tokenizer, response_format=wanted).start().allowed()
        assert all(allowed[tokenizer.encode(text)[0]] for text in ("[", "7", '"'))
