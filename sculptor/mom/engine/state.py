"""What a conversation carries from token to token: arrays of a size that never changes.

The engine changes a state where it lies. Whoever wants to come back to a moment keeps a `copy`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sculptor.mom.engine.arrays import Array
from sculptor.mom.models.config import MomConfig


@dataclass(slots=True, kw_only=True)
class MixerState:
    """``memories [G, H, K, V]`` and the raw rows that the convolutions still need.

    ``tails``: one array ``[W - 1, d]`` with the convolution before routing, else three, for q, k
    and v, ``[G, W - 1, channels]``; oldest first.
    """

    memories: Array
    tails: tuple[Array, ...]

    def arrays(self) -> Iterator[Array]:
        """Yield every array."""
        yield self.memories
        yield from self.tails

    def copy(self) -> "MixerState":
        """Return a state that shares nothing with this one."""
        return MixerState(memories=self.memories.copy(), tails=tuple(t.copy() for t in self.tails))


@dataclass(slots=True, kw_only=True)
class AttentionState:
    """``keys values [H, W, D]``: the token at position ``p`` lies at place ``p % W``."""

    keys: Array
    values: Array

    def arrays(self) -> Iterator[Array]:
        """Yield every array."""
        yield from (self.keys, self.values)

    def copy(self) -> "AttentionState":
        """Return a state that shares nothing with this one."""
        return AttentionState(keys=self.keys.copy(), values=self.values.copy())


@dataclass(slots=True, kw_only=True)
class CpuState:
    """One conversation: the states of all layers and how many tokens they have read."""

    layers: tuple[MixerState | AttentionState, ...]
    tokens: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; the same after every token."""
        return sum(array.nbytes for layer in self.layers for array in layer.arrays())

    def copy(self) -> "CpuState":
        """Return a state that later tokens cannot touch."""
        return CpuState(layers=tuple(layer.copy() for layer in self.layers), tokens=self.tokens)


def empty_state(config: MomConfig, *, dtype: np.dtype[np.floating]) -> CpuState:
    """Return the state of a conversation in which nothing was said."""
    attends = set(config.attention_layers)
    return CpuState(
        layers=tuple(
            _empty_attention(config, dtype) if i in attends else _empty_mixer(config, dtype)
            for i in range(config.layers)
        )
    )


def _empty_mixer(config: MomConfig, dtype: np.dtype[np.floating]) -> MixerState:
    c = config.mixer
    tail = c.conv_width - 1
    if c.conv == "before":
        shapes: list[tuple[int, ...]] = [(tail, c.d_model)]
    else:
        shapes = [(c.groups, tail, n) for n in (c.key_width, c.key_width, c.value_width)]
    return MixerState(
        memories=np.zeros((c.groups, c.heads, c.key_dim, c.value_dim), dtype),
        tails=tuple(np.zeros(shape, dtype) for shape in shapes),
    )


def _empty_attention(config: MomConfig, dtype: np.dtype[np.floating]) -> AttentionState:
    heads = config.attention_heads
    shape = (heads, config.window, config.d_model // heads)
    return AttentionState(keys=np.zeros(shape, dtype), values=np.zeros(shape, dtype))
