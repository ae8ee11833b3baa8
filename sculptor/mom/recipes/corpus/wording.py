"""How an answer is to be worded: forms that a question demands and an answer fills.

A form is a line with a place for the item and one for its value. A question shows the form with
its places marked in one of many ways; the answer is the form filled, one line an item.
"""

import random
from dataclasses import dataclass

from sculptor.mom.recipes.corpus.words import pick

_PLACES = (
    ("<item>", "<entry>"),
    ("<name>", "<state>"),
    ("[item]", "[reading]"),
    ("[name]", "[what it is]"),
    ("{x}", "{y}"),
    ("{item}", "{entry}"),
    ("(item)", "(your answer)"),
    ("ITEM", "ENTRY"),
    ("<A>", "<B>"),
    ("___", "____"),
)
_DEMANDS = (
    "Write one line for each, like this: '{}'",
    'Give every one as "{}"',
    "Use this form, a line each: {}",
    "Your reply consists of lines of the form '{}'",
    "Finish with lines that read '{}'",
    "I want them put as: '{}'",
    "Reply in the manner of '{}' and add nothing.",
    "Tell me each in the words '{}'",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """One form; ``line`` holds ``{0}`` where the item stands and ``{1}`` where its value does."""

    line: str
    demand: str

    def fill(self, item: str, value: str) -> str:
        """Return the form with an item and its value in place."""
        return self.line.replace("{0}", item).replace("{1}", value)


def draw_wording(rng: random.Random) -> Wording:
    """Draw a form and the sentence that demands it."""
    line = _line(rng)
    places = rng.choice(_PLACES)
    shown = line.replace("{0}", places[0]).replace("{1}", places[1])
    return Wording(line=line, demand=rng.choice(_DEMANDS).format(shown))


def _line(rng: random.Random) -> str:
    state, newest = pick(rng, "states"), pick(rng, "newest")
    return rng.choice(
        (
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
