"""The same runtime over torch, for a GPU: one step for many conversations in one CUDA graph.

A step always runs ``rows`` conversations, real or idle, so its matrix products have one shape and
a conversation's tokens do not depend on the company. A state lives in the batch while it is being
written and comes out when the company changes, when it is read from, or when it is copied; as
long as the same conversations go on, nothing is moved.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sculptor.mom.engine.face import Logits
from sculptor.mom.engine.graph import StepGraph
from sculptor.mom.engine.weights import Weights
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.packing import pack_batch
from sculptor.mom.models.state import MomState


def load_torch(
    weights: Weights, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> MomForCausalLM:
    """Return the torch model with the dequantised weights, ready to run."""
    model = MomForCausalLM(weights.config).to(dtype)
    tensors = {name: torch.from_numpy(weights.tensor(name)) for name in weights.names()}
    model.load_state_dict(tensors)
    return model.to(device).eval()


@dataclass(eq=False, slots=True, weakref_slot=True)
class TorchState:
    """One conversation; ``_own`` is None while its state lives in ``_row`` of the batch."""

    _home: "TorchModel"
    _own: MomState | None
    tokens: int = 0
    _row: int = -1

    @property
    def nbytes(self) -> int:
        """Bytes of its state; the same after every token."""
        return self._home.state_bytes

    def copy(self) -> "TorchState":
        """Return a state that later tokens cannot touch."""
        return TorchState(self._home, self._home.take_out(self).snapshot(), self.tokens)


class TorchModel:
    """Runs a torch model on its device; on a GPU the step is a captured graph."""

    def __init__(self, model: MomForCausalLM, *, rows: int = 8, piece: int = 2_048) -> None:
        if rows < 1:
            raise ValueError(f"rows is {rows}; a step needs at least 1.")
        self._model, self.piece = model.eval(), piece
        self._device = model.model.embedding.device
        self._graph = StepGraph(model, sequences=rows) if self._device.type == "cuda" else None
        self._batch = self._graph.state if self._graph else model.new_state(rows)
        self._places: list[weakref.ref[TorchState] | None] = [None] * rows
        self.state_bytes = model.new_state(1).nbytes

    @property
    def vocab_size(self) -> int:
        """How many tokens the model knows."""
        return self._model.config.vocab_size

    def new_state(self) -> TorchState:
        """Return the state of a conversation in which nothing was said."""
        return TorchState(self, self._model.new_state(1))

    @torch.inference_mode()
    def prefill(self, tokens: Sequence[int], state: TorchState) -> Logits:
        """Read ``tokens``, one at least: change ``state``, return the next logits ``[vocab]``."""
        if not tokens:
            raise ValueError("There is no token to read; give at least one.")
        own = self.take_out(state)
        hidden = self._model.model.embedding[:0]
        for begin in range(0, len(tokens), self.piece):
            piece = torch.tensor([list(tokens[begin : begin + self.piece])], device=self._device)
            output = self._model.model(pack_batch(piece), state=own)
            own, hidden = output.state, output.hidden[-1:]
        state._own = own
        state.tokens += len(tokens)
        return _as_numpy(self._model.logits(hidden)[0])

    @torch.inference_mode()
    def step(self, tokens: Sequence[int], states: Sequence[TorchState]) -> Logits:
        """Read one token of each conversation: change ``states``, return logits ``[B, vocab]``."""
        if len(tokens) != len(states) or len({id(state) for state in states}) != len(states):
            raise ValueError(
                f"A step got {len(tokens)} tokens for {len(states)} states; "
                "give one token for each state, and each state once (copy() makes another)."
            )
        rows = len(self._places)
        parts = [
            self._step_together(tokens[i : i + rows], states[i : i + rows])
            for i in range(0, len(states), rows)
        ]
        return np.concatenate(parts)

    def take_out(self, state: TorchState) -> MomState:
        """Return the state's own tensors, out of the batch if it was there."""
        if state._own is None:
            state._own = self._batch.select(torch.tensor([state._row], device=self._device))
            self._places[state._row] = None
        return state._own

    def _step_together(self, tokens: Sequence[int], states: Sequence[TorchState]) -> Logits:
        places = self._settle(states)
        batch = torch.zeros(len(self._places), dtype=torch.int64)
        batch[places] = torch.tensor(list(tokens))
        batch = batch.to(self._device)
        if self._graph:
            logits = self._graph.step(batch)
        else:
            logits = self._model.step(batch, state=self._batch)
        for state in states:
            state.tokens += 1
        return _as_numpy(logits[places])

    def _settle(self, states: Sequence[TorchState]) -> list[int]:
        """Bring exactly ``states`` into the batch and return their rows.

        A step changes every row, so whoever is not in it must not be there.
        """
        coming = {id(state) for state in states}
        for row, place in enumerate(self._places):
            there = place() if place else None
            if there is None:
                self._places[row] = None
            elif id(there) not in coming:
                self.take_out(there)
        free = (row for row, place in enumerate(self._places) if place is None)
        return [
            state._row if state._own is None else self._bring_in(state, next(free))
            for state in states
        ]

    def _bring_in(self, state: TorchState, row: int) -> int:
        assert state._own is not None
        for mine, theirs in zip(self._batch.tensors(), state._own.tensors(), strict=True):
            mine[row] = theirs[0]
        state._own, state._row = None, row
        self._places[row] = weakref.ref(state)
        return row


def _as_numpy(logits: torch.Tensor) -> Logits:
    array: Logits = logits.float().cpu().numpy()
    return array
