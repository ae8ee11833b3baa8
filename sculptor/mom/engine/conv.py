"""The short causal convolution in numpy: depthwise, no bias, its tail moved on in place.

Tails hold the raw rows that came before, oldest first; ``taps [W, C]`` end with the one that
meets the row itself.
"""

from collections.abc import Sequence

import numpy as np

from sculptor.mom.engine.arrays import Array, Ints
from sculptor.mom.engine.chunks import RowPlan


def convolve(x: Array, *, taps: Array, tail: Array) -> Array:
    """Return ``x [T, C]`` convolved behind ``tail [W - 1, C]``."""
    history = np.concatenate([tail, x])
    out: Array = history[: len(x)] * taps[0]
    for shift in range(1, len(taps)):
        out += history[shift : shift + len(x)] * taps[shift]
    tail[...] = history[len(x) :]
    return out


def convolve_by_memory(rows: Array, *, taps: Array, tails: Array, plan: RowPlan) -> None:
    """Convolve ``rows [R, C]`` in place, each memory's own behind ``tails [G, W - 1, C]``."""
    for m, tail in enumerate(tails):
        rows[plan.own(m)] = convolve(rows[plan.own(m)], taps=taps, tail=tail)


def push_rows(tails: Sequence[Array], rows: Array, *, taps: Array) -> Array:
    """Return ``rows [B, C]``, each convolved behind its own tail."""
    out: Array = rows * taps[-1]
    for b, tail in enumerate(tails):
        for place, row in enumerate(tail):
            out[b] += row * taps[place]
        tail[:-1] = tail[1:]
        tail[-1] = rows[b]
    return out


def push_picked(tails: Sequence[Array], rows: Array, *, memory: Ints, taps: Array) -> Array:
    """`push_rows` for the picked memories' tails: ``rows [B, S, C]``, ``memory [B, S]``."""
    own = [tails[b][m] for b, picked in enumerate(memory.tolist()) for m in picked]
    return push_rows(own, rows.reshape(-1, rows.shape[-1]), taps=taps).reshape(rows.shape)
