"""What a runtime of the model offers, whichever it is, and what constrains what it writes.

`sculptor.mom.engine.cpu.CpuModel` is the one that ships, `torch_model.TorchModel` the one for a
GPU; the batch runner and the server know only these protocols.
"""

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating]


class State(Protocol):
    """One conversation as a runtime carries it; changed in place by the runtime."""

    @property
    def tokens(self) -> int:
        """How many tokens were read."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes it holds; the same after every token."""
        ...

    def copy(self) -> Self:
        """Return a state that later tokens cannot touch."""
        ...


S = TypeVar("S", bound=State)


class Runtime(Protocol[S]):
    """Reads prompts and writes tokens; one serves any number of conversations."""

    @property
    def vocab_size(self) -> int:
        """How many tokens the model knows."""
        ...

    @property
    def piece(self) -> int:
        """How many tokens of a prompt are read at once."""
        ...

    def new_state(self) -> S:
        """Return the state of a conversation in which nothing was said."""
        ...

    def prefill(self, tokens: Sequence[int], state: S) -> Logits:
        """Read ``tokens``, one at least: change ``state``, return the next logits ``[vocab]``."""
        ...

    def step(self, tokens: Sequence[int], states: Sequence[S]) -> Logits:
        """Read one token of each conversation: change ``states``, return logits ``[B, vocab]``."""
        ...


class Mask(Protocol):
    """What may be written next; a grammar's state."""

    def allowed(self) -> NDArray[np.bool_]:
        """Return which tokens may come next ``[vocab]``; one at least."""
        ...

    def advance(self, token: int) -> "Mask":
        """Return what may follow ``token``."""
        ...
