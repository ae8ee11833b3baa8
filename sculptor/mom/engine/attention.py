"""Attention over a window of tokens, in numpy, for hybrid models.

Keys (turned to their position) and values lie in a ring: position ``p`` at place ``p % window``.
Attention does not care for the order of what it sees, so a step writes one place and moves
nothing.
"""

from collections.abc import Sequence

import numpy as np

from sculptor.mom.engine.arrays import Array, Ints, softmax
from sculptor.mom.engine.linear import Loader
from sculptor.mom.engine.state import AttentionState
from sculptor.mom.engine.workers import Workers


class CpuAttention:
    """One attention layer's weights, laid out for numpy."""

    def __init__(self, load: Loader, *, heads: int, window: int, rope_base: float) -> None:
        self._heads, self._window, self._rope_base = heads, window, rope_base
        self._qkv, self._out = load.linear("qkv"), load.linear("out")

    def read(self, x: Array, state: AttentionState, *, seen: int, workers: Workers) -> Array:
        """Attend over ``x [T, d]``, the tokens after the ``seen`` ones: return ``y [T, d]``."""
        position = seen + np.arange(len(x))
        q, k, v = (
            part.swapaxes(0, 1)
            for part in self._split(self._qkv.rows(x, workers=workers), position)
        )
        past = np.arange(max(0, seen - self._window), seen)
        place = past % self._window
        keys = np.concatenate([state.keys[:, place], k], axis=1)
        values = np.concatenate([state.values[:, place], v], axis=1)
        gap = position[:, None] - np.concatenate([past, position])
        scores = np.matmul(q, keys.swapaxes(1, 2))
        scores[:, (gap < 0) | (gap >= self._window)] = -np.inf
        o = np.matmul(softmax(scores), values)
        last = position[-self._window :]
        state.keys[:, last % self._window] = k[:, -self._window :]
        state.values[:, last % self._window] = v[:, -self._window :]
        return self._out.rows(o.swapaxes(0, 1).reshape(x.shape), workers=workers)

    def step(self, x: Array, states: Sequence[AttentionState], *, seen: Ints) -> Array:
        """Attend with one token of each conversation ``x [B, d]``, after ``seen [B]`` tokens."""
        q, k, v = self._split(self._qkv.each(x), seen)
        o = np.empty_like(q)
        for b, state in enumerate(states):
            place, filled = seen[b] % self._window, min(seen[b] + 1, self._window)
            state.keys[:, place], state.values[:, place] = k[b], v[b]
            scores = np.matmul(state.keys[:, :filled], q[b, :, :, None])
            o[b] = np.matmul(softmax(scores[:, None, :, 0]), state.values[:, :filled])[:, 0]
        return self._out.each(o.reshape(x.shape))

    def _split(self, projected: Array, position: Ints) -> tuple[Array, Array, Array]:
        """Return q (scaled), k and v ``[N, H, D]``, q and k turned to their position."""
        parts = projected.reshape(len(projected), 3, self._heads, -1)
        q, k, v = parts[:, 0], parts[:, 1], parts[:, 2]
        if self._rope_base:
            q, k = (_turn(item, position=position, base=self._rope_base) for item in (q, k))
        return q * q.dtype.type(q.shape[-1] ** -0.5), k, v


def _turn(x: Array, *, position: Ints, base: float) -> Array:
    """Turn ``x [N, H, D]`` to its position (rotary embedding, arXiv 2104.09864), angles in fp64."""
    half = x.shape[-1] // 2
    angle = position[:, None, None] * base ** -(np.arange(half) / half)
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    left, right = x[..., :half], x[..., half:]
    return np.concatenate([left * cos - right * sin, left * sin + right * cos], axis=-1)
