"""Surface forms of a record that sets an item to a value, and streams of them.

A record is ``lead item link value end``. What finds an item's records is the text around its name
that no other record has: the tail of what stands before, the name and the link. No form here is
one of an evaluation's.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

LEAD_PLACE = "{n}"

_FORMS = (
    ("", ": ", " | "), ("", ": ", "\n"), ("", ": ", ", "), ("", ": ", " / "), ("", ":", "; "),
    ("", " -> ", "; "), ("", " := ", "; "), ("", "=", "; "), ("", " => ", " | "),
    ("", " is ", "; "),
    ("", " = ", "\n"), ("", " = ", " | "), ("", " - ", "\n"), ("", " - ", ", "), ("", " ~ ", "; "),
    ("", " now ", "; "), ("", " becomes ", ". "), ("set ", " to ", "; "), ("put ", " at ", ". "),
    ("change ", " into ", "\n"), ("- ", ": ", "\n"), ("* ", " = ", "\n"), ("+ ", " -> ", "\n"),
    ("[{n}] ", ": ", "\n"), ("[{n}] ", " = ", "\n"), ("{n}) ", ": ", "\n"), ("{n} | ", " | ", "\n"),
    ("line {n}, ", ": ", ". "), ("(", ": ", ") "), ("<", "=", "> "), ("mark ", " as ", "; "),
    ('{"item":"', '","holds":"', '"}\n'), ('{"of":"', '", "is":"', '"}\n'), ("| ", " | ", " |\n"),
    ("give ", " the word ", "; "), ("with ", " standing at ", ", "), ("to ", " goes ", "; "),
)  # fmt: skip


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
    lead, link, end = rng.choice(_FORMS)
    return Surface(lead=lead, link=link, end=end)


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
