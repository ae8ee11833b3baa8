import random
from array import array

import pytest

from sculptor.mom.engine.repetition import (
    LEAST_REPEATED,
    LONGEST_PERIOD,
    LOOKED_BACK,
    STALE_TOKENS,
    is_repeating,
)


def going_round(period: int, repeated: int) -> "array[int]":
    """Return some text, then a piece that goes on for so many tokens after its first time."""
    return array("i", [900, 901, 902, *(place % period for place in range(period + repeated))])


@pytest.mark.parametrize("period", [1, 2, 7, LONGEST_PERIOD])
def test_a_piece_said_often_enough_is_noticed(period: int) -> None:
    assert is_repeating(going_round(period, LEAST_REPEATED))
    assert is_repeating(going_round(period, LEAST_REPEATED + 5))
    assert not is_repeating(going_round(period, LEAST_REPEATED - 1))


def test_a_longer_piece_is_noticed_later() -> None:
    period = LONGEST_PERIOD + 1
    assert not is_repeating(going_round(period, LEAST_REPEATED + 5))
    assert is_repeating(going_round(period, STALE_TOKENS + 8))


def test_a_few_things_in_an_order_that_changes_are_noticed() -> None:
    rng = random.Random(7)
    said = [[1, *range(10 * piece, 10 * piece + 40 + piece)] for piece in (1, 2)]
    tokens = [token for _ in range(40) for token in rng.choice(said)]
    assert is_repeating(tokens)
    assert is_repeating(tokens * 3)


def test_a_passage_said_twice_is_no_repetition() -> None:
    """Up to some 250 tokens, that is; twice a longer one cannot be told from going round."""
    passage = list(range(200))
    assert not is_repeating([*passage, 900, *passage])
    assert not is_repeating([*range(3_000), *passage])
    assert not is_repeating([*range(300), *range(1_000, 1_000 + LOOKED_BACK), *range(300)])


def test_records_alike_but_for_their_values_are_no_repetition() -> None:
    """Seven tokens of a form in a row, then what is new: as in lists of objects."""
    form = [1, 2, 3, 4, 5, 6, 7]
    assert not is_repeating([token for value in range(500) for token in (*form, 1_000 + value)])


def test_one_other_token_is_enough_to_go_on() -> None:
    tokens = going_round(4, LEAST_REPEATED + 20)
    assert is_repeating(tokens)
    tokens[-LEAST_REPEATED // 2] = 77
    assert not is_repeating(tokens)


@pytest.mark.parametrize("length", [0, 1, LEAST_REPEATED])
def test_few_tokens_are_no_repetition(length: int) -> None:
    assert not is_repeating(array("i", [5] * length))


def test_rows_of_a_form_are_no_repetition_beyond_their_borders() -> None:
    """A table of ten rows says its names ten times, each between quotes."""
    quote, rng = 999, random.Random(3)
    names = [list(range(20 * name, 20 * name + 12)) for name in range(1, 5)]
    row = [[quote, *name, quote, rng.randrange(3)] for name in names for _ in range(40)]
    rng.shuffle(row)
    tokens = [token for said in row for token in said]
    assert is_repeating(tokens)
    assert not is_repeating(tokens, borders={quote})
    once = [token for name in names for token in name]
    assert is_repeating([*tokens, quote, *once * 8], borders={quote}), "within one text it is"


def test_what_counts_on_is_no_repetition() -> None:
    listed = [token for number in range(400) for token in (1, number, 2)]
    assert not is_repeating(listed)
