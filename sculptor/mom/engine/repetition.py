"""Telling when a conversation only repeats itself, so that it is not written on to its limit.

A small model that is asked what it does not know may say one thing for ever, inside any form that
its grammar leaves open. Looked at are tokens alone, so every runtime ends alike.
"""

from collections.abc import Sequence

LONGEST_PERIOD = 32
"""The longest piece, in tokens, whose repetition is noticed."""

LEAST_REPEATED = 128
"""So many tokens in a row must be those of one period before: four times the longest piece.

Of the answers of two trained models to 240 requests beyond them, held to 1,024 tokens, 124 repeated
that many, and 123 of these went on to the limit. What ended by itself repeated 40 at most, and none
of 24,000 turns to train on as many as 12.
"""

CHECKED_EVERY = 16
"""Tokens between two looks: a look at each would cost more than it saves."""


def is_repeating(tokens: Sequence[int]) -> bool:
    """Whether the last tokens only repeat a piece that stands before them."""
    end = len(tokens)
    last = tokens[end - LEAST_REPEATED :]
    periods = range(1, min(LONGEST_PERIOD, end - LEAST_REPEATED) + 1)
    return any(tokens[end - LEAST_REPEATED - p : end - p] == last for p in periods)
