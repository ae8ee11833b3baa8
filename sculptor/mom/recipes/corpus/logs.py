"""Logs drawn at random: an agent reads and changes values of a few units with its client's tools.

Results are JSON, or a heading and lines under it, with notes that nobody needs; later ones overrule
earlier ones.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from sculptor.mom.recipes.corpus.client_tools import plain
from sculptor.mom.recipes.corpus.prose import sentence
from sculptor.mom.recipes.corpus.scene import Wire, user
from sculptor.mom.recipes.corpus.words import code, distinct, made_up, number, pick, plain_piece

_CALL_CHARS = 240
"""About what a call and its result take besides the result's text."""

_OPENINGS = (
    "Keep an eye on our units with the tools you have; I will want to know how they stand.",
    "Go round the units, read them and set them where you must.",
    "Work through the list of units. At the end I ask for the figures.",
)
_SUFFIXES = ("", "", "", "_pct", "_kb", "_s", "_min", "_rate", "_size", "_no")


class Style(NamedTuple):
    """How results of a conversation are written."""

    unit: str
    values: str
    notes: str
    indent: bool
    flat: bool
    sheet: bool = False


class Log(NamedTuple):
    """A drawn log: messages, the client's tools, each field's last value, how often it was told."""

    messages: list[Wire]
    tools: tuple[Wire, ...]
    last: dict[tuple[str, str], str]
    times: dict[tuple[str, str], int]


def draw_style(rng: random.Random) -> Style:
    """Draw a way of writing results as JSON."""
    return Style(
        unit=rng.choice(("unit", "of", "name", "source", "part", plain(made_up(rng)))),
        values=rng.choice(("values", "figures", "state", "now", "holds", plain(made_up(rng)))),
        notes=rng.choice(("notes", "remarks", "trail", "lines", "told")),
        indent=rng.random() < 0.5,
        flat=rng.random() < 0.3,
    )


def draw_log(rng: random.Random, style: Style, *, chars: int) -> Log:
    """Draw a log of about ``chars`` characters."""
    units = distinct(rng, rng.choice((made_up, plain_piece, _tag, _thing)), rng.randint(2, 9))
    fields = _fields(rng, rng.randint(2, 7), units)
    reads, sets = (f"{verb}_{made_up(rng)}" for verb in ("get", "set"))
    noise = rng.choice((0, 1, 3, 8, 20))
    log = Log([user(rng.choice(_OPENINGS))], (_reads(reads), _sets(sets)), {}, {})
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
        name = sets if change else reads
        log.messages.extend(_call(len(log.messages), name, arguments, result))
        chars -= len(result) + _CALL_CHARS
    return log


def _result(rng: random.Random, style: Style, unit: str, values: dict[str, str], noise: int) -> str:
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
