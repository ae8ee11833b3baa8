"""Forty turns of tool use, after which the settings that hold now are asked for.

An agent has read and changed the settings of a few services; every result carries log lines that
nobody needs any more, and later results supersede earlier ones. The reply has to state the last
value of each setting asked for, one ``service.setting = value`` a line. Every value of a
conversation is different, so an answer shows which result it was taken from.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields, sample_id
from sculptor.evals.files import DataFiles
from sculptor.evals.mrcr import mean_by
from sculptor.evals.types import (
    Json,
    Message,
    Object,
    Sample,
    Score,
    check_scorer,
    derive_seed,
    user_message,
)

SERVICES = ("billing", "gateway", "mailer", "search", "ledger", "uploads", "catalog", "reports")
SETTINGS = ("timeout_ms", "max_connections", "cache_entries", "retry_delay_ms", "queue_limit")
ASKED = 8
TURNS = 40

_ACTIVITIES = (
    "worker {n} picked up batch {m}",
    "health check answered in {n} ms",
    "rotated access log, {m} bytes kept",
    "garbage collection freed {m} objects",
    "connection from 10.0.{n}.{k} closed by peer",
    "scheduled job compact finished after {n} s",
    "certificate checked, {n} days left",
    "request {m} answered with status 200",
)
TOOLS: tuple[Object, ...] = (
    {
        "type": "function",
        "function": {
            "name": "read_settings",
            "description": "Read a service's settings and the tail of its log.",
            "parameters": {
                "type": "object",
                "properties": {"service": {"type": "string"}},
                "required": ["service"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "change_setting",
            "description": "Change one setting of a service and read the tail of its log.",
            "parameters": {
                "type": "object",
                "properties": {
                    "service": {"type": "string"},
                    "setting": {"type": "string"},
                    "value": {"type": "integer"},
                },
                "required": ["service", "setting", "value"],
            },
        },
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLog:
    """The tool-use log task; a cell is the number of log lines in each result."""

    name: str = "tool-log"
    summary: str = "ours: 40 turns of tool use; which settings hold after the last change?"
    cells: tuple[int, ...] = (5, 20, 80)
    sessions: int = 40
    files: DataFiles = field(default_factory=DataFiles)
    scorers: Sequence[str] = ("original",)

    def __len__(self) -> int:
        return len(self.cells) * self.sessions

    def draw(self, index: int, *, seed: int = 0) -> Object:
        """Draw the turns: which service is read or changed, and to which values."""
        rng = random.Random(derive_seed(self.name, seed, index))
        values = rng.sample(range(10000, 100000), TURNS * len(SETTINGS))
        services = rng.sample(SERVICES, 4)
        turns = [_draw_turn(rng, services[turn % 4], values) for turn in range(TURNS)]
        shown = Counter(f"{turn.service}.{name}" for turn in turns for name in turn.values)
        superseded = sorted(item for item, times in shown.items() if times > 1)
        return {
            "task": self.name,
            "seed": seed,
            "index": index,
            "turns": [turn._asdict() for turn in turns],
            "asked": rng.sample(superseded, min(ASKED, len(superseded))),
            "log_lines": self.cells[index % len(self.cells)],
            "log_seed": rng.randrange(2**32),
        }

    def sample(self, draw: Object) -> Sample:
        """Build the conversation of a draw."""
        fields = Fields(draw)
        asked = fields.texts("asked") or ()
        turns = [_read_turn(turn) for turn in fields.sequence("turns") or ()]
        rng = random.Random(fields.number("log_seed", default=0))
        log_lines = fields.number("log_lines", default=20, most=10_000)
        messages: list[Message] = [user_message(_OPENING)]
        current: dict[str, str] = {}
        for number, turn in enumerate(turns):
            lines = _log_lines(rng, log_lines)
            messages += _turn_messages(number, turn, log=lines)
            current |= {f"{turn.service}.{name}": str(now) for name, now in turn.values.items()}
        unknown = [item for item in asked if item not in current]
        if unknown or not asked:
            raise EvalError(f"'asked' must name settings the turns show; wrong: {unknown}.")
        messages.append(user_message(_question(asked)))
        return Sample(
            id=sample_id(fields, self.name, json.dumps(messages)),
            draw=draw,
            messages=messages,
            reference={item: current[item] for item in asked},
            params={"log_lines": log_lines, "turns": len(turns)},
            tools=TOOLS,
        )

    def score(
        self,
        reply: str,
        reference: Json,
        *,
        scorer: str | None = None,
        params: Object | None = None,
    ) -> Score:
        """Score the share of settings whose last stated value is right, from 0 to 1."""
        check_scorer(scorer, self.scorers)
        if not isinstance(reference, Mapping) or not reference:
            raise EvalError("A tool-log reference maps settings to values.")
        answers = {item: _stated(reply, item) for item in reference}
        right = sum(answers[item] == str(value) for item, value in reference.items())
        return Score(value=right / len(reference), detail={"answers": answers})

    def metrics(self, rows: Sequence[tuple[Object, float | None]]) -> Mapping[str, float]:
        """Return the mean, overall and by log lines a result."""
        return mean_by(rows, "log_lines")


_OPENING = (
    "Please look after the settings of our services with your tools. Read and change what is "
    "needed; later I will ask which values hold."
)


class _Turn(NamedTuple):
    """One tool call: the values its result shows, or the one value it sets."""

    service: str
    change: bool
    values: Mapping[str, Json]


def _draw_turn(rng: random.Random, service: str, values: list[int]) -> _Turn:
    change = rng.random() < 0.5
    names = rng.sample(SETTINGS, 1 if change else 3)
    return _Turn(service, change, {name: values.pop() for name in names})


def _read_turn(turn: Json) -> _Turn:
    fields = Fields(turn if isinstance(turn, Mapping) else {}, what="turn")
    values = fields.find("values")
    if not isinstance(values, Mapping) or not values:
        raise EvalError("A turn needs 'service' and 'values', a mapping of settings to numbers.")
    change = fields.flag("change", default=False)
    if change and len(values) != 1:
        raise EvalError("A turn that changes a setting has exactly one value.")
    return _Turn(fields.text("service"), change, values)


def _turn_messages(number: int, turn: _Turn, *, log: Sequence[str]) -> list[Message]:
    call_id = f"call_{number:04d}"
    name = "change_setting" if turn.change else "read_settings"
    arguments: dict[str, Json] = {"service": turn.service}
    if turn.change:
        setting, value = next(iter(turn.values.items()))
        arguments |= {"setting": setting, "value": value}
    call = {"name": name, "arguments": json.dumps(arguments)}
    result = {"service": turn.service, "settings": dict(turn.values), "log": list(log)}
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": call_id, "content": json.dumps(result, indent=1)},
    ]


def _log_lines(rng: random.Random, count: int) -> list[str]:
    return [
        rng.choice(_ACTIVITIES).format(
            n=rng.randrange(1, 255), m=rng.randrange(1000, 9999), k=rng.randrange(1, 255)
        )
        for _ in range(count)
    ]


def _question(asked: Sequence[str]) -> str:
    return (
        "Call no tool now. From the results above alone: which value holds now for each of these "
        f"settings: {', '.join(asked)}? Answer with one line each, written "
        "`service.setting = value`."
    )


def _stated(reply: str, item: str) -> str | None:
    pattern = rf"(?<![\w.]){re.escape(item)}[`*\"']*\s*(?:=|:|->|→|\bis\b)\s*[`*\"']*(\d+)\b"
    found = re.findall(pattern, reply, re.IGNORECASE)
    return found[-1] if found else None
