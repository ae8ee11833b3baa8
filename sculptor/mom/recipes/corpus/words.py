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

from sculptor.mom.recipes.corpus.reserved import is_reserved, last_words

_ONSETS, _NUCLEI, _CODAS = (
    tuple(line.replace("-", "").split(" "))
    for line in (
        "b c d f g h j k l m n p r s t v w y z bl br ch cl cr dr fl fr gl gr kn pl pr qu sh sl sn "
        "sp st str sw th tr wh",
        "a a a e e e i i o o u u ai au ea ee ie oa oi oo ou y",
        "- - - - - - b ck d g k l ll m n n n ng nd nk nt p r r rd rk rm rn s s ss st t t th x z",
    )
)

_SCRIPTS = (
    (0x00E0, 0x00F6),
    (0x0100, 0x017F),
    (0x03B1, 0x03C9),
    (0x0430, 0x044F),
    (0x05D0, 0x05EA),
    (0x0905, 0x0939),
    (0x3041, 0x3096),
    (0x4E00, 0x9FA5),
    (0xAC00, 0xD7A3),
    (0x1F600, 0x1F64F),
)
"""Ranges of code points, Latin with accents first."""

_PARTS = frozenset({"filler", "morphemes", "pieces", "small", "suffixes"})
"""Lists whose entries never stand alone."""
_RUNNING = ("pieces", "small")
"""Lists written as running text."""

Draw = Callable[[random.Random], str]


@lru_cache(maxsize=1)
def word_lists() -> Mapping[str, Sequence[str]]:
    """Return the plain words by kind, those an evaluation uses left out."""
    text = files("sculptor.mom.recipes.corpus").joinpath("words.toml").read_text(encoding="utf-8")
    lists = tomllib.loads(text)
    return {
        kind: tuple(word for word in words if kind in _PARTS or not is_reserved(word))
        for kind, words in (lists | {kind: lists[kind].split() for kind in _RUNNING}).items()
    }


def pick(rng: random.Random, kind: str) -> str:
    """Draw a plain word of a kind."""
    return rng.choice(word_lists()[kind])


def made_up(rng: random.Random) -> str:
    """Draw a word that no evaluation knows: syllables, a compound, or pieces of English."""
    while True:
        word = rng.choice((_syllables, _compound, _pieces))(rng)
        if 3 <= len(word) <= 15 and not is_reserved(word):
            return word


def _syllables(rng: random.Random) -> str:
    parts = (
        rng.choice(_ONSETS) + rng.choice(_NUCLEI) + rng.choice(_CODAS)
        for _ in range(rng.choice((1, 2, 2, 3)))
    )
    return "".join(parts)


def _compound(rng: random.Random) -> str:
    first, ending = pick(rng, "morphemes"), rng.random()
    if ending < 0.35:
        return first + pick(rng, "morphemes")
    if ending < 0.75:
        return first + pick(rng, "suffixes")
    return _syllables(rng) + pick(rng, rng.choice(("morphemes", "suffixes")))


def _pieces(rng: random.Random) -> str:
    count = rng.choice((2, 2, 3))
    return "".join(pick(rng, "pieces") for _ in range(count)).lower()


def odd(rng: random.Random) -> str:
    """Draw a short string of signs and letters from anywhere, as users type them."""
    word, kind = made_up(rng), rng.random()
    if kind < 0.4:
        return word + rng.choice("#$%&@`~^!?*") + str(rng.randint(0, 99))
    first, last = rng.choice(_SCRIPTS)
    letters = "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 5)))
    return letters if kind < 0.6 else word[:3] + letters + word[3:]


def name(rng: random.Random) -> str:
    """Draw a first and a last name, made up but for the one in four that has a known first name."""
    first, last = (made_up(rng) if rng.random() < 0.7 else plain_piece(rng) for _ in range(2))
    if rng.random() < 0.25:
        first = pick(rng, "given")
    return f"{first.capitalize()} {last.capitalize()}"


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
    if rng.random() < 0.2:
        groups = (f"{rng.getrandbits(16):04x}" for _ in range(rng.randint(2, 6)))
        return "-".join(groups)
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


