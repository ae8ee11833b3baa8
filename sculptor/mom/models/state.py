"""What a model carries from token to token: one record, of a size that never changes.

A turn boundary is a `snapshot`; a retry is a `restore`; two continuations of one conversation are
a `select` with the same sequence named twice.
"""

from dataclasses import dataclass

import torch

from sculptor.mom.layers.attention import AttentionState
from sculptor.mom.layers.mixer import MixerState
from sculptor.mom.layers.tensors import TensorRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class MomState(TensorRecord):
    """The states of all layers, first to last."""

    layers: tuple[MixerState | AttentionState, ...]

    @property
    def sequences(self) -> int:
        """How many sequences this state belongs to."""
        return int(next(self.tensors()).shape[0])

    def with_spare(self) -> "MomState":
        """Return the state with one more, empty, sequence at the end."""
        return self.map(lambda x: torch.cat([x, torch.zeros_like(x[:1])]))

    def without_spare(self) -> "MomState":
        """Return the state without its last sequence."""
        return self.map(lambda x: x[:-1])

    def branch(self, copies: int) -> "MomState":
        """Return every sequence ``copies`` times, side by side, each free to go its own way."""
        return self.map(lambda x: x.detach().repeat_interleave(copies, dim=0))
