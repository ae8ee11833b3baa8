from array import array

import pytest

from sculptor.mom.engine.repetition import LEAST_REPEATED, LONGEST_PERIOD, is_repeating


def going_round(period: int, repeated: int) -> "array[int]":
    """Return some text, then a piece that goes on for so many tokens after its first time."""
    return array("i", [900, 901, 902, *(place % period for place in range(period + repeated))])


@pytest.mark.parametrize("period", [1, 2, 7, LONGEST_PERIOD])
def test_a_piece_said_often_enough_is_noticed(period: int) -> None:
    assert is_repeating(going_round(period, LEAST_REPEATED))
    assert is_repeating(going_round(period, LEAST_REPEATED + 5))
    assert not is_repeating(going_round(period, LEAST_REPEATED - 1))


def test_a_longer_piece_is_not() -> None:
    assert not is_repeating(going_round(LONGEST_PERIOD + 1, 4 * LEAST_REPEATED))


def test_one_other_token_is_enough_to_go_on() -> None:
    tokens = going_round(4, 3 * LEAST_REPEATED)
    assert is_repeating(tokens)
    tokens[-LEAST_REPEATED // 2] = 77
    assert not is_repeating(tokens)


@pytest.mark.parametrize("length", [0, 1, LEAST_REPEATED])
def test_few_tokens_are_no_repetition(length: int) -> None:
    assert not is_repeating(array("i", [5] * length))


def test_what_counts_on_is_no_repetition() -> None:
    listed = [token for number in range(400) for token in (1, number, 2)]
    assert not is_repeating(listed)
