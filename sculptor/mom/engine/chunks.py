"""The gated delta rule over the rows of several memories, by chunks, in numpy.

The same equations as `sculptor.mom.ops.chunk` (arXiv 2412.06464)::

    (I + tril(beta K K^T D, -1)) [U | W] = beta [V | exp(G) K]
    Y  = U - W S0
    O  = exp(G) Q S0 + tril(Q K^T D) Y
    S1 = exp(G_C) S0 + (exp(G_C - G) K)^T Y

The unit triangular system is inverted by joining the inverses of its diagonal blocks, 1 to 2 to 4
and so on, which is as stable as substitution and made of matrix products. All chunks of all
memories are prepared at once; only the pass over the states is serial.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sculptor.mom.engine.arrays import Array, Ints

CHUNK = 32
"""Rows of a chunk, a power of two. Any length gives the same function; this one was fastest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRows:
    """What ``R`` rows, memory after memory, bring to the rule.

    ``q k [R, H, K]``, ``v [R, H, V]``, log-decay ``g [R, H]`` and write strength ``beta [R, H]``;
    ``q`` is scaled already.
    """

    q: Array
    k: Array
    v: Array
    g: Array
    beta: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """``rows [n, C]`` the row at each place, ``R`` where there is none; ``first count [G]``."""

    rows: Ints
    first: list[int]
    count: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """``u [n, H, C, V]``; ``read [n, H, 2C, K]``, ``w`` over ``exp(G) q``; ``k_out [n, H, K, C]``;
    ``scores [n, H, C, C]``; ``keep [n, H, 1, 1]``."""

    u: Array
    read: Array
    k_out: Array
    scores: Array
    keep: Array


def chunk_delta_rule(rows: RuleRows, *, counts: Sequence[int], states: Array) -> Array:
    """Run the rule: change ``states [G, H, K, V]`` in place and return ``o [R, H, V]``.

    ``counts [G]`` says how many of the rows belong to each memory. One without rows keeps its
    state bit for bit.
    """
    table = _tabulate(counts)
    prepared = _prepare(rows, table)
    laid = _pass_states(prepared, table, states)
    total = sum(counts)
    heads, width = rows.v.shape[1:]
    o = np.empty((total + 1, heads, width), rows.v.dtype)
    o[table.rows] = laid.transpose(0, 2, 1, 3)
    return o[:total]


def _tabulate(counts: Sequence[int]) -> _Table:
    total = sum(counts)
    tables, begin = [], 0
    first: list[int] = []
    count: list[int] = []
    for size in counts:
        chunks = -(-size // CHUNK)
        index = np.arange(chunks * CHUNK, dtype=np.int64)
        tables.append(np.where(index < size, begin + index, total).reshape(chunks, CHUNK))
        first.append(sum(count))
        count.append(chunks)
        begin += size
    return _Table(rows=np.concatenate(tables), first=first, count=count)


def _lay(x: Array, table: _Table) -> Array:
    """Return ``x [R, H, ...]`` as chunks ``[n, H, C, ...]``, empty places zero."""
    padded = np.concatenate([x, np.zeros((1, *x.shape[1:]), x.dtype)])
    return np.ascontiguousarray(padded[table.rows].swapaxes(1, 2))


def _prepare(rows: RuleRows, table: _Table) -> _Prepared:
    q, k, v, g, beta = (_lay(x, table) for x in (rows.q, rows.k, rows.v, rows.g, rows.beta))
    total = np.cumsum(g, axis=2)
    strength, into = beta[..., None], np.exp(total)[..., None]
    decay = np.tril(np.exp(np.minimum(total[..., None] - total[..., None, :], 0)))
    k_turned = k.swapaxes(2, 3)
    system = np.matmul(k, k_turned)
    system *= decay
    system *= strength
    inverse = invert_unit_lower(system)
    width = v.shape[-1]
    solved = np.matmul(inverse, np.concatenate([strength * v, strength * into * k], axis=-1))
    scores = np.matmul(q, k_turned)
    scores *= decay
    last = total[:, :, -1:]
    return _Prepared(
        u=solved[..., :width],
        read=np.concatenate([solved[..., width:], into * q], axis=2),
        k_out=(np.exp(last - total)[..., None] * k).swapaxes(2, 3),
        scores=scores,
        keep=np.exp(last)[..., None],
    )


def _pass_states(prepared: _Prepared, table: _Table, states: Array) -> Array:
    """Carry the states through their chunks, in place; return ``o [n, H, C, V]``."""
    o = np.empty(prepared.u.shape, prepared.u.dtype)
    for step in range(max(table.count)):
        live = [i for i, count in enumerate(table.count) if step < count]
        slot = [table.first[i] + step for i in live]
        state = states[live]
        seen = np.matmul(prepared.read[slot], state)
        y = prepared.u[slot] - seen[:, :, :CHUNK]
        answers = np.matmul(prepared.scores[slot], y)
        answers += seen[:, :, CHUNK:]
        o[slot] = answers
        state *= prepared.keep[slot]
        state += np.matmul(prepared.k_out[slot], y)
        states[live] = state
    return o


def invert_unit_lower(lower: Array) -> Array:
    """Return the inverses of ``I + tril(lower, -1)`` for ``lower [..., C, C]``, C a power of two.

    What stands on and above the diagonal is not read.
    """
    size = lower.shape[-1]
    inverse = np.zeros_like(lower)
    inverse[..., np.arange(size), np.arange(size)] = 1
    half = 1
    while half < size:
        blocks = _diagonal_blocks(lower, width=2 * half)[..., half:, :half]
        done = _diagonal_blocks(inverse, width=2 * half)
        if half == 1:
            done[..., half:, :half] = -blocks
        else:
            left = np.matmul(done[..., half:, half:], blocks)
            done[..., half:, :half] = -np.matmul(left, done[..., :half, :half])
        half *= 2
    return inverse


def _diagonal_blocks(x: NDArray[np.floating], *, width: int) -> Array:
    """Return a view ``[..., C / width, width, width]`` of the diagonal blocks."""
    size = x.shape[-1]
    split = x.reshape(*x.shape[:-2], size // width, width, size // width, width)
    view: Array = np.einsum("...jajb->...jab", split)
    return view
