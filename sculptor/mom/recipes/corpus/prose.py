"""Filler: paragraphs about nothing in particular, in a grammar of our own or in none.

Sentences of few patterns would be known by heart, and whatever deviates from them taken for what is
asked about. So half of them are words in any order, with the small words and signs of English.
"""

import random
import re

from sculptor.mom.recipes.corpus.words import (
    made_up,
    name,
    number,
    pick,
    place,
    plain_piece,
    word_lists,
)

_SLOT = re.compile(r"\{(\w+)\}")
_SIGNS = (*[","] * 6, ";", ":", " -", " (", ")", "...", "?", "!")


def sentence(rng: random.Random) -> str:
    """Draw one sentence."""
    return _patterned(rng) if rng.random() < 0.5 else loose_sentence(rng)


def loose_sentence(rng: random.Random) -> str:
    """Draw words in any order that look like a sentence."""
    words = [_loose_word(rng) for _ in range(rng.randint(4, 22))]
    signed = [word + rng.choice(_SIGNS) if rng.random() < 0.1 else word for word in words[:-1]]
    text = " ".join((*signed, words[-1])) + rng.choice("....?!")
    return text[:1].upper() + text[1:]


def _loose_word(rng: random.Random) -> str:
    drawn = rng.random()
    if drawn < 0.5:
        return pick(rng, "small")
    if drawn < 0.8:
        word = plain_piece(rng)
    elif drawn < 0.86:
        word = made_up(rng)
    elif drawn < 0.96:
        word = pick(rng, rng.choice(("things", "adjectives", "people", "acts", "states")))
    else:
        return number(rng) if drawn < 0.98 else name(rng)
    return word.capitalize() if rng.random() < 0.08 else word


def _patterned(rng: random.Random) -> str:
    template = rng.choice(word_lists()["filler"])
    text = _SLOT.sub(lambda found: _word(rng, found[1]), template)
    return text[:1].upper() + text[1:]


def paragraph(rng: random.Random) -> str:
    """Draw three to seven sentences."""
    return " ".join(sentence(rng) for _ in range(rng.randint(3, 7)))


def essay(rng: random.Random, *, chars: int) -> list[str]:
    """Draw paragraphs until there are about so many characters."""
    found: list[str] = []
    while chars > 0:
        found.append(paragraph(rng))
        chars -= len(found[-1]) + 2
    return found


def _word(rng: random.Random, slot: str) -> str:
    match slot.rstrip("2"):
        case "Place":
            return place(rng)
        case "Name":
            return name(rng)
        case "people":
            return f"the {pick(rng, 'people')}"
        case "People":
            return f"The {pick(rng, 'people')}"
        case "acts" | "acts_cap":
            return pick(rng, "acts")
        case "times" | "times_cap":
            return pick(rng, "times")
        case "reasons":
            return pick(rng, "reasons")
        case "a_thing":
            return f"the {_adjective(rng)} {pick(rng, 'things')}"
        case "adj":
            return _adjective(rng)
        case _:
            return pick(rng, "things")


def _adjective(rng: random.Random) -> str:
    return made_up(rng) if rng.random() < 0.2 else pick(rng, "adjectives")
