"""Relations told link by link: kin in many wordings, and others that run one way.

Who reports to whom, what lies in what, which name stands for which.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from sculptor.mom.recipes.corpus.families.kinship import compose_kinship
from sculptor.mom.recipes.corpus.words import Draw, code, distinct, made_up, name, pick, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relation by how its links are told (``{u}`` the upper end, ``{l}`` the lower) and asked."""

    links: tuple[str, ...]
    up: tuple[str, ...]
    down: tuple[str, ...] = ()
    naming: str = "name"
    top: str = ""
    """How the uppermost end is named where that differs."""


_TERMS = (
    "father",
    "mother",
    "dad",
    "mom",
    "grandfather",
    "grandmother",
    "maternal grandmother",
    "paternal grandfather",
    "parent",
    "great-grandmother",
)
KIN = Relation(
    links=(
        "{l} was brought up by {u}, the {r} of {l}.",
        "{u} signs letters to {l} as a proud {r}.",
        "In the register {u} is down as the {r} of {l}.",
        "{l} calls {u} {r} and nobody wonders.",
        "It was {u}, {l}'s {r}, who built the shed.",
        "{l} learned to swim from {u}, who is the {r} of {l}.",
        "{u} is known in town for being {l}'s {r}.",
        "Every summer {l} visits {u}, a {r} with a large garden.",
        "{u}, who happens to be {l}'s {r}, sings in the choir.",
        "As {l}'s {r}, {u} paid for the school books.",
        "The {r} whom {l} takes after is {u}.",
        "{l} has a {r} by the name of {u}.",
        "{u} raised {l} as a {r} should.",
        "{l}, of whom {u} is the {r}, keeps bees.",
        "Nobody but {u} could be {l}'s {r}.",
        "Among the guests was {l}'s {r} {u}.",
        "{l}'s {r} goes by the name {u}.",
        "{l}'s {r}, {u}, never left the valley.",
        "{u} became {l}'s {r} in a dry year.",
        "{u} has always been {l}'s {r}.",
        "Being {l}'s {r}, {u} keeps a spare key, and {l} knows where.",
        "{u} is called {r} by {l} and by no one else.",
        "To {l}, {u} was a {r} and a teacher at once.",
        "With {l}, {u} went fishing as any {r} would; {l} liked to row.",
        "No one cared for {l} like {u}, {l}'s {r}.",
        "{u} taught {l} to read, as {l}'s {r}; {u} still writes to {l}.",
        "The house of {u} will go to {l}, for {u} is the {r} of {l}.",
        "{u}, {r} of {l}, signed for the parcel.",
        "{l} looks up to {u}, the {r}, in all things.",
        "When {l} was ill, {u} came, a good {r} and a better cook; {l} got well.",
        "{l}, a child of {u}, was born in autumn.",
        "Of all the children of {u}, {l} was the loudest.",
        "{u} gave birth to {l} or took {l} in; papers are lost, but {l} is the child.",
        "There is no doubt that {u} is {r} to {l}.",
        "{u} and {l} look alike, as {r} and child do.",
        "The {r} {l} speaks of is {u}.",
        "{u} stands in for nobody: {l} has {u} as {r}.",
        "{l} inherits from {u}, the {r}, a boat.",
        "As a {r}, {u} was strict with {l}.",
        "{u}: {r} of {l}, owner of two goats.",
    ),
    up=(
        "Going back from {p} through parents and grandparents, who comes first of all?",
        "Who is the earliest forebear of {p} that the text lets one find?",
        "Trace the family of {p} upwards as far as it goes. Whom do you reach?",
        "How far back can one follow {p}'s family, and who stands at the beginning?",
        "Whom does one reach in going from {p} to ever older kin?",
        "Of {p}'s forebears, which is the oldest that can be found?",
        "From {p}, go up one generation after another; who is on top?",
        "Name the first of the family from which {p} comes.",
        "Which forebear of {p} lies furthest back?",
        "{p} has parents, they have parents; who is the last that is named?",
        "Going by what is told, who began the family of {p}?",
        "Find the oldest of those from whom {p} descends.",
    ),
    down=("Follow the children and grandchildren of {p} down. Who is the youngest one named?",),
)
OTHERS = (
    Relation(
        links=(
            "{l} reports to {u}.",
            "{u} signs off the work of {l}.",
            "The superior of {l} is {u}.",
            "Orders for {l} come from {u}.",
            "{u} hired {l} and has led {l} since.",
        ),
        up=("Starting at {p}, whose word is the last up the line?",),
        down=("Starting at {p}, who is at the very bottom of the line?",),
    ),
    Relation(
        links=(
            "{l} stands inside {u}.",
            "{u} encloses {l}.",
            "One gets to {l} through {u}.",
            "Within {u} lies {l}.",
        ),
        up=("What encloses {p} at the outermost?", "Going outwards from {p}, what comes last?"),
        down=("Going inwards from {p}, what comes last?",),
        naming="place",
    ),
    Relation(
        links=(
            "{l} takes its value from {u}.",
            "{u} is copied into {l}.",
            "let {l} be {u}.",
            "Whatever {u} holds, {l} holds too.",
        ),
        up=("From where does {p} take its value in the end?",),
        down=("Which is the last to get the value of {p}?",),
        naming="code",
    ),
    Relation(
        links=(
            "{l} was taught by {u}.",
            "{u} took {l} on as a pupil.",
            "{l} learned the trade from {u}.",
            "The teacher of {l} was {u}.",
        ),
        up=("Go from {p} to the teacher, the teacher's teacher and so on. Who began it?",),
        down=("Go from {p} to the pupil, the pupil's pupil and so on. Who is the latest?",),
    ),
    Relation(
        links=(
            "{l} = {u}",
            "LET {l} = {u}",
            "{l} := {u};",
            "set {l} to {u}",
            "{l} <- {u}",
            "VALUE {l} = VALUE {u}",
            "({l} {u})",
        ),
        up=("What is given to {p} when all is said and done?",),
        down=("Which is the last that comes to hold {p}?",),
        naming="variable",
        top="value",
    ),
)


