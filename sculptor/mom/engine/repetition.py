"""Telling when a conversation only repeats itself, so that it is not written on to its limit.

A small model that is asked what it does not know may say one thing for ever, inside any form that
its grammar leaves open; or the same few things in an order that changes. Looked at are tokens
alone, so every runtime ends alike.
"""

from collections.abc import Collection, Sequence

LONGEST_PERIOD = 32
"""The longest piece, in tokens, whose repetition is noticed."""

LEAST_REPEATED = 128
"""So many tokens in a row must be those of one period before: four times the longest piece.

Of the answers of two trained models to 240 requests beyond them, held to 1,024 tokens, 124 repeated
that many, and 123 of these went on to the limit. What ended by itself repeated 40 at most, and none
of 24,000 turns to train on as many as 12.
"""

PHRASE_TOKENS = 8
STALE_TOKENS = 256
LEAST_STALE = 224
"""So many of the last ``STALE_TOKENS`` must end a phrase that was written before.

Of 120 answers of the shipped model to requests beyond it, held to 1,024 tokens, two went on to the
limit, a sentence of 35 tokens said now whole and now in part: 256 of 256 at their end. Of 108 turns
to train on that are as long, the most repetitive had 85.
"""

LOOKED_BACK = 2_048
"""Tokens in which a phrase is looked for, so that a look costs the same in the longest answer."""

CHECKED_EVERY = 16
"""Tokens between two looks: a look at each would cost more than it saves."""


def is_repeating(tokens: Sequence[int], *, borders: Collection[int] = ()) -> bool:
    """Whether the last tokens only repeat what stands before them, in order or piece by piece.

    Piece by piece is looked for since the last of ``borders``: rows of a form are alike, and end.
    """
    return _goes_round(tokens) or _is_stale(_since(tokens[-LOOKED_BACK:], borders))


def _since(tokens: Sequence[int], borders: Collection[int]) -> Sequence[int]:
    at = next((at for at in range(len(tokens), 0, -1) if tokens[at - 1] in borders), 0)
    return tokens[at:]


def _goes_round(tokens: Sequence[int]) -> bool:
    end = len(tokens)
    last = tokens[end - LEAST_REPEATED :]
    periods = range(1, min(LONGEST_PERIOD, end - LEAST_REPEATED) + 1)
    return any(tokens[end - LEAST_REPEATED - p : end - p] == last for p in periods)


def _is_stale(tokens: Sequence[int]) -> bool:
    phrases = len(tokens) - PHRASE_TOKENS + 1
    if phrases < STALE_TOKENS:
        return False
    seen: set[tuple[int, ...]] = set()
    stale = 0
    for at in range(phrases):
        phrase = tuple(tokens[at : at + PHRASE_TOKENS])
        stale += phrase in seen and at >= phrases - STALE_TOKENS
        seen.add(phrase)
    return stale >= LEAST_STALE
