"""What is asked of a chain, and in which form it is to be told.

Asked for is the end of the chain, or all that is met on the way. The form is shown by the question,
now and then with chains of other names worked to their end, and filled by the answer.
"""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from sculptor.mom.recipes.corpus.families.relations import Relation, draw_names, tell
from sculptor.mom.recipes.corpus.instructions import notes, numbered_examples
from sculptor.mom.recipes.corpus.wording import composed_demand
from sculptor.mom.recipes.corpus.words import kind, made_up

_QUESTION_CHARS = 1_900
"""Longer questions, examples and all, would not stay in view whole."""
_SHAPES = (
    ("\\result{", "}"),
    ("\\fbox{", "}"),
    ("[[", "]]"),
    ("<<", ">>"),
    ("**", "**"),
    ("<end>", "</end>"),
    ("\\ans{", "}"),
    ("{", "}"),
    ("(", ")"),
    ("==", "=="),
)
_GAPS = (
    *("(put the name here)", "(your answer)", "name", "who", "the name", "your answer"),
    *("answer here", "...", "(answer)", "whom you found"),
)
_FARTHEST = ("earliest", "first", "farthest", "remotest", "topmost", "uppermost", "last", "eldest")
_PEOPLE = ("forebear", "ancestor", "kinsman", "elder", "person", "soul", "one", "name", "of all")
_WAYS = (
    "{p} goes back to",
    "{p} comes from",
    "{p} can be followed to",
    "{p} leads up to",
    "one reaches from {p}",
    "can be found for {p}",
    "stands above {p}",
    "belongs to {p}",
    "{p} has",
    "{p} can be led back to",
    "there is for {p}",
)
_WHERE = ("", "", " here", " above", " in these pages", " by what is told", " as far as one reads")
_WHO = ("Who is", "What is", "Who was", "Which is", "And who is", "Who would be", "Which one is")
_TELL = ("Find", "Name", "Tell me", "Work out", "Give me", "Determine", "State", "I look for")
_LEAD = (
    "The line of {p} ends with",
    "Starting from {p}, one comes to",
    "So for {p} it is",
    "What {p} leads to is",
    "In the end, {p} goes back to",
    "As far as {p} goes, it ends at",
    "Asked about {p}, I say",
    "The last one to be reached from {p} is",
    "Before all others that {p} has here stands",
    "By all that is written, {p} comes from",
    "Followed to its end, {p} gives",
    "Thus the farthest that {p} can be followed is",
    "Nothing goes further from {p} than",
    "{p} ends in",
)
_DEMANDS = (
    'Finish your reply like this: "{}"',
    "Keep to this form: {}",
    "The last thing you write is '{}'",
    "Put what you find in such a sentence: '{}'",
    'Your reply has to close with it. Say: "{}"',
    "Write it so: {}",
)
_ALL = (
    "Starting from {p}, name all that one comes by until the end.",
    "Which ones does {p} lead to, one after the other?",
    "List every {k} that is met on the way from {p}.",
    "Follow {p} as far as it goes and tell each {k} on the way.",
    "What are all of them that {v} with {p}?",
    "Find each {k} that has to do with {p}, near or far.",
    "All {k} that {v} {p} by these lines: which?",
    "To what does {p} go, and from there, and so on? Give them all.",
    "Give me the whole line that begins at {p}, without {p}.",
)
_LEAD_ALL = (
    "From {p} one comes by",
    "These belong to {p}:",
    "All {n} of them:",
    "With {p} there {v}",
    "There are {n} that {v} {p}, namely",
    "So:",
)
_QUOTES = ("{}", "{}", "{}", "'{}'", '"{}"', "*{}*")


def ask_for_end(
    rng: random.Random, relation: Relation, path: Sequence[str], *, upward: bool
) -> tuple[str, str]:
    """Return a question for the end and its answer, in a form that is shown or in short."""
    quote = rng.choice(_QUOTES)
    end = _End.draw(rng) if upward and rng.random() < 0.6 else None
    asked = end.ask(rng) if end else rng.choice(relation.up if upward else relation.down)
    asked = asked.format(p=quote.format(path[0]))
    if rng.random() < 0.1:
        return " ".join(filter(None, (asked, notes(rng)))), path[-1]
    lead = end.lead(rng) if end and rng.random() < 0.7 else _lead(rng)
    opening, closing = _shape(rng)

    def told(first: str, last: str) -> str:
        """Return the answer for a chain by its two ends."""
        return f"{lead.format(p=quote.format(first))} {opening}{last}{closing}."

    form = told(path[0], rng.choice(_GAPS))
    rule = rng.choice(_DEMANDS).format(form)
    if rng.random() < 0.6:
        rule = composed_demand(rng, form, within=f"{opening}{closing}")
    while True:
        examples = [
            _example(rng, relation, upward, told) for _ in range(rng.choice((0, 0, 1, 2, 3)))
        ]
        parts = (asked, numbered_examples(rng, examples), notes(rng, [rule]))
        text = rng.choice(("\n\n", "\n", " ")).join(filter(None, parts))
        if len(text) <= _QUESTION_CHARS:
            return text, told(path[0], path[-1])