def compound_name(rng: random.Random) -> str:
    """Draw two or three words held together by a sign, with a figure now and then."""
    sign = rng.choice("--_./")
    words = [made_up(rng) if rng.random() < 0.5 else plain_piece(rng) for _ in range(2)]
    figure = [str(rng.randint(0, 999))] if rng.random() < 0.35 else []
    return sign.join((*words, *figure))


def grouped_hexadecimal(rng: random.Random) -> str:
    """Draw a hexadecimal string in groups."""
    sizes = rng.choice(((8, 4, 4, 4, 12), (4, 4, 4), (6, 6), (4, 8, 4), (8, 8)))
    return "-".join(f"{rng.getrandbits(4 * size):0{size}x}" for size in sizes)


def kind(rng: random.Random, *lists: str) -> str:
    """Draw a word for what sort of thing is meant, from one of the lists or from none.

    Such words stand in questions, and what is asked for in them has to be copied: no list may
    suffice to guess them.
    """
    drawn = rng.random()
    if drawn < 0.4:
        return pick(rng, rng.choice(lists))
    if drawn < 0.6:
        return plain_piece(rng)
    return made_up(rng) if drawn < 0.9 else f"{plain_piece(rng)} {made_up(rng)}"


def plain_piece(rng: random.Random) -> str:
    """Draw a piece of English that may stand alone."""
    while True:
        word = pick(rng, "pieces").lower()
        known = is_reserved(word) or word in last_words()
        if len(word) > 3 and word.isalpha() and not known:
            return word


def label(rng: random.Random) -> str:
    """Draw one to four words as titles and brands are written: capitals, hyphens, figures."""
    while True:
        words = [_styled(rng) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
        text = rng.choice((" ", " ", " ", "-")).join(words)
        if 2 <= len(text) <= 36 and not is_reserved(text):
            return text


def _styled(rng: random.Random) -> str:
    word = plain_piece(rng) if rng.random() < 0.5 else made_up(rng)
    style = rng.random()
    if style < 0.45:
        return word
    if style < 0.7:
        return word.capitalize()
    if style < 0.8:
        return word[: rng.randint(1, 4)].upper()
    if style < 0.88:
        return f"{word[:2].upper()}{rng.randint(0, 99)}"
    return rng.choice((f"{word}'s", f"{word[:1].upper()}'{word[1:]}", f"{word}.", word + "o"))


def related(rng: random.Random, count: int) -> list[str]:
    """Draw names that begin or end alike: what tells them apart is only a part of each."""
    stems = [plain_piece(rng) if rng.random() < 0.6 else made_up(rng) for _ in range(3)]

    def draw(rng: random.Random) -> str:
        """Draw a stem with something beside it, or one of the two alone."""
        stem, other = rng.choice(stems), made_up(rng)
        shape = rng.random()
        if shape < 0.35:
            return f"{other} {stem}"
        if shape < 0.6:
            return f"{stem} {other}"
        if shape < 0.75:
            return stem + pick(rng, rng.choice(("morphemes", "suffixes")))
        return stem if shape < 0.8 else other

    return distinct(rng, draw, count)


NAMING: Sequence[Draw] = (made_up, phrase, pair_of_words, code, name, made_up, label)
"""Ways to name things, one a sample."""

SAYING: Sequence[Draw] = (
    made_up, made_up, pair_of_words, label, label, phrase, number, code, hexadecimal,
    grouped_hexadecimal, name, odd,
)  # fmt: skip
"""Ways to write values, one or two a sample."""


def distinct(rng: random.Random, draw: Draw, count: int) -> list[str]:
    """Draw words that differ, case aside."""
    found: dict[str, str] = {}
    while len(found) < count:
        word = draw(rng)
        if is_reserved(word):
            continue
        found.setdefault(word.casefold(), word)
    return list(found.values())
