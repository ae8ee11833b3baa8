"""One conversation over a model whose state never grows.

Whatever was said, a conversation is a state and the logits after its last token. A `Snapshot` of
the two is taken at a turn boundary in one copy, and going back to it is exact: a failed tool call
leaves no trace.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.packing import pack_batch
from sculptor.mom.models.state import MomState

Sampler = Callable[[Tensor], int]
"""From the logits ``[vocab]`` of the next token to the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A conversation as it stood: its state, its next logits, how many tokens it had read."""

    state: MomState
    logits: Tensor | None
    tokens: int


class Engine:
    """Runs conversations over one model; the model is shared, the states are not."""

    def __init__(self, model: MomForCausalLM) -> None:
        self._model = model.eval()

    def start(self) -> "Conversation":
        """Begin an empty conversation."""
        return Conversation(
            self._model, Snapshot(state=self._model.new_state(1), logits=None, tokens=0)
        )


class Conversation:
    """Reads tokens, writes tokens, and can be taken back to any snapshot of itself."""

    def __init__(self, model: MomForCausalLM, begin: Snapshot) -> None:
        self._model, self._now, self._kept = model, begin, True

    @property
    def tokens(self) -> int:
        """How many tokens have been read."""
        return self._now.tokens

    @property
    def state_bytes(self) -> int:
        """Bytes of the state; the same after every token."""
        return self._now.state.nbytes

    @torch.inference_mode()
    def feed(self, tokens: Sequence[int]) -> None:
        """Read ``tokens``; none at all is allowed and changes nothing."""
        if not tokens:
            return
        device = self._model.model.embedding.device
        packed = pack_batch(torch.tensor([list(tokens)], device=device))
        output = self._model.model(packed, state=self._now.state)
        self._now = Snapshot(
            state=output.state,
            logits=self._model.logits(output.hidden[-1]),
            tokens=self._now.tokens + len(tokens),
        )
        self._kept = False

    def generate(
        self, *, limit: int, stop: Collection[int] = (), sampler: Sampler | None = None
    ) -> Iterator[int]:
        """Yield up to ``limit`` tokens, reading each back; ends after one in ``stop``.

        The likeliest token is taken unless a ``sampler`` chooses.
        """
        for _ in range(limit):
            if self._now.logits is None:
                raise ValueError("Nothing was read yet; feed() at least one token first.")
            token = (sampler or greedy)(self._now.logits)
            self._step(token)
            yield token
            if token in stop:
                return

    @torch.inference_mode()
    def _step(self, token: int) -> None:
        """Read one token in place, on a copy where a snapshot may hold the state."""
        if self._kept:
            self._now, self._kept = replace(self._now, state=self._now.state.snapshot()), False
        device = self._model.model.embedding.device
        logits = self._model.step(torch.tensor([token], device=device), state=self._now.state)
        self._now = replace(self._now, logits=logits[0], tokens=self._now.tokens + 1)

    def snapshot(self) -> Snapshot:
        """Return this moment; the state is copied only when the next token is written."""
        self._kept = True
        return self._now

    def restore(self, snapshot: Snapshot) -> None:
        """Go back, or over, to a snapshot of this model."""
        self._now, self._kept = snapshot, True

    def branch(self) -> "Conversation":
        """Return a second conversation that begins where this one stands."""
        return Conversation(self._model, self.snapshot())


def greedy(logits: Tensor) -> int:
    """Return the likeliest token."""
    return int(logits.argmax())


def temperature_sampler(temperature: float, *, seed: int) -> Sampler:
    """Return a sampler that draws from ``softmax(logits / temperature)``, repeatable by seed."""
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; give more than 0, or sample greedily.")
    generator = torch.Generator().manual_seed(seed)

    def draw(logits: Tensor) -> int:
        weights = (logits.float().cpu() / temperature).softmax(-1)
        return int(torch.multinomial(weights, 1, generator=generator))

    return draw
