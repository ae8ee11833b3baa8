"""A scene: what a client says, turn by turn, and what an ideal policy does in each.

A policy is a script: a generator that yields moves and is sent the answers of its calls. It is
written from the draw (which key, which fact) and knows what holds; of the answers it takes IDs and
nothing else. A move without calls of the context tools ends the turn.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Wire = Mapping[str, Any]
"""A message or tool definition as JSON."""

Form = Literal["direct", "tools"]
"""Answered from the view as it stands, or with the context tools at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call of a policy."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What the policy says in one step: text, calls, or both.

    A ``planted`` move is a mistake for the policy to recover from; it is never trained on. One with
    ``only_over`` is passed over where the view has no more bytes than that.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    planted: bool = False
    only_over: int = 0


Answers = Sequence[Mapping[str, Any]]
Script = Callable[[], Generator[Move, Answers, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Messages of the client (or ``results`` of its own tools called just before), then the policy.

    ``direct`` answers without the context tools, ``tools`` with them.
    """

    said: tuple[Wire, ...] = ()
    results: tuple[str, ...] = ()
    direct: Script
    tools: Script


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A conversation to be played; ``tools`` are the client's own.

    ``foldable`` says that it can still be answered after old text was folded to fit a window.
    """

    family: str
    turns: tuple[Turn, ...]
    tools: tuple[Wire, ...] = ()
    foldable: bool = True


def user(text: str) -> Wire:
    """Return a user's message."""
    return {"role": "user", "content": text}


def system(text: str) -> Wire:
    """Return a system message."""
    return {"role": "system", "content": text}


def say(text: str) -> Script:
    """Return the script that answers at once."""

    def script() -> Generator[Move, Answers, None]:
        """Answer."""
        yield Move(text=text)

    return script


def one_answer(
    family: str,
    said: Sequence[Wire],
    *,
    direct: str,
    tools: Script | None = None,
    foldable: bool = True,
) -> Scene:
    """Return a scene of one turn."""
    turn = Turn(said=tuple(said), direct=say(direct), tools=tools or say(direct))
    return Scene(family=family, turns=(turn,), foldable=foldable)
