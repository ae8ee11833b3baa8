"""The gated delta rule over the rows of several memories, by chunks, in numpy.

The same equations as `sculptor.mom.ops.chunk` (arXiv 2412.06464)::

    (I + tril(beta K K^T D, -1)) [U | W] = beta [V | exp(G) K]
    Y  = U - W S0
    O  = exp(G) Q S0 + tril(Q K^T D) Y
    S1 = exp(G_C) S0 + (exp(G_C - G) K)^T Y

The unit triangular system is inverted by joining the inverses of its diagonal blocks, 1 to 2 to 4
and so on, which is as stable as substitution and made of matrix products. A memory's rows fill
whole chunks: `plan_rows` pads them, and a padding row, whose ``g`` and ``beta`` are zero, leaves
no trace. So chunks are views of the rows, and nothing is moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from sculptor.mom.engine.arrays import Array, Ints
from sculptor.mom.engine.workers import Workers

CHUNK = 32
"""Rows of a chunk, a power of two. Any length gives the same function; this one was fastest."""

_LATER = np.triu(np.full((CHUNK, CHUNK), -np.inf, np.float32), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """Where rows lie: memory after memory, each padded to whole chunks; ``R`` rows in all.

    ``token [R]`` whose row it is (padding: the first token), ``real [R]`` one or zero for padding;
    ``first`` and ``count`` of each memory's real rows.
    """

    token: Ints
    real: Array
    first: list[int]
    count: list[int]

    def block(self, memory: int) -> slice:
        """Return all rows of a memory, padding included."""
        begin = self.first[memory]
        return slice(begin, begin + -(-self.count[memory] // CHUNK) * CHUNK)

    def own(self, memory: int) -> slice:
        """Return the real rows of a memory."""
        return slice(self.first[memory], self.first[memory] + self.count[memory])


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRows:
    """What each row brings to the rule.

    ``q k [R, H, K]``, ``v [R, H, V]``, log-decay ``g [R, H]`` and write strength ``beta [R, H]``;
    ``q`` is scaled already.
    """

    q: Array
    k: Array
    v: Array
    g: Array
    beta: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunks:
    """``u [n, H, C, V]``; ``read [n, H, 2C, K]``, W over exp(G) Q; ``out [n, H, K, C]``;
    ``scores [n, H, C, C]``; ``keep [n, H, 1, 1]``."""

    u: Array
    read: Array
    out: Array
    scores: Array
    keep: Array


def plan_rows(visits: Sequence[Ints], *, dtype: np.dtype[np.floating]) -> RowPlan:
    """Lay out the rows of the tokens that come to each memory."""
    tokens, real, first, begin = [], [], [], 0
    for own in visits:
        spare = -len(own) % CHUNK
        tokens += [own, np.zeros(spare, np.int64)]
        real += [np.ones(len(own), dtype), np.zeros(spare, dtype)]
        first.append(begin)
        begin += len(own) + spare
    return RowPlan(
        token=np.concatenate(tokens),
        real=np.concatenate(real),
        first=first,
        count=[len(own) for own in visits],
    )


def chunk_delta_rule(rows: RuleRows, *, plan: RowPlan, states: Array, workers: Workers) -> Array:
    """Run the rule: change ``states [G, H, K, V]`` in place and return ``o [R, H, V]``.

    A memory without rows keeps its state bit for bit; what padding rows return means nothing.
    """
    o = np.empty((len(rows.v) // CHUNK, CHUNK, *rows.v.shape[1:]), rows.v.dtype)

    def pass_memory(memory: int) -> None:
        block = plan.block(memory)
        chunks = _prepare(rows, block)
        _pass_state(chunks, states[memory], o=o[block.start // CHUNK : block.stop // CHUNK])

    largest_first = sorted(range(len(states)), key=lambda memory: -plan.count[memory])
    workers.run([partial(pass_memory, m) for m in largest_first if plan.count[m]])
    return o.reshape(rows.v.shape)


def _pass_state(chunks: _Chunks, state: Array, *, o: Array) -> None:
    """Carry a memory ``state [H, K, V]`` through its chunks; fill ``o [n, C, H, V]``."""
    for i, answers in enumerate(o.swapaxes(1, 2)):
        seen = np.matmul(chunks.read[i], state)
        y = np.subtract(chunks.u[i], seen[:, :CHUNK])
        np.add(np.matmul(chunks.scores[i], y), seen[:, CHUNK:], out=answers)
        state *= chunks.keep[i]
        state += np.matmul(chunks.out[i], y)


def _prepare(rows: RuleRows, block: slice) -> _Chunks:
    q, k, v, g, beta = (
        x[block].reshape(-1, CHUNK, *x.shape[1:]).swapaxes(1, 2)
        for x in (rows.q, rows.k, rows.v, rows.g, rows.beta)
    )
    keys, values = k.shape[-1], v.shape[-1]
    total = np.cumsum(g, axis=2)
    into, last = np.exp(total)[..., None], total[:, :, -1:]
    decay = total[..., None] - total[..., None, :]
    decay += _LATER
    np.exp(decay, out=decay)
    right = np.empty((*beta.shape, values + keys), v.dtype)
    np.multiply(v, beta[..., None], out=right[..., :values])
    strong = k * beta[..., None]
    np.multiply(strong, into, out=right[..., values:])
    k_turned = k.swapaxes(2, 3)
    system = np.matmul(strong, k_turned)
    system *= decay
    solved = np.matmul(invert_unit_lower(system), right)
    scores = np.matmul(q, k_turned)
    scores *= decay
    read = np.empty((*beta.shape[:2], 2 * CHUNK, keys), k.dtype)
    read[:, :, :CHUNK] = solved[..., values:]
    np.multiply(q, into, out=read[:, :, CHUNK:])
    out = np.exp(last - total)[..., None] * k
    return _Chunks(
        u=solved[..., :values],
        read=read,
        out=out.swapaxes(2, 3),
        scores=scores,
        keep=np.exp(last)[..., None],
    )


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


def _diagonal_blocks(x: Array, *, width: int) -> Array:
    """Return a view ``[..., C / width, width, width]`` of the diagonal blocks."""
    size = x.shape[-1]
    split = x.reshape(*x.shape[:-2], size // width, width, size // width, width)
    view: Array = np.einsum("...jajb->...jab", split)
    return view
