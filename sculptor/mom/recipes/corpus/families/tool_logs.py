"""Tool results in which later ones overrule earlier ones: which value holds now?

An agent has read and changed values of a few units with its client's tools; results are JSON with
lines that nobody needs. A value is found by a pattern: the unit, then its field within one object,
last match. The quotes around both tell a result from the question, which a search brings back too.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from sculptor.mom.recipes.corpus.client_tools import plain
from sculptor.mom.recipes.corpus.moves import Ask, look_up, needs_tools
from sculptor.mom.recipes.corpus.prose import sentence
from sculptor.mom.recipes.corpus.scene import Scene, Turn, Wire, say, user
from sculptor.mom.recipes.corpus.wording import draw_wording
from sculptor.mom.recipes.corpus.words import (
    code,
    distinct,
    kind,
    made_up,
    number,
    pick,
    plain_piece,
)

CONTEXT_CHARS = 80

OPTIONS: Mapping[str, Any] = {
    "mode": "regex",
    "context_size": CONTEXT_CHARS,
    "latest_per_query": True,
}
"""How the last result that shows a field is searched for."""

_CALL_CHARS = 240
"""About what a call and its result take besides the result's text."""

_OPENINGS = (
    "Keep an eye on our units with the tools you have; I will want to know how they stand.",
    "Go round the units, read them and set them where you must.",
    "Work through the list of units. At the end I ask for the figures.",
)
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
_SUFFIXES = ("", "", "", "_pct", "_kb", "_s", "_min", "_rate", "_size", "_no")


class _Style(NamedTuple):
    """How results of a conversation are written."""

    unit: str
    values: str
    notes: str
    indent: bool
    flat: bool
    sheet: bool = False


