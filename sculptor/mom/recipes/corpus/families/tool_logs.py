"""Tool results in which later ones overrule earlier ones: which value holds now?

A value is found by a pattern: the unit, then its field within one object, last match. The quotes
around both tell a result from the question, which a search brings back too.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sculptor.mom.recipes.corpus.client_tools import plain
from sculptor.mom.recipes.corpus.logs import Style, draw_log, draw_style
from sculptor.mom.recipes.corpus.moves import Ask, look_up, needs_tools
from sculptor.mom.recipes.corpus.scene import Scene, Turn, Wire, say, user
from sculptor.mom.recipes.corpus.wording import draw_wording
from sculptor.mom.recipes.corpus.words import kind, made_up

CONTEXT_CHARS = 80

OPTIONS: Mapping[str, Any] = {
    "mode": "regex",
    "context_size": CONTEXT_CHARS,
    "latest_per_query": True,
}
"""How the last result that shows a field is searched for."""

_QUESTIONS = (
    "No more calls, please. Going by what came back: how do these stand now: {items}?",
    "Without looking again: what is the present figure for {items}?",
    "Which values are in force for {items}? Answer from the results.",
    "After all this, tell me the latest of {items}.",
    "Make no further call. What do these stand at: {items}?",
    "From what the tools told you: {items}. What holds?",
    "Which figures are the last ones for these: {items}?",
    "List how it is with {items}, by the results alone.",
    "I want to know {items} as they are after the last change.",
    "Do not read them again. How are {items} set?",
)
_BEFORE = (
    "Stop calling",
    "Leave the tools alone now",
    "By the results and nothing else",
    "From all that came back",
    "Without another call",
    "Going by the last of the results",
    "Use what you have seen",
)
_UNIT_WORDS = ("unit", "part", "device", "A", "UNIT", "name", "machine", "block", "where")
_FIELD_WORDS = ("field", "figure", "B", "FIELD", "entry", "item", "number", "what", "option")


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with a log of about ``chars`` characters."""
    return _draw(rng, draw_style(rng), family="tool_logs", chars=chars)


def draw_sheets(rng: random.Random, *, chars: int) -> Scene:
    """Draw the same with results that are no JSON: a heading and lines under it."""
    style = draw_style(rng)._replace(sheet=True)
    return _draw(rng, style, family="tool_sheets", chars=chars)


def _draw(rng: random.Random, style: Style, *, family: str, chars: int) -> Scene:
    log = draw_log(rng, style, chars=chars)
    often = [item for item, times in log.times.items() if times > 1] or list(log.last)
    asked = rng.sample(often, min(len(often), rng.choice((1, 2, 3, 4, 6, 8, 8, 10))))
    joint = rng.choice((".", ".", "/", " ", ":", " -> ", "::", "'s "))
    labels = [f"{unit}{joint}{field}" for unit, field in asked]
    wording = draw_wording(rng, place=_place(rng, style, joint))
    asked_for = rng.choice(_QUESTIONS) if rng.random() < 0.5 else _composed(rng)
    question = asked_for.format(items=", ".join(labels))
    said = (*log.messages, user(f"{question} {wording.demand}"))
    asks = [
        Ask(
            query=_pattern(style, unit, field),
            line=wording.fill(label, log.last[unit, field]),
            onward=f", {label}, ",
        )
        for (unit, field), label in zip(asked, labels, strict=True)
    ]
    return _scene(family, said, asks, tools=log.tools)


def _place(rng: random.Random, style: Style, joint: str) -> str:
    """Return what stands for a label in the form shown; empty where the wording has its own."""
    unit = style.unit if rng.random() < 0.5 else rng.choice(_UNIT_WORDS)
    place = f"{unit}{joint}{rng.choice((*_FIELD_WORDS, plain(made_up(rng))))}"
    opening, closing = rng.choice((*[("", "")] * 4, ("<", ">"), ("[", "]"), ("{", "}")))
    return f"{opening}{place}{closing}" if rng.random() < 0.75 else ""


def _composed(rng: random.Random) -> str:
    """Put a question together, words that mean nothing among its parts."""
    before = rng.choice(_BEFORE)
    what = rng.choice(
        ("{kind} {does}", "{kind} is {does}", "{kind} {does} now", "last {kind} {does}")
    )
    what = what.replace("{kind}", kind(rng, "states", "things")).replace("{does}", made_up(rng))
    group = kind(rng, "groups", "things")
    return rng.choice(
        (
            f"{before}: which {what} for each of these {group}: {{items}}?",
            f"{before}. What {what} for {{items}}?",
            f"{before}, list the {what} of {{items}}.",
            f"{before}: {{items}}. Which {what}?",
        )
    )


def _pattern(style: Style, unit: str, field: str) -> str:
    return f"# {unit}\\s[^#]*{field}: " if style.sheet else f'{unit}"[^}}]*{field}"'


def _scene(
    family: str, said: Sequence[Wire], asks: Sequence[Ask], *, tools: tuple[Wire, ...]
) -> Scene:
    size = sum(len(orjson.dumps(message)) for message in said)
    direct = say("\n".join(ask.line for ask in asks))
    script = look_up(asks, options=OPTIONS) if needs_tools(size) else direct
    turn = Turn(said=tuple(said), direct=direct, tools=script)
    return Scene(family=family, turns=(turn,), tools=tools)
