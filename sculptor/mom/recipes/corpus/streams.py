"""Streams of records drawn at random, and the client's messages that hold one.

A stream stands in the message of the question, before it, or in several messages.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sculptor.mom.recipes.corpus.instructions import notes, roles
from sculptor.mom.recipes.corpus.prose import sentence
from sculptor.mom.recipes.corpus.scene import Wire, user
from sculptor.mom.recipes.corpus.surfaces import Surface, draw_surface, shuffled_updates, stream
from sculptor.mom.recipes.corpus.words import NAMING, SAYING, Draw, distinct, pick, related

MOST_ITEMS = 48

_OPENINGS = (
    "Below, {count} {groups} are filled and refilled: {items}. Watch what each ends up with.",
    "These {groups} change all the time ({items}). Read along, I will ask about them.",
    "Here is how the {groups} went. They are {items}.",
    "A log of {groups} follows. Later lines overrule earlier ones.",
    "Please go through these {groups}; only what was said last holds.",
    "{groups}, in the order in which they came:",
    "There are {count} {groups} to watch: {items}.",
    "The {groups} are called {items}; each is set more than once.",
    "You get a long row of {groups}. Each is named, then what it was given.",
    "Here come the {groups} ({items}), again and again, each time with something new.",
    "Follow {items} through all of this.",
    "What was given to the {groups}, from the first to the last:",
    "I read out {groups} and what they hold; it goes back and forth between {count} of them.",
    "Watch these: {items}.",
    "The {count} {groups}: {items}",
    "From here on it is {groups} and nothing else.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A drawn stream and the words it is spoken of with."""

    surface: Surface
    items: Sequence[str]
    records: Sequence[tuple[str, str]]
    text: str
    groups: str

    def last(self, item: str) -> str:
        """Return an item's last value."""
        return next(value for name, value in reversed(self.records) if name == item)


def draw_stream(rng: random.Random, *, chars: int) -> Stream:
    """Draw a stream of about ``chars`` characters."""
    surface = draw_surface(rng)
    says = rng.sample(SAYING, rng.choice((1, 1, 2)))
    naming = rng.choice(NAMING)
    count = max(3, chars // _record_chars(rng, surface, naming, says))
    items = distinct(rng, naming, skewed(rng, 2, max(2, min(MOST_ITEMS, count // 2))))
    if surface.is_bordered and rng.random() < 0.35:
        items = related(rng, len(items)) if rng.random() < 0.6 else _with_endings(rng, items)
    records: list[tuple[str, str]] = []
    held: dict[str, str] = {}
    for item in shuffled_updates(rng, items, count=count):
        value = rng.choice(says)(rng)
        while value == held.get(item):
            value = rng.choice(says)(rng)
        held[item] = value
        records.append((item, value))
    return Stream(
        surface=surface,
        items=items,
        records=records,
        text=stream(records, surface),
        groups=pick(rng, "groups"),
    )


def _record_chars(rng: random.Random, surface: Surface, naming: Draw, says: Sequence[Draw]) -> int:
    """Return about how long a record is."""
    drawn = [surface.record(naming(rng), rng.choice(says)(rng), number=100) for _ in range(4)]
    return sum(map(len, drawn)) // len(drawn)


def _with_endings(rng: random.Random, items: Sequence[str]) -> list[str]:
    """Return items of which one is the ending of another: their queries must tell them apart."""
    longer = f"{pick(rng, 'adjectives')} {items[0]}"
    return [*items[:1], longer, *items[2:]] if len(items) > 1 else [*items]


def skewed(rng: random.Random, least: int, most: int) -> int:
    """Draw a number, small ones as likely as large ones by their order of magnitude."""
    return int(least * (most / least) ** rng.random() + 0.5)


def messages_of(
    rng: random.Random, drawn: Stream, question: str, *, listed: str = ""
) -> list[Wire]:
    """Return the client's messages: opening, stream and question, in one or in several."""
    opening = rng.choice(_OPENINGS).format(
        count=len(drawn.items), groups=drawn.groups, items=listed or ", ".join(drawn.items)
    )
    opening = opening[:1].upper() + opening[1:]
    opening = " ".join(
        filter(None, (roles(rng), opening, notes(rng) if rng.random() < 0.3 else ""))
    )
    gap = rng.choice(("\n\n", "\n", "\n\n"))
    shape = rng.choices(("whole", "before", "pieces", "aside"), (65, 12, 13, 10))[0]
    if shape == "whole":
        return [user(f"{opening}{gap}{drawn.text.rstrip()}{gap}{question}")]
    if shape == "before":
        return [user(f"{opening}{gap}{drawn.text}"), _noted(rng), user(question)]
    if shape == "aside":
        aside = " ".join(sentence(rng) for _ in range(rng.randint(1, 4)))
        return [user(f"{opening}{gap}{drawn.text}"), _noted(rng), user(f"{aside} {question}")]
    return [*_pieces(rng, drawn, opening), user(question)]


def _pieces(rng: random.Random, drawn: Stream, opening: str) -> list[Wire]:
    cuts = sorted(rng.sample(range(1, len(drawn.records)), min(3, len(drawn.records) - 1)))
    said: list[Wire] = []
    for start, end in zip([0, *cuts], [*cuts, len(drawn.records)], strict=True):
        text = stream(drawn.records[start:end], drawn.surface)
        said += [user(f"{opening}\n{text}" if start == 0 else text), _noted(rng)]
    return said


def _noted(rng: random.Random) -> Wire:
    text = rng.choice(("Noted.", "I have read it.", "Go on.", "Read.", "All right."))
    return {"role": "assistant", "content": text}
