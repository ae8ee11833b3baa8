"""Subjects of sentences, and what may be said of them: people, things, places, moments."""

import random

from sculptor.mom.recipes.corpus.words import (
    Draw,
    code,
    label,
    made_up,
    name,
    phrase,
    pick,
    place,
    plain_piece,
)


def person(rng: random.Random) -> str:
    """Draw somebody."""
    drawn = rng.random()
    if drawn < 0.5:
        return name(rng)
    if drawn < 0.75:
        return f"{pick(rng, 'given')} {made_up(rng).capitalize()}"
    if drawn < 0.9:
        return f"the {made_up(rng)} {pick(rng, 'people')}"
    return f"{rng.choice(('Mr', 'Mrs', 'Dr', 'Captain', 'Aunt'))} {made_up(rng).capitalize()}"


def thing(rng: random.Random) -> str:
    """Draw some thing that can be told from others."""
    noun = rng.choice((pick(rng, "things"), plain_piece(rng), made_up(rng)))
    drawn = rng.random()
    if drawn < 0.2:
        return f"the {noun} number {rng.randint(1, 400)}"
    if drawn < 0.35:
        return f"{rng.choice(('the ', ''))}{noun} {rng.randint(1, 99)}"
    if drawn < 0.5:
        return f"the {pick(rng, 'adjectives')} {noun}"
    if drawn < 0.6:
        return f"the {noun} of {place(rng)}"
    if drawn < 0.7:
        return f"{pick(rng, 'given')} {made_up(rng).capitalize()}'s {noun}"
    if drawn < 0.85:
        return f"the {made_up(rng)} {noun}"
    return rng.choice((code, label, place))(rng)


def somewhere(rng: random.Random) -> str:
    """Draw where something may be."""
    drawn = rng.random()
    if drawn < 0.3:
        return place(rng)
    if drawn < 0.8:
        return f"the {rng.choice((pick(rng, 'things'), plain_piece(rng), made_up(rng)))}"
    return f"the {phrase(rng)}" if drawn < 0.9 else f"room {rng.randint(1, 300)}"


def something(rng: random.Random) -> str:
    """Draw a thing of no matter which kind, an article before it or none."""
    noun = rng.choice((plain_piece(rng), made_up(rng), phrase(rng)))
    return f"{rng.choice(('the ', 'a ', '', ''))}{noun}"


def quality(rng: random.Random) -> str:
    """Draw what something may be like."""
    drawn = rng.random()
    if drawn < 0.4:
        return pick(rng, "adjectives")
    return plain_piece(rng) if drawn < 0.7 else made_up(rng)


def moment(rng: random.Random) -> str:
    """Draw when something may happen."""
    return rng.choice(
        (
            lambda: f"in {rng.randint(1200, 2090)}",
            lambda: f"on {rng.randint(1, 28)} {pick(rng, 'months')}",
            lambda: f"at {rng.randint(0, 23)}:{rng.randint(0, 59):02d}",
            lambda: f"on {pick(rng, 'weekdays')}",
            lambda: f"in {pick(rng, 'months')}",
            lambda: pick(rng, "times"),
        )
    )()


def pooled(rng: random.Random, draw: Draw) -> Draw:
    """Return a draw from a few values alone, half the time."""
    if rng.random() < 0.5:
        return draw
    pool = [draw(rng) for _ in range(rng.randint(4, 14))]
    return lambda rng: rng.choice(pool)


def subjects(rng: random.Random, *, people: float) -> Draw:
    """Return a draw of subjects: of all sorts, or half the time all of one sort."""
    alike = rng.random() < 0.5
    if rng.random() < people:
        return _namesakes(rng) if alike else person
    return _numbered(rng) if alike else thing


def _namesakes(rng: random.Random) -> Draw:
    """Return a draw of people who share a first or a last name with others."""
    first = [rng.choice((pick(rng, "given"), made_up(rng).capitalize())) for _ in range(8)]
    last = [made_up(rng).capitalize() for _ in range(8)]

    def draw(rng: random.Random) -> str:
        """Draw a known first or last name, most often both."""
        fresh = made_up(rng).capitalize() if rng.random() < 0.3 else ""
        if fresh and rng.random() < 0.5:
            return f"{fresh} {rng.choice(last)}"
        return f"{rng.choice(first)} {fresh or rng.choice(last)}"

    return draw


def _numbered(rng: random.Random) -> Draw:
    """Return a draw of things of one sort, or of a few, told apart by their numbers."""
    nouns = [
        rng.choice((pick(rng, "things"), plain_piece(rng), made_up(rng)))
        for _ in range(rng.choice((1, 1, 4, 9)))
    ]
    article = rng.choice(("", "", "the "))
    link = rng.choice((" ", " ", " number ", " no. ", "-", " #"))
    return lambda rng: f"{article}{rng.choice(nouns)}{link}{int(10 ** rng.uniform(0, 3.7))}"
