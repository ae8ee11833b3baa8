"""How an answer is to be worded: forms that a question demands and an answer fills.

A form is a line with a place for the item and one for its value, many of them put together at
random. A question shows the form with its places marked in one of many ways; the answer is the form
filled, one line an item.
"""

import random
from dataclasses import dataclass

from sculptor.mom.recipes.corpus.words import kind, made_up

_PLACES = (
    ("<item>", "<entry>"),
    ("<name>", "<state>"),
    ("[item]", "[reading]"),
    ("[name]", "[what it is]"),
    ("{x}", "{y}"),
    ("{item}", "{entry}"),
    ("(item)", "(your answer)"),
    ("ITEM", "ENTRY"),
    ("item", "entry"),
    ("name", "reading"),
    ("NAME", "STATE"),
    ("thing", "what it is"),
    ("<A>", "<B>"),
    ("___", "____"),
)
_BRACKETS = (("<", ">"), ("[", "]"), ("{", "}"), ("(", ")"), ("<<", ">>"), ("*", "*"), ("__", "__"))
_ITEM_WORDS = ("item", "name", "what", "which", "subject", "x", "A", "one", "thing", "who")
_BACKWARD = ("for", "was given to", "is held by", "is what one finds at", "was last told of")
"""Between a value and its item: which is which must be plain where the places do not tell."""
_DEMANDS = (
    "Write one line for each, like this: '{}'",
    'Give every one as "{}"',
    "Use this form, a line each: {}",
    "Your reply consists of lines of the form '{}'",
    "Finish with lines that read '{}'",
    "I want them put as: '{}'",
    "Reply in the manner of '{}' and add nothing.",
    "Tell me each in the words '{}'",
    "Close with one line apiece: '{}'",
    "The reply is to end in lines such as '{}'",
    "At the end put, for each: {}",
    "One to a line, please, as in `{}`",
    "Format: {}",
    "Form of each line: '{}'",
    "Say it every time like so: {}",
    "Stick to '{}' for each of them.",
    "Each gets a line of its own, written '{}'",
)


_WHEN = (
    "",
    "",
    "",
    "In closing, ",
    "When done, ",
    "Last of all, ",
    "Once you know, ",
    "To end with, ",
)
_WRITES = ("write", "set down", "give", "place", "state", "enter", "put down", "tell")
_FOUND = ("what you found", "your result", "it", "the outcome", "what holds", "the reply", "that")
_MANNER = (
    "in this way",
    "as shown",
    "like this",
    "in the same words",
    "so",
    "in such a sentence",
    "as one line",
    "by this pattern",
)
_SHOWN = (
    "For instance",
    "Such as",
    "Like so",
    "As in",
    "E.g.",
    "Say",
    "Model",
    "Thus",
    "It may read",
)


def composed_demand(rng: random.Random, shown: str, *, within: str = "") -> str:
    """Return a demand for a form put together at random; ``within`` says what it is to stand in."""
    manner = f"within {within}" if within and rng.random() < 0.6 else rng.choice(_MANNER)
    text = f"{rng.choice(_WHEN)}{rng.choice(_WRITES)} {rng.choice(_FOUND)} {manner}"
    if rng.random() < 0.15:
        text = f"{made_up(rng)} {text}"
    text = text[:1].upper() + text[1:]
    lead = made_up(rng).capitalize() if rng.random() < 0.15 else rng.choice(_SHOWN)
    quote = rng.choice(('"{}"', "'{}'", "`{}`", "{}", '"{}"'))
    way = rng.random()
    if way < 0.15:
        each = rng.choice(("each", "every one", "them", "all of it", f"the {made_up(rng)}"))
        return (
            f"{rng.choice(_WRITES).capitalize()} {each} {rng.choice(('as', 'by', 'like'))} {shown}"
        )
    if way < 0.4:
        return f"{text}: {quote.format(shown)}"
    return f"{text}. {lead}{rng.choice((':', ':', ','))} {quote.format(shown)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """One form; ``line`` holds ``{0}`` where the item stands and ``{1}`` where its value does."""

    line: str
    demand: str

    def fill(self, item: str, value: str) -> str:
        """Return the form with an item and its value in place."""
        return self.line.replace("{0}", item).replace("{1}", value)


def draw_wording(rng: random.Random, *, place: str = "") -> Wording:
    """Draw a form and the sentence that demands it; ``place`` stands for the item in it."""
    state = kind(rng, "states", "things")
    line = _line(rng, state) if rng.random() < 0.6 else _free_line(rng)
    places = rng.choice(_PLACES) if rng.random() < 0.3 else _places(rng, state)
    shown = line.replace("{0}", place or places[0]).replace("{1}", places[1])
    if rng.random() < 0.4:
        return Wording(line=line, demand=composed_demand(rng, shown))
    return Wording(line=line, demand=rng.choice(_DEMANDS).format(shown))


def _places(rng: random.Random, state: str) -> tuple[str, str]:
    """Return two marked words; what marks the value is often called as the line calls it."""
    opening, closing = rng.choice(_BRACKETS)
    word = made_up(rng) if rng.random() < 0.25 else rng.choice(_ITEM_WORDS)
    value = state if rng.random() < 0.5 else kind(rng, "states")
    if value == word:
        value = "that"
    return f"{opening}{word}{closing}", f"{opening}{value}{closing}"


def _free_line(rng: random.Random) -> str:
    """Return a form that no list holds, so that it must be read off the demand."""
    lead = rng.choice(("", "", "", "- ", "* ", "> ", "About ", "As to ", "So ", "Now "))
    if rng.random() < 0.15:
        lead = f"{made_up(rng).capitalize()} "
    link = rng.choice((": ", " = ", " -> ", " => ", " | ", " is ", " now ", " holds ", " reads "))
    if rng.random() < 0.3:
        link = rng.choice((" comes to ", " ends as ", " stays at ", f" {made_up(rng)} ", " has "))
    if rng.random() < 0.2:
        return f"{lead}{{1}} {rng.choice(_BACKWARD)} {{0}}"
    return f"{lead}{{0}}{link}{{1}}{rng.choice(('', '', '.', ';', '!'))}"


def _line(rng: random.Random, state: str) -> str:
    newest = kind(rng, "newest", "adjectives")
    return rng.choice(
        (
            f"The {newest} {state} of {{0}} is {{1}}.",
            f"The {newest} {state} of {{0}} is {{1}}.",
            f"The {newest} {state} for {{0}} is {{1}}.",
            f"The {state} of {{0}} is {{1}}.",
            f"The {newest} {state} of {{0}} reads {{1}}.",
            f"{newest.capitalize()} {state} of {{0}}: {{1}}",
            f"{{0}} has the {state} {{1}}.",
            "{0}: {1}",
            "{0} = {1}",
            "{0} -> {1}",
            "- {0}: {1}",
            "{0} stands at {1}.",
            f"{{1}} is the {newest} {state} of {{0}}.",
            "For {0} it is {1}.",
        )
    )
