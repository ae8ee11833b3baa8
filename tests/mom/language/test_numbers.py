import json
import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from sculptor.mom.language.numbers import can_begin, is_number, number_range

limits = st.none() | st.integers(-(10**6), 10**6)
decimals = st.none() | st.floats(-1000, 1000).map(lambda value: round(value, 4))
SIGNS = "-0123456789.eE+"


@given(limits, limits, st.integers(-(10**7), 10**7))
def test_an_integer_is_written_where_it_lies_within_its_limits(
    low: int | None, high: int | None, value: int
) -> None:
    wanted = number_range(integral=True, low=low, high=high)
    within = (low is None or value >= low) and (high is None or value <= high)
    assert is_number(str(value), wanted) is within
    if within:
        text = str(value)
        assert all(can_begin(text[:length], wanted) for length in range(1, len(text)))


@given(decimals, decimals, st.floats(-2000, 2000).map(lambda value: round(value, 5)))
def test_a_decimal_is_written_where_it_lies_within_its_limits(
    low: float | None, high: float | None, value: float
) -> None:
    wanted = number_range(integral=False, low=low, high=high)
    within = (low is None or value >= low) and (high is None or value <= high)
    text = f"{value:.5f}"
    assert is_number(text, wanted) is within
    if within:
        assert all(can_begin(text[:length], wanted) for length in range(1, len(text)))


@given(st.booleans(), decimals, decimals, decimals, decimals, st.randoms())
def test_what_may_begin_can_be_ended_and_lies_within(
    integral: bool, low: Any, high: Any, above: Any, below: Any, draw: Any
) -> None:
    wanted = number_range(integral=integral, low=low, high=high, above=above, below=below)
    text = ""
    while not (is_number(text, wanted) and draw.random() < 0.3):
        further = [sign for sign in SIGNS if can_begin(text + sign, wanted)]
        if not further:
            break
        text += draw.choice(further)
    if not text:
        return
    assert is_number(text, wanted)
    value = json.loads(text)
    assert math.isfinite(value)
    assert not integral or isinstance(value, int)
    assert low is None or value >= low
    assert high is None or value <= high
    assert above is None or value > above
    assert below is None or value < below


@example(0.0025669610516227412)
@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: abs(value) < 1e270))
def test_any_number_without_limits_is_written_as_it_is(value: float) -> None:
    wanted = number_range(integral=False)
    assert is_number(json.dumps(value), wanted)


def test_what_is_no_number_of_json_is_refused() -> None:
    free = number_range(integral=False)
    for text in ("", "-", "01", "1.", ".5", "+1", "1e", "1e999", "--1", "0x1", "NaN"):
        assert not is_number(text, free)
    assert not is_number("-0", number_range(integral=True))


def test_a_range_that_holds_nothing_cannot_begin() -> None:
    for integral in (True, False):
        empty = number_range(integral=integral, low=2, high=1)
        assert not can_begin("", empty)
        assert not can_begin("-", empty)
    between = number_range(integral=True, above=1, below=2)
    assert not can_begin("", between)
