"""Filler: paragraphs about nothing in particular, in a grammar of our own."""

import random
import re

from sculptor.mom.recipes.corpus.words import made_up, name, pick, place, word_lists

_SLOT = re.compile(r"\{(\w+)\}")


def sentence(rng: random.Random) -> str:
    """Draw one sentence."""
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