def ask_for_all(rng: random.Random, path: Sequence[str]) -> tuple[str, str]:
    """Return a question for all that is met on the way, and its answer: the list in that order."""
    start, *met = path
    joint = rng.choice((", ", ", ", ", ", " ", "; ", " / "))
    said = rng.choice(_QUOTES).format(start)
    asked = rng.choice(_ALL).format(p=said, k=kind(rng, "things", "people"), v=made_up(rng))
    lead = f"{rng.choice(_LEAD_ALL).format(p=said, n=len(met), v=made_up(rng))} "
    if rng.random() < 0.3:
        return " ".join(filter(None, (asked, notes(rng)))), joint.join(met)
    opening, closing = rng.choice((*[("", "")] * 3, _shape(rng)))
    if rng.random() < 0.4:
        lead = ""
    gap = rng.choice((f"A{joint}B{joint}C", f"one{joint}the next{joint}the next", "names"))
    if gap == "names":
        joint = ", "
    form, answer = (f"{lead}{opening}{text}{closing}" for text in (gap, joint.join(met)))
    return f"{asked} {notes(rng, [rng.choice(_DEMANDS).format(form)])}", answer


class _End(NamedTuple):
    """The upper end of a chain in words put together, some that mean nothing among them."""

    which: str
    way: str
    where: str

    @classmethod
    def draw(cls, rng: random.Random) -> "_End":
        """Draw how the end is called, how a chain leads there, and where that is told."""
        which = f"{rng.choice(_FARTHEST)} {rng.choice(_PEOPLE)}"
        if rng.random() < 0.4:
            which = f"{rng.choice((*_FARTHEST, made_up(rng)))} {kind(rng, 'people', 'things')}"
        way = rng.choice(_WAYS)
        if rng.random() < 0.3:
            way = f"{{p}} {rng.choice(('can', 'may', 'is to', 'would'))} {made_up(rng)} {_to(rng)}"
        where = rng.choice(_WHERE)
        if rng.random() < 0.2:
            where = f" in the {made_up(rng)} {kind(rng, 'things')}"
        return cls(which, rng.choice(("", "that ", "whom ")) + way, where)

    def ask(self, rng: random.Random) -> str:
        """Return a question with a place for the name it starts from."""
        told = f"the {self.which} {self.way}{self.where}"
        before = _preface(rng) if rng.random() < 0.4 else ""
        asked = f"{rng.choice(_WHO)} {told}?"
        if rng.random() < 0.35:
            asked = f"{rng.choice(_TELL)} {told}."
        return before + (asked[:1].lower() + asked[1:] if before else asked)

    def lead(self, rng: random.Random) -> str:
        """Return the beginning of a sentence that ends with the answer."""
        opening = rng.choice(
            ("So the", "The", "Thus the", "Hence the", "Therefore the", "Then the")
        )
        return f"{opening} {self.which} {self.way}{self.where} is"


def _preface(rng: random.Random) -> str:
    """Return words before a question that name nobody."""
    noun = kind(rng, "things", "people")
    return rng.choice(
        (
            f"Going by the {noun} above, ",
            "With all that in mind, ",
            f"Taking every {noun} as told, ",
            f"By what the {noun} says here, ",
            f"{made_up(rng).capitalize()} {made_up(rng)} above, ",
            "As far as these lines tell, ",
            f"Now that you know the {noun}, ",
        )
    )


def _to(rng: random.Random) -> str:
    return rng.choice(("to", "back to", "up to", "from", "away to", "out to"))


def _example(
    rng: random.Random, relation: Relation, upward: bool, told: Callable[[str, str], str]
) -> str:
    """Return a short chain of names that occur nowhere else, worked to its end."""
    names = draw_names(rng, relation, rng.randint(2, 4))
    links = [tell(rng, relation, *ends).removesuffix(".") for ends in pairwise(names)]
    given = rng.choice((" and ", ", ", "; ")).join(rng.sample(links, len(links)))
    before, then = rng.choice(
        (("Let it say: ", ". Then: "), ("Where ", ", the reply is: "), ("", " => "))
    )
    path = names[::-1] if upward else names
    return f"{before}{given}{then}{told(path[0], path[-1])}"


def _lead(rng: random.Random) -> str:
    lead = rng.choice(_LEAD)
    return f"{made_up(rng).capitalize()}: {lead}" if rng.random() < 0.2 else lead


def _shape(rng: random.Random) -> tuple[str, str]:
    if rng.random() < 0.5:
        return rng.choice(_SHAPES)
    word = made_up(rng)
    return rng.choice(((f"\\{word}{{", "}"), (f"<{word}>", f"</{word}>"), (f"[{word}: ", "]")))
