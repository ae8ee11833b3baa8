"""Only the value that is to change changes."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.spans import (
    Span,
    elements,
    locate,
    locate_all,
    members,
    splice,
    value_end,
    with_member,
)

_scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(-1, 1)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _dump(value: object, *, indent: bool) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0)


@given(_values, st.booleans())
def test_a_value_ends_where_the_parser_says(value: object, indent: bool) -> None:
    raw = _dump(value, indent=indent)
    assert value_end(raw + b" , tail", 0) == len(raw)


@given(st.lists(_values, max_size=6), st.booleans())
def test_elements_are_the_parsed_ones(values: list[object], indent: bool) -> None:
    raw = _dump(values, indent=indent)
    assert [orjson.loads(raw[a:b]) for a, b in elements(raw, 0)] == orjson.loads(raw)


@given(st.dictionaries(st.text(), _values, max_size=6), st.booleans())
def test_members_are_the_parsed_ones(value: dict[str, object], indent: bool) -> None:
    raw = _dump(value, indent=indent)
    assert {k: orjson.loads(raw[a:b]) for k, (a, b) in members(raw, 0)} == orjson.loads(raw)


@given(st.dictionaries(st.text(), _values, max_size=6), st.text(), _values, st.booleans())
def test_setting_a_member_touches_no_other_byte(
    value: dict[str, object], key: str, new: object, indent: bool
) -> None:
    raw = _dump(value, indent=indent)
    made = with_member(raw, key, orjson.dumps(new))
    assert orjson.loads(made) == orjson.loads(orjson.dumps({**value, key: new}))
    if key in value:
        span = locate(raw, (key,))
        assert made[: span.start] == raw[: span.start]
        assert made.endswith(raw[span.end :])


def test_numbers_and_escapes_stay_as_they_are_written() -> None:
    raw = b'{ "a" : 1.00e2 , "b":"\\u00e9\\/", "c" : [ 10000000000000000000001 ] }'
    span = locate(raw, ("b",))
    made = splice(raw, [(span, b'"x"')])
    assert made == raw.replace(b'"\\u00e9\\/"', b'"x"')


def test_of_equal_keys_the_last_counts() -> None:
    raw = b'{"a":1,"a":{"b":2}}'
    assert locate(raw, ("a", "b")) == Span(16, 17)


@pytest.mark.parametrize("path", [("x",), ("a", 3)])
def test_a_missing_path_is_named(path: tuple[str | int, ...]) -> None:
    with pytest.raises(KeyError):
        locate(b'{"a":[1,2]}', path)


def test_broken_json_is_no_endless_loop() -> None:
    with pytest.raises(ValueError, match="ends inside"):
        value_end(b'{"a":[1', 0)


_paths = st.sampled_from(
    [("a",), ("a", 0), ("a", 1), ("a", 1, "x"), ("b",), ("b", "x"), ("b", "y", 2), ("b", "y")]
)


@given(st.lists(_paths), st.booleans())
def test_many_places_are_those_of_one_at_a_time(
    paths: list[tuple[str | int, ...]], indent: bool
) -> None:
    raw = _dump({"a": [[1], {"x": "]"}], "b": {"x": 2, "y": [3, 4, "}"]}}, indent=indent)
    assert locate_all(raw, paths) == {path: locate(raw, path) for path in paths}


def test_of_many_places_too_the_last_of_equal_keys_counts() -> None:
    raw = b'{"a":{"x":1},"a":{"x":2}}'
    assert locate_all(raw, [("a", "x")]) == {("a", "x"): locate(raw, ("a", "x"))}


def test_of_many_places_one_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError):
        locate_all(b'{"a":[1]}', [("a", 0), ("a", 1)])


def test_many_places_of_a_long_list_take_one_reading() -> None:
    raw = _dump({"a": list(range(100_000))}, indent=False)  # hours, if each were looked up alone
    found = locate_all(raw, [("a", index) for index in range(100_000)])
    assert [int(raw[span.start : span.end]) for span in found.values()] == list(range(100_000))