class _Log(NamedTuple):
    """A drawn log: the messages, and the last value of each unit's field."""

    messages: list[Wire]
    last: dict[tuple[str, str], str]
    times: dict[tuple[str, str], int]


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with a log of about ``chars`` characters."""
    return _draw(rng, _draw_style(rng), family="tool_logs", chars=chars)


def draw_sheets(rng: random.Random, *, chars: int) -> Scene:
    """Draw the same with results that are no JSON: a heading and lines under it."""
    style = _draw_style(rng)._replace(sheet=True)
    return _draw(rng, style, family="tool_sheets", chars=chars)


def _draw(rng: random.Random, style: "_Style", *, family: str, chars: int) -> Scene:
    units = distinct(rng, rng.choice((made_up, plain_piece, _tag, _thing)), rng.randint(2, 9))
    fields = _fields(rng, rng.randint(2, 7), units)
    reads, sets = (f"{verb}_{made_up(rng)}" for verb in ("get", "set"))
    log = _draw_log(rng, style, units, fields, names=(reads, sets), chars=chars)
    often = [item for item, times in log.times.items() if times > 1] or list(log.last)
    asked = rng.sample(often, min(len(often), rng.choice((1, 2, 3, 4, 6, 8, 8, 10))))
    joint = rng.choice((".", ".", "/", " ", ":", " -> ", "::", "'s "))
    labels = [f"{unit}{joint}{field}" for unit, field in asked]
    unit_word = style.unit if rng.random() < 0.5 else rng.choice(_UNIT_WORDS)
    place = f"{unit_word}{joint}{rng.choice((*_FIELD_WORDS, plain(made_up(rng))))}"
    opening, closing = rng.choice((*[("", "")] * 4, ("<", ">"), ("[", "]"), ("{", "}")))
    marked = f"{opening}{place}{closing}" if rng.random() < 0.75 else ""
    wording = draw_wording(rng, place=marked)
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
    return _scene(family, said, asks, tools=(_reads(reads), _sets(sets)))


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


def _pattern(style: "_Style", unit: str, field: str) -> str:
    return f"# {unit}\\s[^#]*{field}: " if style.sheet else f'{unit}"[^}}]*{field}"'


def _scene(
    family: str, said: Sequence[Wire], asks: Sequence[Ask], *, tools: tuple[Wire, ...]
) -> Scene:
    size = sum(len(orjson.dumps(message)) for message in said)
    direct = say("\n".join(ask.line for ask in asks))
    script = look_up(asks, options=OPTIONS) if needs_tools(size) else direct
    turn = Turn(said=tuple(said), direct=direct, tools=script)
    return Scene(family=family, turns=(turn,), tools=tools)


def _draw_log(
    rng: random.Random,
    style: _Style,
    units: Sequence[str],
    fields: Sequence[str],
    *,
    names: tuple[str, str],
    chars: int,
) -> _Log:
    noise = rng.choice((0, 1, 3, 8, 20))
    log = _Log([user(rng.choice(_OPENINGS))], {}, {})
    while chars > 0:
        unit, change = rng.choice(units), rng.random() < 0.5
        shown = rng.sample(fields, 1 if change else rng.randint(1, len(fields)))
        values = {field: number(rng) for field in shown}
        for field, value in values.items():
            log.last[unit, field] = value
            log.times[unit, field] = log.times.get((unit, field), 0) + 1
        arguments: dict[str, Any] = {"unit": unit}
        if change:
            arguments |= {"field": shown[0], "to": values[shown[0]]}
        result = _result(rng, style, unit, values, noise)
        log.messages.extend(_call(len(log.messages), names[change], arguments, result))
        chars -= len(result) + _CALL_CHARS
    return log


def _draw_style(rng: random.Random) -> _Style:
    return _Style(
        unit=rng.choice(("unit", "of", "name", "source", "part", plain(made_up(rng)))),
        values=rng.choice(("values", "figures", "state", "now", "holds", plain(made_up(rng)))),
        notes=rng.choice(("notes", "remarks", "trail", "lines", "told")),
        indent=rng.random() < 0.5,
        flat=rng.random() < 0.3,
    )


def _result(
    rng: random.Random, style: _Style, unit: str, values: dict[str, str], noise: int
) -> str:
    written = {field: orjson.loads(value) for field, value in values.items()}
    notes = [sentence(rng) for _ in range(rng.randint(0, noise))]
    if style.sheet:
        lines = [f"# {unit}", *(f"{field}: {value}" for field, value in values.items()), *notes]
        return "\n".join(lines)
    body: dict[str, Any] = {style.unit: unit}
    body |= written if style.flat else {style.values: written}
    if notes:
        body[style.notes] = notes
    option = orjson.OPT_INDENT_2 if style.indent else None
    return orjson.dumps(body, option=option).decode()


def _call(number_: int, name: str, arguments: dict[str, Any], result: str) -> list[Wire]:
    call_id = f"call_log{number_}"
    function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
    call = {"id": call_id, "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def _reads(name: str) -> Wire:
    return _definition(name, ("unit",))


def _sets(name: str) -> Wire:
    return _definition(name, ("unit", "field", "to"))


def _definition(name: str, parameters: Sequence[str]) -> Wire:
    schema = {
        "type": "object",
        "properties": {label: {"type": "string"} for label in parameters},
        "required": list(parameters),
    }
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def _fields(rng: random.Random, count: int, units: Sequence[str]) -> list[str]:
    """Draw names of which none holds another or a unit's, so that a search finds it alone."""
    while True:
        fields = [plain(field) for field in distinct(rng, _field, count)]
        others = [*fields, *units]
        if not any(one in two for one in others for two in fields if one != two):
            return fields


def _field(rng: random.Random) -> str:
    """Draw a name that no note holds: a plain word never stands alone."""
    kinds = ("states", "things", "adjectives")
    words = [
        made_up(rng) if rng.random() < 0.3 else pick(rng, rng.choice(kinds))
        for _ in range(rng.choice((1, 2, 2, 3)))
    ]
    if len(words) == 1 and "_" not in plain(words[0]):
        words.append(made_up(rng))
    return "_".join(words) + rng.choice(_SUFFIXES)


def _thing(rng: random.Random) -> str:
    return plain(pick(rng, "things"))


def _tag(rng: random.Random) -> str:
    return code(rng).replace("/", "-")
