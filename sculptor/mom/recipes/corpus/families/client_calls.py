"""Calls of the client's own tools: the right one, with the arguments that were asked for.

One to three turns; the answer tells a field of what came back. Context tools may stand beside, and
are not needed.
"""

import random
from collections.abc import Generator, Sequence

import orjson

from sculptor.mom.recipes.corpus.client_tools import ClientTool, draw_result, draw_tool
from sculptor.mom.recipes.corpus.scene import Answers, Call, Move, Scene, Script, Turn, say, user

_ASKS = (
    ("Please {what} with {arguments}. Which {field} does it give?", "The {field} is {value}."),
    ("I need you to {what}: {arguments}. Only the {field} matters.", "{field}: {value}"),
    ("{what_cap}, {arguments}, and tell me the {field}.", "It says {value} for {field}."),
    ("Can you {what}? {arguments}. What is the {field}?", "The {field} is {value}."),
    ("{what_cap} ({arguments}); I want the {field} and nothing else.", "{value}"),
    ("{field} wanted: {what} with {arguments}.", "{field}: {value}"),
)
"""What is asked, and how it is told: one goes with the other, so that the answer can be known."""


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene; longer ones have more turns and more tools."""
    count = min(5, 1 + chars // 500)
    tools = {tool.name: tool for tool in (draw_tool(rng) for _ in range(rng.randint(1, count)))}
    turns: list[Turn] = []
    for _ in range(rng.randint(1, 3)):
        turns += _exchange(rng, list(tools.values()))
    definitions = tuple(tool.definition() for tool in tools.values())
    return Scene(family="client_calls", turns=tuple(turns), tools=definitions)


def _exchange(rng: random.Random, tools: Sequence[ClientTool]) -> list[Turn]:
    tool = rng.choice(tools)
    arguments, result = tool.arguments(rng), draw_result(rng)
    field, value = rng.choice(list(result.items()))
    what = tool.name.replace("_", " ", 1).replace("_", " ")
    named = ", ".join(f"{label} {_said(given)}" for label, given in arguments.items())
    asked, told = rng.choice(_ASKS)
    text = asked.format(what=what, what_cap=what.capitalize(), arguments=named, field=field)
    script = _calling(Call(name=tool.name, arguments=arguments))
    tell = say(told.format(field=field, value=value))
    return [
        Turn(said=(user(text),), direct=script, tools=script),
        Turn(results=(orjson.dumps(result).decode(),), direct=tell, tools=tell),
    ]


def _calling(call: Call) -> Script:
    def script() -> Generator[Move, Answers, None]:
        """Call."""
        yield Move(calls=(call,))

    return script


def _said(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
