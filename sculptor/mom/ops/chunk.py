"""The delta-rule family by chunks: the training form of `naive_delta_rule`, in plain PyTorch.

Inside a chunk the rule is a triangular system (arXiv 2412.06464); between chunks only the state
moves. With ``G`` the running log-decay in a chunk and ``D_ij = exp(G_i - G_j)`` for ``i >= j``::

    (I + tril(beta K K^T D, -1)) [U | W] = beta [V | exp(G) K]
    Y  = U - W S0
    O  = scale (exp(G) Q S0 + tril(Q K^T D) Y)
    S1 = exp(G_C) S0 + (exp(G_C - G) K)^T Y

Exponents are never positive. Empty segments hand their state on bit for bit; the number of chunks
is bounded by shapes alone, so nothing waits for the device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sculptor.mom.ops.naive import accumulator_dtype
from sculptor.mom.ops.segments import locate_rows

CHANNEL_CHUNK = 16
"""Chunk length for decay per channel, whose pairwise decays are a matrix for each channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkTable:
    """How segments fall into chunks of ``C`` rows; slots past the last chunk are empty.

    ``rows [n, C]`` the row at each place, ``filled [n, C]`` whether there is one, ``first [S]`` a
    segment's first chunk, ``count [S]`` how many it has, ``slot [R]`` and ``place [R]`` the way
    back from a row.
    """

    rows: Tensor
    filled: Tensor
    first: Tensor
    count: Tensor
    slot: Tensor
    place: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunks:
    """What each chunk brings to the pass over the states, ``[n, H, C, ...]``."""

    u: Tensor
    w: Tensor | None
    q_in: Tensor
    k_out: Tensor
    scores: Tensor
    keep: Tensor


def tabulate_chunks(cu_seqlens: Tensor, *, rows: int, chunk: int) -> ChunkTable:
    """Cut the segments into chunks of at most ``chunk`` rows."""
    device = cu_seqlens.device
    segments = cu_seqlens.numel() - 1
    count = (cu_seqlens.diff() + chunk - 1) // chunk
    end = count.cumsum(0)
    first = end - count
    slots = torch.arange(rows // chunk + segments, device=device)
    segment = torch.searchsorted(end, slots, right=True).clamp(max=segments - 1)
    start = cu_seqlens[segment] + (slots - first[segment]) * chunk
    index = start.unsqueeze(1) + torch.arange(chunk, device=device)
    filled = index < cu_seqlens[segment + 1].unsqueeze(1)
    at = locate_rows(cu_seqlens, rows=rows)
    return ChunkTable(
        rows=index.clamp(max=rows - 1),
        filled=filled,
        first=first,
        count=count,
        slot=first[at.segment] + at.place // chunk,
        place=at.place % chunk,
    )


def chunk_delta_rule(
    *,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor,
    cu_seqlens: Tensor,
    initial_state: Tensor,
    scale: float,
    erase: bool,
    max_seqlen: int | None = None,
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """Return what `naive_delta_rule` returns, for the same arguments.

    ``max_seqlen`` bounds the longest segment (default: all rows); it sets the length of the
    serial pass. With ``g`` per channel chunks are at most `CHANNEL_CHUNK` rows long.
    """
    dtype = accumulator_dtype(q)
    rows = q.shape[0]
    longest = min(rows, max_seqlen or rows)
    if rows == 0:
        return v.to(dtype), initial_state.to(dtype)
    chunk = max(1, min(chunk, longest, CHANNEL_CHUNK if g is not None and g.dim() == 3 else chunk))
    table = tabulate_chunks(cu_seqlens, rows=rows, chunk=chunk)
    lay = _Layout(table, dtype)
    chunks = _prepare(lay(q), lay(k), lay(v), None if g is None else lay(g), lay(beta), erase=erase)
    o, final = _pass_states(chunks, table, initial_state.to(dtype), steps=-(-longest // chunk))
    return scale * o[table.slot, :, table.place], final


class _Layout:
    """Lays packed rows out as chunks ``[n, H, C, ...]``, empty places zero."""

    def __init__(self, table: ChunkTable, dtype: torch.dtype) -> None:
        self._table, self._dtype = table, dtype

    def __call__(self, x: Tensor) -> Tensor:
        laid = x.to(self._dtype)[self._table.rows]
        laid = laid * self._table.filled.view(*self._table.filled.shape, *[1] * (x.dim() - 1))
        return laid.transpose(1, 2)


def _prepare(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor | None, beta: Tensor, *, erase: bool
) -> _Chunks:
    total = torch.zeros_like(beta) if g is None else g.cumsum(2)
    channel = total if total.dim() == 4 else total.unsqueeze(-1)
    into, out = channel.exp(), (channel[:, :, -1:] - channel).exp()
    keep = channel[:, :, -1].exp().unsqueeze(-1)
    decayed = _DecayedProduct(total)
    strength = beta.unsqueeze(-1)
    u, w = strength * v, None
    if erase:
        # The solver takes the diagonal for ones and reads nothing above it.
        system = strength * decayed(k, k)
        right = torch.cat([u, strength * into * k], dim=-1)
        solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
        u, w = solved[..., : v.shape[-1]], solved[..., v.shape[-1] :]
    return _Chunks(u=u, w=w, q_in=into * q, k_out=out * k, scores=decayed(q, k), keep=keep)


class _DecayedProduct:
    """``sum_c left_ic right_jc exp(G_ic - G_jc)`` for ``i >= j``, else zero."""

    def __init__(self, total: Tensor) -> None:
        size = total.shape[2]
        later = torch.ones(size, size, dtype=torch.bool, device=total.device).triu(1)
        later = later.unsqueeze(-1) if total.dim() == 4 else later
        gap = total.unsqueeze(3) - total.unsqueeze(2)
        self._decay = gap.masked_fill(later, -torch.inf).exp()

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        if self._decay.dim() == 5:
            return torch.einsum("nhic,nhjc,nhijc->nhij", left, right, self._decay)
        return (left @ right.transpose(-1, -2)) * self._decay


def _pass_states(
    chunks: _Chunks, table: ChunkTable, state: Tensor, *, steps: int
) -> tuple[Tensor, Tensor]:
    """Carry the states through their chunks: return ``o [n, H, C, V]`` and the final states."""
    slots = chunks.u.shape[0]
    outputs = []
    for step in range(steps):
        slot = (table.first + step).clamp(max=slots - 1)
        y = chunks.u[slot]
        if chunks.w is not None:
            y = y - chunks.w[slot] @ state
        outputs.append(chunks.q_in[slot] @ state + chunks.scores[slot] @ y)
        after = chunks.keep[slot] * state + chunks.k_out[slot].transpose(-1, -2) @ y
        live = (step < table.count).view(-1, 1, 1, 1)
        state = torch.where(live, after, state)
    by_step = torch.stack(outputs)
    # A slot past the last chunk belongs to no row, so whatever is read there is never used.
    slot = torch.arange(slots, device=state.device)
    segment = torch.searchsorted(table.first + table.count, slot, right=True)
    segment = segment.clamp(max=table.first.numel() - 1)
    step_of = (slot - table.first[segment]).clamp(0, steps - 1)
    return by_step[step_of, segment], state
