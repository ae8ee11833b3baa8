"""The nouns of evaluation: task, sample, score.

A sample is made in two public steps. A *draw* is plain JSON and holds every choice chance made; a
*prompt* is a pure function of the draw and of the data files the draw names. So anybody can hand
in a draw made elsewhere, and the same draw gives the same bytes on every machine. A task makes its
own draws from ``(seed, index)`` alone, in any order.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sculptor.errors import EvalError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Object: TypeAlias = Mapping[str, Json]
Message: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a scorer says of one reply.

    ``value`` is on the benchmark's own scale (PI-LLM 0 to 1, NeedleBench 0 to 100, the others 0
    to 1). It is ``None`` only where the original leaves a reply out of its means.
    """

    value: float | None
    detail: Object = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One case, ready to be sent.

    ``params`` is what metrics group by and scorers may need; ``tools`` are definitions that belong
    to a conversation in which tools were used.
    """

    id: str
    draw: Object
    messages: Sequence[Message]
    reference: Json
    params: Object
    tools: Sequence[Object] = ()


class Task(Protocol):
    """A benchmark with its settings fixed; ``len`` is the number of samples of one full run."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    @property
    def summary(self) -> str:
        """One line for a list."""
        ...

    @property
    def scorers(self) -> Sequence[str]:
        """The scorers that apply, the default first."""
        ...

    def __len__(self) -> int: ...

    def draw(self, index: int, *, seed: int = 0) -> Object:
        """Return the draw of one sample, from ``(seed, index)`` alone."""
        ...

    def sample(self, draw: Object) -> Sample:
        """Return the case that belongs to a draw, whoever made it."""
        ...

    def score(
        self,
        reply: str,
        reference: Json,
        *,
        scorer: str | None = None,
        params: Object | None = None,
    ) -> Score:
        """Score one reply against a reference in any form the original program writes."""
        ...

    def metrics(self, rows: Sequence[tuple[Object, float | None]]) -> Mapping[str, float]:
        """Return the benchmark's own figures for ``(params, score)`` rows."""
        ...


def user_message(text: str) -> Message:
    """Return one user turn."""
    return {"role": "user", "content": text}


def derive_seed(*parts: int | str) -> int:
    """Return 32 bits that depend on all parts and on nothing else."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def check_scorer(scorer: str | None, known: Sequence[str]) -> str:
    """Return the scorer to use, the first known one by default."""
    if scorer is None:
        return known[0]
    if scorer not in known:
        raise EvalError(f"No scorer {scorer!r} here; choose one of: {', '.join(known)}.")
    return scorer
