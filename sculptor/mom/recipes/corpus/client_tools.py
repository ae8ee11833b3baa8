"""Tools of a client, made up: names, parameters, and results that look like what tools return."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sculptor.mom.recipes.corpus.scene import Wire
from sculptor.mom.recipes.corpus.words import code, distinct, made_up, name, number, pick

_VERBS = ("open", "send", "book", "check", "move", "list", "weigh", "start", "stop", "find", "rent")
_KINDS = ("string", "string", "integer", "boolean", "choice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter; ``choices`` are its allowed values where it has a list of them."""

    name: str
    kind: str
    choices: tuple[str, ...] = ()

    def schema(self) -> Mapping[str, Any]:
        """Return its JSON schema."""
        if self.kind == "choice":
            return {"type": "string", "enum": list(self.choices)}
        return {"type": self.kind}

    def draw(self, rng: random.Random) -> object:
        """Draw an argument."""
        match self.kind:
            case "choice":
                return rng.choice(self.choices)
            case "integer":
                return rng.randint(1, 999)
            case "boolean":
                return rng.random() < 0.5
            case _:
                return rng.choice((made_up, code, name))(rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTool:
    """One tool of a client."""

    name: str
    parameters: tuple[Parameter, ...]

    def definition(self) -> Wire:
        """Return the tool as an OpenAI function definition."""
        schema = {
            "type": "object",
            "properties": {one.name: one.schema() for one in self.parameters},
            "required": [one.name for one in self.parameters],
        }
        text = f"{self.name.replace('_', ' ').capitalize()}."
        return {
            "type": "function",
            "function": {"name": self.name, "description": text, "parameters": schema},
        }

    def arguments(self, rng: random.Random) -> dict[str, object]:
        """Draw the arguments of a call."""
        return {one.name: one.draw(rng) for one in self.parameters}


def draw_tool(rng: random.Random) -> ClientTool:
    """Draw a tool with one to three parameters."""
    names = distinct(
        rng, lambda r: r.choice((made_up(r), plain(pick(r, "states")))), rng.randint(1, 3)
    )
    parameters = tuple(_parameter(rng, label) for label in names)
    return ClientTool(
        name=f"{rng.choice(_VERBS)}_{plain(pick(rng, 'things'))}", parameters=parameters
    )


def draw_result(rng: random.Random) -> dict[str, object]:
    """Draw what a tool returns."""
    fields = distinct(rng, lambda r: plain(pick(r, "states")), rng.randint(1, 3))
    return {field: rng.choice((made_up, code, number, name))(rng) for field in fields}


def plain(text: str) -> str:
    """Return words as one identifier."""
    return text.replace(" ", "_").replace("-", "_")


def _parameter(rng: random.Random, label: str) -> Parameter:
    kind = rng.choice(_KINDS)
    choices = tuple(distinct(rng, made_up, 3)) if kind == "choice" else ()
    return Parameter(name=label, kind=kind, choices=choices)
