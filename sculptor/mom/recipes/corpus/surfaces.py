"""Surface forms of a record that sets an item to a value, and streams of them.

A record is ``lead item link value end``. What finds an item's records is the text around its name
that no other record has: the tail of what stands before, the name and the link. Most forms are put
together at random, made-up words among their parts, so that a form cannot be known by a part of it
and has to be read off the records. None is one of an evaluation's.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sculptor.mom.recipes.corpus.words import made_up

LEAD_PLACE = "{n}"

_FORMS = (
    ("", ": ", " | "), ("", ": ", "\n"), ("", ": ", ", "), ("", ": ", " / "), ("", ":", "; "),
    ("", " -> ", "; "), ("", " := ", "; "), ("", "=", "; "), ("", " => ", " | "),
    ("", " is ", "; "),
    ("", " = ", "\n"), ("", " = ", " | "), ("", " - ", "\n"), ("", " - ", ", "), ("", " ~ ", "; "),
    ("", " now ", "; "), ("", " becomes ", ". "), ("set ", " to ", "; "), ("put ", " at ", ". "),
    ("change ", " into ", "\n"), ("- ", ": ", "\n"), ("* ", " = ", "\n"), ("+ ", " -> ", "\n"),
    ("[{n}] ", ": ", "\n"), ("[{n}] ", " = ", "\n"), ("{n}) ", ": ", "\n"), ("{n} | ", " | ", "\n"),
    ("row {n}, ", ": ", ". "), ("(", ": ", ") "), ("<", "=", "> "), ("mark ", " as ", "; "),
    ('{"item":"', '","holds":"', '"}\n'), ('{"of":"', '", "is":"', '"}\n'), ("| ", " | ", " |\n"),
    ("give ", " the word ", "; "), ("with ", " standing at ", ", "), ("to ", " goes ", "; "),
)  # fmt: skip


_KNOWN_SHARE = 0.3
"""Share of streams in one of the forms above; the others are put together."""

_LINKS = (
    *(": ", ":", " : ", "=", " = ", " => ", "->", " -> ", " > ", " | ", " ~ ", " # ", " :: ", "::"),
    *(" @ ", " / ", " .. ", " ^ ", " * ", " & ", " % ", " - ", " -- ", " := ", " == ", " >> "),
    *(" <- ", " \u2192 ", " \u2026 ", "! ", "? ", " + ", "\t"),
)
_LINK_WORDS = (
    *("is", "now", "becomes", "to", "at", "into", "as", "goes", "holds", "reads", "says", "means"),
    *("gets", "takes", "shows", "turns", "bears", "has", "equals", "was", "stands at", "set to"),
    *("changed to", "went to", "switches to", "is down as", "moves to", "from now on"),
)
_ENDS = (
    *(
        "; ",
        "; ",
        " | ",
        ", ",
        ", ",
        " / ",
        ". ",
        ". ",
        " ;; ",
        " + ",
        " & ",
        " // ",
        " -- ",
        " ~ ",
    ),
    *("! ", " || ", " \u00b7 ", " * ", " > ", "\n", "\n", "\n", " ... ", " # ", "? "),
)
_LEADS = (
    *("- ", "* ", "+ ", "> ", "# ", "[{n}] ", "{n}) ", "{n}. ", "#{n} ", "({n}) ", "row {n}: "),
    *("set ", "put ", "change ", "mark ", "let ", "make ", "turn ", "note ", "log ", "now "),
    *("update ", "record ", "write ", "item ", "for ", "and "),
)
_CLOSED = (
    ("(", ") "),
    ("[", "] "),
    ("<", "> "),
    ("{", "} "),
    ('"', '" '),
    ("*", "* "),
    ("_", "_\n"),
)
_EVALUATED = frozenset({("", ": ", "; "), ("", " - ", "; "), ("", " = ", "; ")})
"""The forms of the evaluations' streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One way to write records."""

    lead: str
    link: str
    end: str

    def record(self, item: str, value: str, *, number: int) -> str:
        """Return one record; ``number`` is its place in the stream."""
        return f"{self.lead.replace(LEAD_PLACE, str(number))}{item}{self.link}{value}{self.end}"

    def query(self, item: str) -> str:
        """Return what stands before the value of an item's record and of no other item's."""
        before = self.lead.rpartition(LEAD_PLACE)[2] if LEAD_PLACE in self.lead else self.lead
        border = "" if before else self.end.removesuffix("\n")
        return f"{border}{before}{item}{self.link}"

    @property
    def is_bordered(self) -> bool:
        """Whether a query begins before the item's name."""
        return bool(self.lead) or self.end != "\n"


def draw_surface(rng: random.Random) -> Surface:
    """Draw a form."""
    lead, link, end = rng.choice(_FORMS) if rng.random() < _KNOWN_SHARE else _put_together(rng)
    return Surface(lead=lead, link=link, end=end)


def _put_together(rng: random.Random) -> tuple[str, str, str]:
    while True:
        link = rng.choice(_LINKS)
        if rng.random() < 0.4:
            link = f" {made_up(rng) if rng.random() < 0.3 else rng.choice(_LINK_WORDS)} "
        kind = rng.random()
        if kind < 0.12:
            lead, end = rng.choice(_CLOSED)
        else:
            lead, end = rng.choice(_LEADS) if kind < 0.4 else "", rng.choice(_ENDS)
            if kind < 0.2:
                lead = f"{made_up(rng)} "
        if link.strip() != end.strip() and (lead, link, end) not in _EVALUATED:
            return lead, link, end


def stream(records: Sequence[tuple[str, str]], surface: Surface) -> str:
    """Return records written one after the other."""
    texts = (
        surface.record(item, value, number=number)
        for number, (item, value) in enumerate(records, start=1)
    )
    return "".join(texts)


def shuffled_updates(rng: random.Random, items: Sequence[str], *, count: int) -> list[str]:
    """Return ``count`` items in random order, each at least once and none twice running."""
    order = list(items) + rng.choices(items, k=max(0, count - len(items)))
    rng.shuffle(order)
    if len(items) == 1:
        return order
    for at in range(1, len(order)):
        if order[at] == order[at - 1]:
            order[at] = rng.choice([item for item in items if item != order[at]])
    missing = [item for item in items if item not in set(order)]
    return order + missing
