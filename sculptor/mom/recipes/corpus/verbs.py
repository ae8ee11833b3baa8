"""Verbs in the forms that sentences and questions need, English ones and made-up ones."""

import random
import re
from dataclasses import dataclass

from sculptor.mom.recipes.corpus.words import made_up, pick

_MADE_UP_SHARE = 0.3
_HISSES = re.compile(r"(s|x|z|ch|sh|o)$")
_SOFT_Y = re.compile(r"[^aeiou]y$")
_DOUBLES = re.compile(r"^[^aeiou]*[aeiou][bdgmnprt]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """``base`` as in *to take*, ``third`` *takes*, ``past`` *took*, ``participle`` *taken*."""

    base: str
    third: str
    past: str
    participle: str


def draw_verb(rng: random.Random, *, rests: bool = False) -> Verb:
    """Draw a verb: one of being somewhere where it ``rests``, else one that takes an object."""
    if rng.random() < _MADE_UP_SHARE:
        return inflect(made_up(rng))
    return inflect(pick(rng, "resting" if rests else "doing"))


def inflect(entry: str) -> Verb:
    """Return the forms of a regular verb, or of ``base past participle``."""
    base, *given = entry.split()
    past, participle = given or (_regular_past(base),) * 2
    return Verb(base=base, third=_third(base), past=past, participle=participle)


def _third(base: str) -> str:
    if _SOFT_Y.search(base):
        return f"{base[:-1]}ies"
    return f"{base}es" if _HISSES.search(base) else f"{base}s"


def _regular_past(base: str) -> str:
    if base.endswith("e"):
        return f"{base}d"
    if _SOFT_Y.search(base):
        return f"{base[:-1]}ied"
    return f"{base}{base[-1]}ed" if _DOUBLES.search(base) else f"{base}ed"
