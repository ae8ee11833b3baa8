"""Shapes that a client demands of the scripted backend: what is made, what is refused, how fast."""

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import orjson
import pytest

from sculptor.server.run import serve_in_thread
from sculptor.server.scripted.samples import MOST_CHARS, sample
from sculptor.server.scripted.schema_reading import SchemaRefused
from sculptor.server.settings import Settings

HUGE = 1_000_000_000
FORMAT = "response_format.json_schema.schema"
PARAMETERS = "tools[0].function.parameters"


@pytest.fixture(scope="module")
def proxy() -> Iterator[str]:
    settings = Settings(port=0, store="memory", backend="scripted", drain_seconds=1)
    url, stop = serve_in_thread(settings)
    yield url
    stop()


def ask(proxy: str, **fields: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5, **fields}
    return httpx.post(f"{proxy}/v1/chat/completions", json=body, timeout=30)


def formed(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def array(count: Any, items: Any = True) -> dict[str, Any]:
    return {"type": "array", "minItems": count, "items": items}


def one(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}


FAMILY = {
    "type": "object",
    "required": list("abcdefghijkl"),
    "properties": {name: {"$ref": "#"} for name in "abcdefghijkl"},
}
TOO_LARGE: list[tuple[dict[str, Any], str]] = [
    (array(HUGE), "minItems"),
    (array(1e30), "minItems"),
    ({"type": "string", "minLength": 10**12}, "minLength"),
    (array(100, array(50, array(10))), "minItems"),
    (array(100, array(100, array(100))), "items.minItems"),
    (array(200, {"type": "string", "minLength": 1000}), "minItems"),
    (array(3, {"type": "string", "minLength": 10**12}), "items.minLength"),
    (array(20_000, {"const": "x" * 1000}), "minItems"),
    (one(array(HUGE)), "properties.a.minItems"),
    ({**one({"$ref": "#/$defs/x"}), "$defs": {"x": array(HUGE)}}, "$defs.x.minItems"),
    ({"anyOf": [array(HUGE)]}, "minItems"),
    (FAMILY, "properties.f.type"),
]

MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"type": "string", "minLength": "5"}, "minLength"),
    ({"type": "string", "minLength": -1}, "minLength"),
    ({"type": "string", "minLength": True}, "minLength"),
    ({"type": "string", "maxLength": "2"}, "maxLength"),
    (array("3"), "minItems"),
    (array(1.5), "minItems"),
    (array(1, 5), "items"),
    (array(1, [1]), "items"),
    ({"type": "object", "required": 5}, "required"),
    ({"type": "object", "required": [1]}, "required"),
    ({"type": "integer", "minimum": "x", "maximum": 3}, "minimum"),
    ({"type": "integer", "minimum": 1, "maximum": [3]}, "maximum"),
    ({"type": "integer", "exclusiveMinimum": "3"}, "exclusiveMinimum"),
    ({"anyOf": 5}, "anyOf"),
    ({"anyOf": [5]}, "anyOf"),
    ({"allOf": {"a": 1}}, "allOf"),
    ({"enum": 5}, "enum"),
    ({"enum": {"a": 1}}, "enum"),
    ({"type": 5}, "type"),
    ({"type": []}, "type"),
    ({"$ref": 5}, "$ref"),
    ({"type": "object", "properties": 5}, "properties"),
    (one(1), "properties.a"),
    (one({"type": "string", "minLength": "5"}), "properties.a.minLength"),
]


@pytest.mark.parametrize(("schema", "place"), [*TOO_LARGE, *MALFORMED], ids=lambda c: str(c)[:60])
def test_what_cannot_be_followed_is_refused_by_its_keyword(
    proxy: str, schema: dict[str, Any], place: str
) -> None:
    formats = ask(proxy, response_format=formed(schema))
    calls = ask(proxy, tools=[tool(schema)], tool_choice="required")
    for answer, where, code in (
        (formats, FORMAT, "invalid_json_schema"),
        (calls, PARAMETERS, "invalid_function_parameters"),
    ):
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error["message"].startswith(f"{where} cannot be followed, because of {place}, ")
        assert (error["param"], error["code"]) == (where, code)


def test_a_stream_is_refused_before_it_begins(proxy: str) -> None:
    answer = ask(proxy, response_format=formed(array(HUGE)), stream=True)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == FORMAT


@pytest.mark.parametrize("parameters", ["x", 5, [], ["a"], True])
@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_parameters_must_be_an_object(proxy: str, parameters: Any, choice: str) -> None:
    answer = ask(proxy, tools=[tool(None), tool(parameters)], tool_choice=choice)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tools[1].function.parameters"
    assert answer.json()["error"]["code"] == "invalid_function_parameters"


def test_a_call_that_is_not_forced_needs_no_sample(proxy: str) -> None:
    assert ask(proxy, tools=[tool(array(HUGE)), tool({"enum": 5})]).status_code == 200


def test_a_tool_of_our_name_with_odd_properties_is_no_tool_of_ours(proxy: str) -> None:
    named = {"name": "fragment_context", "parameters": {"type": "object", "properties": 5}}
    assert ask(proxy, tools=[{"type": "function", "function": named}]).status_code == 200


@pytest.mark.parametrize(
    "schema",
    [
        array(4000),
        array(30, array(30)),
        {"type": "string", "minLength": 60_000},
        {"type": "string", "minLength": 3.0},
        {"type": "integer", "minimum": 0.5},
        {"type": "integer", "exclusiveMinimum": 0.5},
        {"type": "integer", "maximum": -0.5},
        {"type": "integer", "minimum": 2**53 + 1},
        {"type": "number", "exclusiveMinimum": 2**64 - 1},
        {"type": "number", "minimum": 1e300},
        {"type": "integer", "minimum": 3, "exclusiveMinimum": False},
        one(True),
        {"anyOf": [True, {"type": "string"}]},
        {"anyOf": [{"type": "integer"}, {"type": "null"}], "title": "x"},
        {"anyOf": [{"minimum": 4}], "type": "integer"},
        {"$defs": {"a b/c": {"enum": [7]}}, "$ref": "#/$defs/a%20b~1c"},
        {"type": "string", "enum": None, "const": "a"},
        {"const": None},
    ],
    ids=lambda schema: str(schema)[:60],
)
def test_what_can_be_followed_is(schema: dict[str, Any]) -> None:
    if schema.get("exclusiveMinimum") is False or "enum" in schema:
        schema = {key: value for key, value in schema.items() if value not in (False, None)}
    made = orjson.loads(orjson.dumps(sample(schema)))
    jsonschema.validate(made, schema)
    assert len(orjson.dumps(made)) <= MOST_CHARS


def test_a_sample_takes_no_more_than_its_bound_and_is_made_at_the_bound() -> None:
    whole = {"type": "string", "minLength": MOST_CHARS - 2}
    assert len(orjson.dumps(sample(whole))) == MOST_CHARS
    with pytest.raises(SchemaRefused, match="minLength"):
        sample({"type": "string", "minLength": MOST_CHARS - 1})


def test_items_of_a_list_of_schemas_are_any_value() -> None:
    assert sample(array(2, [{"type": "integer"}])) == ["scripted", "scripted"]
