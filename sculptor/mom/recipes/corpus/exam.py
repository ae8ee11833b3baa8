"""Closed-loop exams: a model plays a scene in the policy's place, through the product's context.

Nothing of the policy is seen but what it tells at the end of each turn. A turn is right where the
visible answer is the wanted one, blank lines aside, or where the client's tools are called with the
wanted arguments. The turns that follow go on from the wanted answer, so that one mistake counts
once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from sculptor.mom.recipes.corpus.rollout import wire_call
from sculptor.mom.recipes.corpus.scene import Form, Scene, Turn, Wire
from sculptor.sdk.context import Context

MAX_STEPS = 20
NOT_EXAMINED = frozenset({"requests"})
"""Families whose answers report the receipts of what was done, whatever way it was done."""


class Writer(Protocol):
    """A model: from what it is sent to the assistant message it writes."""

    def __call__(self, messages: Sequence[Wire], *, tools: Sequence[Wire]) -> Mapping[str, Any]:
        """Write one assistant message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamTurn:
    """How one turn went: what was wanted and told, calls of the context tools, refused ones."""

    wanted: str
    told: str
    calls: int
    refused: int

    @property
    def is_right(self) -> bool:
        """Whether what was told is what was wanted."""
        return self.told == self.wanted


def examine(scene: Scene, writer: Writer, *, form: Form, seed: int) -> list[ExamTurn]:
    """Let a model play a scene and return how each turn went.

    Raises:
        ValueError: the scene's answers depend on what is done.
    """
    if scene.family in NOT_EXAMINED:
        raise ValueError(f"A scene of {scene.family} has no answer that is known beforehand.")
    context = Context(seed=seed.to_bytes(8, "big"), clock=lambda: 0.0)
    tools = [*scene.tools, *(context.tools() if form == "tools" else ())]
    done: list[ExamTurn] = []
    called: list[str] = []
    for number, turn in enumerate(scene.turns):
        context.extend(dict(message) for message in turn.said)
        for name, result in zip(called, turn.results, strict=True):
            context.append({"role": "tool", "tool_call_id": name, "content": result})
        wanted = _wanted(turn, number)
        done.append(_taken(context, writer, tools, wanted))
        context.append(wanted)
        called = [call["id"] for call in wanted.get("tool_calls", ())]
    return done


def _wanted(turn: Turn, number: int) -> dict[str, Any]:
    """Return the answer that ends a turn: what the direct form says at once."""
    move = next(turn.direct())
    message: dict[str, Any] = {"role": "assistant", "content": move.text or None}
    if move.calls:
        calls = enumerate(move.calls)
        message["tool_calls"] = [wire_call(f"call_{number}_{at}", call) for at, call in calls]
    return message


def _taken(
    context: Context, writer: Writer, tools: Sequence[Wire], wanted: Mapping[str, Any]
) -> ExamTurn:
    """Let the model work until it calls none of our tools, or may work no more."""
    texts: list[str] = []
    calls = refused = 0
    for _ in range(MAX_STEPS + 1):
        message = dict(writer(context.messages(ledger=True), tools=tools))
        texts.append(message.get("content") or "")
        own = [call for call in message.get("tool_calls") or () if context.is_internal(call)]
        if not own:
            return ExamTurn(
                wanted=_told([wanted.get("content") or ""], wanted),
                told=_told(texts, message),
                calls=calls,
                refused=refused,
            )
        results = [context.apply(call) for call in own]
        refused += sum("error" in orjson.loads(result["content"]) for result in results)
        context.extend([message | {"tool_calls": own}, *results])
        calls += len(own)
    told = "\n".join(filter(None, texts))
    return ExamTurn(
        wanted=_told([wanted.get("content") or ""], wanted), told=told, calls=calls, refused=refused
    )


def _told(texts: Sequence[str], message: Mapping[str, Any]) -> str:
    """Return an answer for comparison: its lines, then the client's calls it makes."""
    lines = [line for text in texts for line in text.split("\n") if line]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        lines.append(f"{function['name']} {_sorted(function['arguments'])}")
    return "\n".join(lines)


def _sorted(arguments: str) -> str:
    """Return a call's arguments with their names in order; as they are where they are no JSON."""
    try:
        return orjson.dumps(orjson.loads(arguments), option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONDecodeError:
        return arguments
