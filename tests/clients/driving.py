"""What all drivers of clients share: the conversation, the client's tools, and the report.

A driver is run by the Python of its client's own virtual environment, so this file needs the
standard library alone. Where to find the server a client reads, as people set it, from
``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``. The model's name tells the upstream which scenario is
played. What a scenario returns, or what it raised, is one member of the JSON object printed.
"""

import asyncio
import json
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

LONG = "\n".join(f"line {i}: the value of item {i} is {i * 7}" for i in range(600))
QUESTION = LONG + "\n\nWhat is the value of item 5?"
FOLLOW_UPS = ("Are you sure?", "And of item 6?")
TRAVEL = LONG + "\n\nWhat are weather and time in Oslo?"
REFUSED = ("refuse-400", "refuse-401", "refuse-429")
WRONG_KEY = "sk-wrong-key-of-nobody"

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CLOCK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "The time in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "format": {"type": "string"}},
            "required": ["city", "format"],
            "additionalProperties": False,
        },
    },
}


def weather(city: str) -> str:
    """The weather in a city."""
    return f"-3 degrees in {city}"


def clock(city: str, format: str) -> str:
    """The time in a city."""
    return f"12:30 in {city}, as {format}"


def run_tool(name: str, arguments: dict[str, Any]) -> str:
    """Run a tool of the client; a name that is not the client's is an error."""
    return {"weather": weather, "clock": clock}[name](**arguments)


Scenario = Callable[[], dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]]


def report(scenarios: dict[str, Scenario]) -> None:
    """Play all scenarios and print what came of them."""
    print(json.dumps(asyncio.run(_play(scenarios))))


async def _play(scenarios: dict[str, Scenario]) -> dict[str, Any]:
    played: dict[str, Any] = {}
    for name, scenario in scenarios.items():
        try:
            result = scenario()
            played[name] = result if isinstance(result, dict) else await result
        except Exception:
            played[name] = {"raised": traceback.format_exc()}
    return played


def told(error: Exception) -> dict[str, Any]:
    """Return what a client's own error says of the answer."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return {"kinds": kinds, "status": getattr(error, "status_code", None), "message": str(error)}
