"""What an arm is: a way to answer a sample, with everything it sends on record.

All arms see the same samples. An arm that shortens the conversation itself is given a budget in
tokens for the view its answer is written from; the proxy's arms choose their own view, and the
default budget of the others is what the ``sculptor`` arm's last view held for the same sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sculptor.errors import EvalError
from sculptor.evals.types import Message, Object, Sample

Mode = Literal["off", "auto", "on"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What an arm knows besides the sample: the task's name, its budget, the admission mode."""

    task: str
    budget_tokens: int | None
    admission: Mode


class Chat(Protocol):
    """One sample's line to the model; every call is recorded."""

    async def __call__(
        self, messages: Sequence[Message], *, tools: Sequence[Object] = (), mode: Mode = "off"
    ) -> str:
        """Send one request and return the text answered."""
        ...


class Arm(Protocol):
    """One way to answer a sample."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    @property
    def summary(self) -> str:
        """One line for a list."""
        ...

    @property
    def needs_budget(self) -> bool:
        """Whether the arm shortens the conversation to a budget of its own."""
        ...

    async def solve(self, sample: Sample, chat: Chat, situation: Situation) -> str:
        """Return the reply that is scored."""
        ...


def budget_of(situation: Situation) -> int:
    """Return the budget of an arm that needs one.

    Raises:
        EvalError: there is none.
    """
    if situation.budget_tokens is None:
        raise EvalError("This arm needs a budget in tokens.")
    return situation.budget_tokens
