# mypy: disallow-untyped-calls=False
"""The decode step as one captured CUDA graph: no launch cost, no Python, no host read.

The graph owns its state; `load` copies a conversation's state into it and `snapshot` copies it
out, so branching and going back work as they do without a graph.
"""

import torch
from torch import Tensor

from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.state import MomState


class StepGraph:
    """Replays one token of each of ``sequences`` sequences; needs a GPU."""

    def __init__(self, model: MomForCausalLM, *, sequences: int = 1) -> None:
        device = model.model.embedding.device
        if device.type != "cuda":
            raise ValueError(f"A CUDA graph needs a GPU; the model is on {device}.")
        self._state = model.new_state(sequences)
        self._tokens = torch.zeros(sequences, dtype=torch.int64, device=device)
        empty = self._state.snapshot()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                model.step(self._tokens, state=self._state)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = model.step(self._tokens, state=self._state)
        self._state.restore(empty)

    @property
    def state(self) -> MomState:
        """The very tensors that the next step reads and changes."""
        return self._state

    def load(self, state: MomState) -> None:
        """Begin from ``state``."""
        self._state.restore(state)

    def snapshot(self) -> MomState:
        """Return a copy of the state as it stands."""
        return self._state.snapshot()

    def step(self, tokens: Tensor) -> Tensor:
        """Take in ``tokens [S]``: return the logits, valid until the next step."""
        self._tokens.copy_(tokens)
        self._graph.replay()
        return self._logits
