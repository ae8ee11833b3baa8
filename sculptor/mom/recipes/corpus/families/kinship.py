"""Sentences of kinship put together from parts, so that a name's neighbours can be any word."""

import random

from sculptor.mom.recipes.corpus.words import kind, made_up

_OPENERS = (
    *("In", "At", "Through", "After", "With", "During", "For", "Since", "By", "Under", "Beyond"),
    *("Throughout", "Among", "Besides", "From", "To", "Because of", "Without", "Also", "Even"),
)
_BASES = (
    "{u} is {how} {l}'s {r}{rest}.",
    "{l}'s {r} is {how} {u}{rest}.",
    "{u}, {how} {l}'s {r}, {verb} the {noun}{rest}.",
    "As for {l}, {u} is {how} the {r}{rest}.",
    "While {l} {verb}, {u} was {how} {l}'s {r}{rest}.",
    "To {l}, {u} is {how} a {r}{rest}.",
    "In {l}'s {noun}, {u} was {how} {l}'s {r}{rest}.",
    "{l} is {how} a child of {u}{rest}.",
    "{Cap} {l}'s {noun}, {u} {verb} {how} {l}'s {r}{rest}.",
    "{Cap} {l}, {u} {verb} not {how} a {r}{rest}.",
    "{u} is {how} {few} {l}'s {r} {two} {l}'s {noun}{rest}.",
    "{Cap} {u}, {l}'s {r} and {l}'s {noun}{rest}, {verb} the {few} of {l}.",
    "{Cap} {how} {l}'s {r}: {u}{rest}.",
    "{u}, {how} the {r} of {l}, has a {few} {noun} in {l}'s {verb}{rest}.",
    "{Cap} the {noun} of {l}, {u} {verb} as {l}'s {r}{rest}.",
    "{Cap} all {l} {verb}, {u} stays {how} a {r}{rest}.",
)


def compose_kinship(rng: random.Random) -> str:
    """Return a sentence with places for the upper end, the lower end and the term: u, l and r."""
    how, rest, base = _how(rng), _rest(rng), rng.choice(_BASES)
    words = {
        "how": how,
        "rest": rest if rng.random() < 0.7 else "",
        "verb": made_up(rng),
        "noun": kind(rng, "things"),
        "few": rng.choice(("not alone", "both", "rather", made_up(rng))),
        "two": rng.choice(("and besides", "and even", "as much as", made_up(rng))),
        "Cap": rng.choice((*_OPENERS, *_OPENERS, made_up(rng).capitalize())),
    }
    for name, word in words.items():
        base = base.replace(f"{{{name}}}", word)
    return base


def _how(rng: random.Random) -> str:
    return rng.choice(
        (
            *("plainly", "by all papers", "as told", made_up(rng), "no less than", "surely"),
            *("not only", "more than", "no mere", "little less than", "also", "still", "rather"),
        )
    )


def _rest(rng: random.Random) -> str:
    """Return the rest of a sentence, in which either may be named again."""
    return rng.choice(
        (
            f" and {{l}}'s {made_up(rng)} as well",
            f", besides being {{l}}'s {made_up(rng)}",
            f"; {{l}} {made_up(rng)} the {kind(rng, 'things')}",
            f", and {{u}} {made_up(rng)} for {{l}}",
            f" more than {{l}}'s {kind(rng, 'people')}",
            f", so {{l}} keeps the {kind(rng, 'things')} of {{u}}",
            f", the {kind(rng, 'things')} of {{l}} says",
            f"; {{u}} {made_up(rng)} a {kind(rng, 'things')} of {{l}}",
            f"; {{u}} was the {kind(rng, 'things', 'people')} {{l}} {made_up(rng)}",
            f", {{u}} being {{l}}'s {made_up(rng)} too",
            f", yes, also {{l}}'s {kind(rng, 'things', 'people')}",
            f" with {made_up(rng)} {made_up(rng)} for {{l}}'s {kind(rng, 'things')}",
        )
    )
