"""Texts that no benchmark and no corpus made, each with a plain question and its answer."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_COLOURS = ["red", "blue", "green", "black", "white", "amber", "teal", "pink"]
_FIRST = ["Ann", "Bob", "Cid", "Dee", "Eve", "Fay", "Gus", "Hal", "Ivy", "Jan", "Kit", "Leo"]
_LAST = ["Moor", "Lake", "Hill", "Wood", "Ford", "Dale", "Stone", "Marsh"]
_CITIES = ["Oslo", "Rome", "Lima", "Cairo", "Delhi", "Quito", "Tunis", "Accra"]
_THINGS = [
    "ladder",
    "kettle",
    "lantern",
    "drum",
    "anchor",
    "mirror",
    "saddle",
    "compass",
    "easel",
    "barrel",
    "trunk",
    "loom",
]
_ROOMS = ["cellar", "attic", "pantry", "library", "workshop", "garage", "hallway", "studio"]


Said = tuple[str, str, str]
"""A subject, what is said of it, and the sentence that says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A text, a question and the word that a right answer holds."""

    text: str
    question: str
    wanted: str


def newest(rng: random.Random, lines: int) -> Asked:
    """Ask for the last of several values that a list gives a thing."""
    last: dict[int, str] = {}
    rows = []
    for _ in range(lines):
        widget, colour = rng.randrange(12), rng.choice(_COLOURS)
        last[widget] = colour
        rows.append(f"widget {widget} is now {colour}")
    widget = rng.choice(sorted(last))
    question = f"What colour is widget {widget} now? Answer with one word."
    return Asked(text="\n".join(rows), question=question, wanted=last[widget])


def moved(rng: random.Random, lines: int) -> Asked:
    """Ask where a person of a running text lives in the end."""
    last: dict[str, str] = {}
    rows = []
    for _ in range(lines):
        name, city = _somebody(rng), rng.choice(_CITIES)
        last[name] = city
        rows.append(f"{name} {rng.choice(['lives in', 'moved to', 'has gone to'])} {city}.")
    name = rng.choice(sorted(last))
    question = f"Where does {name} live now? Answer with one word."
    return Asked(text=" ".join(rows), question=question, wanted=last[name])


def kept(rng: random.Random, lines: int) -> Asked:
    """Ask for a fact that is said once."""

    def row(number: int) -> Said:
        """Say where something is."""
        thing, room = f"{rng.choice(_THINGS)} number {number + 1}", rng.choice(_ROOMS)
        return thing, room, f"The {thing} is kept in the {room}."

    return _once(rng, lines, row, question="Where is the {} kept?")


def absent(rng: random.Random, lines: int) -> Asked:
    """Ask for what the text does not hold; right is to say so."""
    asked = kept(rng, lines)
    return Asked(text=asked.text, question="Where is the telescope kept?", wanted="not in the text")


def mended(rng: random.Random, lines: int) -> Asked:
    """Ask for who did something that is told from the other end."""

    def row(number: int) -> Said:
        """Say by whom something was mended."""
        thing, who = f"{rng.choice(_THINGS)} {number + 1}", _somebody(rng)
        return thing, who, f"The {thing} was mended by {who}."

    return _once(rng, lines, row, question="Who mended the {}?")


def leaving(rng: random.Random, lines: int) -> Asked:
    """Ask when something happens."""

    def row(number: int) -> Said:
        """Say when a ferry leaves."""
        ferry, hour = f"ferry {number + 101}", f"{rng.randrange(24)}:{rng.randrange(60):02d}"
        return ferry, hour, f"{ferry.capitalize()} to {rng.choice(_CITIES)} leaves at {hour}."

    return _once(rng, lines, row, question="When does {} leave?", between="\n")


def bottles(rng: random.Random, lines: int) -> Asked:
    """Ask how many of something there are."""

    def row(number: int) -> Said:
        """Say how many bottles are on a shelf."""
        shelf, count = f"shelf {number + 1}", str(rng.randint(10, 99))
        return shelf, count, f"- {shelf} bears {count} bottles"

    return _once(rng, lines, row, question="How many bottles does {} bear?", between="\n")


def late(rng: random.Random, lines: int) -> Asked:
    """Ask for a reason."""
    rows, why = [], {}
    for _ in range(lines):
        who = _somebody(rng)
        if who in why:
            continue
        why[who] = f"the {rng.choice(_THINGS)} in the {rng.choice(_ROOMS)} broke"
        rows.append(f"{who} was late because {why[who]}.")
    who = rng.choice(sorted(why))
    return Asked(text=" ".join(rows), question=f"Why was {who} late?", wanted=why[who])


def _once(
    rng: random.Random,
    lines: int,
    row: Callable[[int], Said],
    *,
    question: str,
    between: str = " ",
) -> Asked:
    """Ask for one of several facts of a kind, each said once."""
    said = [row(number) for number in range(lines)]
    wanted = {subject: value for subject, value, _ in said}
    subject = rng.choice(sorted(wanted))
    return Asked(
        text=between.join(text for _, _, text in said),
        question=question.format(subject),
        wanted=wanted[subject],
    )


def _somebody(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"


KINDS: Mapping[str, Callable[[random.Random, int], Asked]] = {
    "newest value in a list": newest,
    "newest value in prose": moved,
    "a fact said once": kept,
    "what is not there": absent,
    "who did it": mended,
    "when it happens": leaving,
    "how many": bottles,
    "a reason": late,
}
