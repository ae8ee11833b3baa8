"""Words, names and codes that the corpus draws from.

Made-up words are built from syllables, plain ones come from ``words.toml``; whatever is a key,
value, name or needle of an evaluation is refused here, where words are made, so that no family has
to think of it. The same generator state gives the same words everywhere.
"""

import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

from sculptor.mom.recipes.corpus.reserved import is_reserved

_ONSETS = (
    "b c d f g h j k l m n p r s t v w y z bl br ch cl cr dr fl fr gl gr kn pl pr qu sc sh sk sl sm "
    "sn sp squ st str sw th tr tw wh"
).split()
_NUCLEI = "a a e e i i o o u u ai au ea ee ie oa oi oo ou y".split()
_CODAS = [
    "",
    "",
    "",
    "",
] + "b ck d ff g k l ll m n n ng nd nk nt p r rd rk rm rn rst s ss st t th x z".split()
_ENDINGS = (
    "a able al an ant ary en er ery ess et ey ia ic ide in ing ine ion ish ist ite ity ium le "
)
_ENDINGS += "ly ment ness o on or ose ous ton um ure us y"
_TAILS = _ENDINGS.split()

Draw = Callable[[random.Random], str]


@lru_cache(maxsize=1)
def word_lists() -> Mapping[str, Sequence[str]]:
    """Return the plain words by kind, those an evaluation uses left out."""
    text = files("sculptor.mom.recipes.corpus").joinpath("words.toml").read_text(encoding="utf-8")
    lists = tomllib.loads(text)
    return {
        kind: tuple(word for word in words if kind == "filler" or not is_reserved(word))
        for kind, words in lists.items()
    }


def pick(rng: random.Random, kind: str) -> str:
    """Draw a plain word of a kind."""
    return rng.choice(word_lists()[kind])


def made_up(rng: random.Random) -> str:
    """Draw a word of one to three syllables that no evaluation knows."""
    while True:
        parts = [
            rng.choice(_ONSETS) + rng.choice(_NUCLEI) + rng.choice(_CODAS)
            for _ in range(rng.choice((1, 2, 2)))
        ]
        if rng.random() < 0.5:
            parts.append(rng.choice(_TAILS))
        word = "".join(parts)
        if 3 <= len(word) <= 14 and not is_reserved(word):
            return word


def name(rng: random.Random) -> str:
    """Draw a made-up first and last name."""
    return f"{made_up(rng).capitalize()} {made_up(rng).capitalize()}"


def place(rng: random.Random) -> str:
    """Draw a made-up place."""
    return made_up(rng).capitalize() + rng.choice(("", "", " Yard", " Green", " End", " Cross"))


def code(rng: random.Random) -> str:
    """Draw a code of letters and digits."""
    letters = "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=rng.randint(1, 3)))
    return f"{letters}{rng.choice(('-', '', '/'))}{rng.randint(1, 9999)}"


def number(rng: random.Random) -> str:
    """Draw a number, whole or not."""
    if rng.random() < 0.25:
        return f"{rng.randint(0, 999)}.{rng.randint(0, 99):02d}"
    return str(rng.randint(0, 10 ** rng.randint(1, 6)))


def hexadecimal(rng: random.Random) -> str:
    """Draw a hexadecimal string."""
    return f"{rng.getrandbits(48):012x}"[: rng.choice((6, 8, 12))]


def phrase(rng: random.Random) -> str:
    """Draw two words, one of them plain."""
    return rng.choice(
        (
            lambda: f"{pick(rng, 'adjectives')} {pick(rng, 'things')}",
            lambda: f"{made_up(rng)} {pick(rng, 'things')}",
            lambda: f"{pick(rng, 'adjectives')} {made_up(rng)}",
        )
    )()


def pair_of_words(rng: random.Random) -> str:
    """Draw two made-up words, now and then with a capital."""
    first, second = made_up(rng), made_up(rng)
    return f"{first.capitalize() if rng.random() < 0.3 else first} {second}"


NAMING: Sequence[Draw] = (made_up, phrase, pair_of_words, code, name, made_up)
"""Ways to name things, one a sample."""

SAYING: Sequence[Draw] = (made_up, made_up, pair_of_words, phrase, number, code, hexadecimal, name)
"""Ways to write values, one or two a sample."""


def distinct(rng: random.Random, draw: Draw, count: int) -> list[str]:
    """Draw words that differ, case aside."""
    found: dict[str, str] = {}
    while len(found) < count:
        word = draw(rng)
        found.setdefault(word.casefold(), word)
    return list(found.values())
