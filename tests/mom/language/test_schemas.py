import json
from typing import Any

import pytest

from sculptor.mom.language.grammar import Grammar, GrammarError
from sculptor.mom.language.template import render_turn
from sculptor.mom.language.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer()


def accepts(schema: Any, value: Any) -> bool:
    """Whether a value may be answered where a schema is declared."""
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    state = Grammar(TOKENIZER, response_format=wanted).start()
    try:
        for token in render_turn({"content": text}, tokenizer=TOKENIZER):
            state = state.advance(token)
    except GrammarError:
        return False
    return state.ended


CASES = [
    ({"const": {"a": [1, "x"]}}, [{"a": [1, "x"]}], [{"a": [1]}, {}]),
    ({"enum": [1, 12, "12", None]}, [1, 12, '"12"', None], [2, 121, '"1"']),
    ({"enum": [1, "a"], "type": "string"}, ['"a"'], [1]),
    ({"type": "string", "enum": ["abc", "abcd"], "maxLength": 3}, ['"abc"'], ['"abcd"']),
    ({"enum": ["a", "bc", 1], "minLength": 2}, ['"bc"', 1], ['"a"']),
    ({"enum": ["ab", "ba", "xa"], "pattern": "^a|x"}, ['"ab"', '"xa"'], ['"ba"']),
    ({"enum": ["a", "b"], "pattern": "(?=a)"}, ['"a"', '"b"'], []),
    ({"enum": ["a", "b"], "pattern": "["}, ['"a"', '"b"'], []),
    ({"enum": [1, 2, 3, "2"], "minimum": 2, "exclusiveMaximum": 3}, [2, '"2"'], [1, 3]),
    ({"enum": [1, 2, 3, True], "maximum": 2, "exclusiveMinimum": 1}, [2, True], [1, 3]),
    ({"enum": [0.3, 0.35], "multipleOf": 0.1}, [0.3], [0.35]),
    ({"enum": [0.3, 0.35], "multipleOf": 0}, [0.3, 0.35], []),
    ({"enum": [[1], [1, 2], []], "minItems": 1, "maxItems": 1}, ["[1]"], ["[1,2]", "[]"]),
    ({"enum": [{"a": 1}, {"b": 1}], "required": ["b"]}, [{"b": 1}], [{"a": 1}]),
    ({"enum": [{"a": 1}, {}], "minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}]),
    ({"const": "abcd", "maxLength": 3}, [7, "{}"], []),
    (
        {"$defs": {"x": {"enum": ["abc", "abcd"]}}, "$ref": "#/$defs/x", "maxLength": 3},
        ['"abc"'],
        ['"abcd"'],
    ),
    ({"$defs": {"a b": {"enum": [7]}}, "$ref": "#/$defs/a%20b"}, [7], [None, 8]),
    ({"$defs": {"a/b%": {"enum": [7]}}, "$ref": "#/$defs/a~1b%25"}, [7], [None]),
    ({"type": ["integer", "null"]}, [3, None], [1.5, '"a"']),
    ({"anyOf": [{"type": "integer"}, {"type": "array"}]}, [3, [1, "x"]], [{}]),
    ({"oneOf": [{"const": 1}, {"const": 12}]}, [1, 12], [2]),
    (
        {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"a": 1}, {"b": 1, "c": 2}],
        [{}, {"c": 1}],
    ),
    ({"allOf": [{"type": "string"}, {"maxLength": 2}]}, ['"ab"'], ['"abc"', 1]),
    ({"allOf": [{"minimum": 2}, {"minimum": 3}]}, [1, "[]"], []),
    (
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}, "title": "x"},
        [1],
        ['"a"'],
    ),
    (
        {"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n", "minimum": 5}},
        [[5], []],
        [[4]],
    ),
    ({"$ref": "#/$defs/none"}, [1, {"a": None}], []),
    ({"$ref": "https://example.org/schema"}, [1, "[[]]"], []),
    ({"anyOf": [{"$ref": "#"}, {"type": "integer"}]}, [1], ['"a"']),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"é🙂"', r'"\u00e9\n"'], ['"a"']),
    ({"type": "string"}, [r'"\ud83d\ude00\/"'], [r'"\ud83d"', r'"\ude00"', '"\t"', r'"\x"']),
    ({"minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
    ({"type": "array", "items": False}, [[]], [[1]]),
    ({"type": "array", "maxItems": 0}, [[]], [[1]]),
    ({"type": "array", "prefixItems": [{"type": "string"}], "items": False}, [["a"]], [{}]),
    (
        {"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
        [{"a": 1, "b": "x"}, {"ab": "x"}, {}],
        [{"a": "x"}, {"b": 1}],
    ),
    ({"properties": {"a": False}, "type": "object"}, [{}], [{"a": 1}, {"b": 1}]),
    ({"properties": {"a": {}}, "required": ["b"]}, [{"a": 1, "b": 2}], [{"b": 1, "c": 2}]),
    ({"properties": {"a": {}}, "minProperties": 2}, [{"a": 1, "b": 2}], [{"a": 1}]),
    ({"properties": {"a": {}}, "patternProperties": {"^b": {}}}, [{"b": 1}], []),
    ({"properties": {}, "type": "object"}, [{"b": 1}], []),
    ({"type": "object", "required": ["b"]}, [{"b": 1, "a": 2}], [{}, {"a": 1}]),
    ({"type": "object", "required": ["b"], "additionalProperties": False}, [1, "[]"], []),
    ({"maxProperties": 2}, [{}, {"a": 1, "b": 2}], [{"a": 1, "b": 2, "c": 3}, 1]),
    ({"type": "object", "maxProperties": 0}, [{}], [{"a": 1}]),
    ({"minProperties": 1, "maxProperties": 1}, [{"a": {"b": {}}}], [{}, {"a": 1, "b": 2}]),
    (
        {"properties": {"a": {}, "b": {}}, "required": ["a"], "maxProperties": 1},
        [{"a": 1}],
        [{"b": 1}, {"c": 1}, {"a": 1, "b": 2}, {}],
    ),
    (
        {"properties": {"a": {}, "b": {}}, "additionalProperties": False, "minProperties": 2},
        [{"b": 1, "a": 1}],
        [{"a": 1}, {"a": 1, "c": 1}],
    ),
    ({"additionalProperties": False, "minProperties": 1}, [7, "[]"], []),
    ({"type": "object", "required": ["a", "b"], "maxProperties": 1}, [7, "[]"], []),
    ({"type": "object", "minProperties": 2, "maxProperties": 1}, [7, "[]"], []),
    ({"type": "string", "minLength": 2, "maxLength": 1}, [1, "[]"], []),
    ({"type": "integer", "minimum": 2, "maximum": 1}, [7, "{}"], []),
    ({"type": "array", "minItems": 2, "maxItems": 1}, [7, "{}"], []),
    ({"enum": []}, [7, "{}"], []),
    ({"enum": ["a"], "type": "integer"}, [7, "{}"], []),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, [0.25, 1], [0, 1.5]),
    ({"type": "integer", "minimum": 1, "maximum": 50}, [1, 9, 50], [0, 51, 100, -1]),
    ({"type": "unknown"}, [1, "{}"], []),
    ({"type": "string", "pattern": "^a$"}, ['"b"'], [1]),
    ({"type": "object", "properties": {"a": {"enum": ["x"]}}}, [{"a": "x"}], [{"a": "y"}]),
]


@pytest.mark.parametrize(("schema", "good", "bad"), CASES, ids=lambda case: str(case)[:60])
def test_a_schema_lets_through_what_satisfies_it(schema: Any, good: Any, bad: Any) -> None:
    assert [value for value in good if not accepts(schema, value)] == []
    assert [value for value in bad if accepts(schema, value)] == []


def test_recursion_without_an_end_is_any_value() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    assert accepts(schema, [1])
    assert accepts({"$ref": "#"}, 1)


def test_a_tree_may_grow() -> None:
    schema = {
        "type": "object",
        "properties": {"v": {"type": "integer"}, "next": {"$ref": "#"}},
        "required": ["v"],
        "additionalProperties": False,
    }
    value: dict[str, Any] = {"v": 0}
    for number in range(50):
        value = {"v": number, "next": value}
    assert accepts(schema, value)
    assert not accepts(schema, {"v": 1, "next": {}})


def test_any_value_is_held_to_a_depth_and_stays_a_value() -> None:
    assert accepts({}, "[" * 16 + "]" * 16)
    assert not accepts({}, "[" * 17 + "]" * 17)


def test_a_key_comes_once_and_a_free_one_in_one_spelling() -> None:
    schema = {"properties": {"a": {"type": "integer"}}, "additionalProperties": True}
    assert not accepts(schema, '{"a":1,"a":2}')
    assert not accepts(schema, r'{"\u0061":"x"}')
    assert accepts(schema, r'{"a\n\"":"x"}')


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": "object"}, {"properties": {"z": {}}, "additionalProperties": {}}],
    ids=str,
)
def test_no_object_holds_a_key_twice(schema: Any) -> None:
    assert accepts(schema, '{"a":1,"ab":{"a":[{"a":2},{"a":3}]},"b":4}')
    assert accepts(schema, r'{"\n":1,"n":2,"":3}')
    for twice in ('{"a":1,"a":2}', '{"":1,"":2}', r'{"\n":1,"b":2,"\n":3}', '{"b":{"é":1,"é":2}}'):
        assert not accepts(schema, twice)


def test_white_space_between_signs_is_not_written() -> None:
    assert not accepts({}, '{"a": 1}')
    assert not accepts({}, "[1, 2]")


def test_a_large_schema_becomes_any_value_past_a_bound() -> None:
    properties = {f"k{number}": {"type": "string", "maxLength": number} for number in range(6000)}
    schema = {"type": "object", "properties": properties}
    assert accepts(schema, {"k1": "x", "k5999": 1})
    assert not accepts(schema, {"k1": "xx"})