def _variable(rng: random.Random) -> str:
    """Draw a name as programs have them."""
    word = made_up(rng)
    shape = rng.random()
    if shape < 0.4:
        return "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(4, 6)))
    if shape < 0.6:
        return f"{word}_{made_up(rng)}"
    return f"{word}{rng.randint(0, 99)}" if shape < 0.8 else f"${word}"


def _value(rng: random.Random) -> str:
    return str(rng.randint(100, 10 ** rng.randint(3, 7)))


NAMING: Mapping[str, Draw] = {
    "name": name,
    "place": place,
    "code": code,
    "variable": _variable,
    "value": _value,
}


def draw_names(rng: random.Random, relation: Relation, count: int) -> list[str]:
    """Draw names from the upper end on; people share a first or a last name now and then."""
    naming = NAMING[relation.naming]
    if relation.naming == "name" and rng.random() < 0.35:
        pools = [[made_up(rng).capitalize() for _ in range(size)] for size in (2, 2 * count)]
        firsts, lasts = rng.sample(pools, 2)
        if rng.random() < 0.3:
            firsts = [pick(rng, "given") for _ in firsts]
        names = distinct(rng, lambda rng: f"{rng.choice(firsts)} {rng.choice(lasts)}", count)
    else:
        names = distinct(rng, naming, count)
    return [NAMING[relation.top](rng), *names[1:]] if relation.top else names


def tell(rng: random.Random, relation: Relation, upper: str, lower: str) -> str:
    """Return a sentence that tells one link."""
    links = (compose_kinship(rng),) if relation is KIN and rng.random() < 0.5 else relation.links
    link = rng.choice(links)
    link = link if link.startswith("{") else link[:1].upper() + link[1:]
    return link.format(u=upper, l=lower, r=rng.choice(_TERMS))
