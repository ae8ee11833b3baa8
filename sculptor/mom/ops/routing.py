"""Which memories a token goes to, and where its rows then lie.

Rows are ordered memory first, then time: the packed tokens keep their order inside each memory,
so every (memory, sequence) bucket is one segment and every memory one contiguous group. Each token
is routed exactly ``k`` times, so nothing is dropped and the row count ``N * slots`` is known
without looking; the order comes from a scan of the routing mask, with no sort and no host read.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.ops.naive import accumulator_dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The router's choice for ``N`` tokens.

    ``probabilities [N, M]`` in at least fp32; ``index [N, k]`` the picked memories, best first;
    ``weights [N, k]`` their probabilities renormalised to one, differentiable. ``reads [N, M]`` are
    the weights of all memories where a token reads others than it picked to write.
    """

    probabilities: Tensor
    index: Tensor
    weights: Tensor
    reads: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """Where the rows of a routed batch lie; ``R = N * slots``.

    ``row [N, slots]`` the row of a token's slot; ``token [R]`` and ``memory [R]`` its inverse;
    ``offsets [G + 1]`` the group of each memory; ``cu_rows [G * S + 1]`` the buckets,
    memory-major.
    """

    row: Tensor
    token: Tensor
    memory: Tensor
    offsets: Tensor
    cu_rows: Tensor


def route(x: Tensor, *, weight: Tensor, top_k: int) -> Route:
    """Pick ``top_k`` of the ``M`` memories for each token of ``x [N, d]``; ``weight [M, d]``.

    Gradients reach ``weight`` through the mixing weights and the probabilities only
    (arXiv 2502.13685, equations 3 and 4).
    """
    dtype = accumulator_dtype(x)
    logits = functional.linear(x.to(dtype), weight.to(dtype))
    probabilities = logits.softmax(-1)
    best, index = probabilities.topk(top_k, dim=-1)
    weights = best / best.sum(-1, keepdim=True) if top_k else best
    return Route(probabilities=probabilities, index=index, weights=weights)


def route_by_key(key: Tensor, query: Tensor, *, weight: Tensor, top_k: int) -> Route:
    """Pick ``top_k`` memories to write by ``key [N, C]``, and as many to read by ``query [N, C]``.

    The same ``weight [M, C]`` judges both: whoever asks with a key is sent where it was written.
    Gradients reach it through the weights of what is read.
    """
    written = route(key, weight=weight, top_k=top_k)
    asked = route(query, weight=weight, top_k=top_k)
    reads = torch.zeros_like(asked.probabilities).scatter(1, asked.index, asked.weights)
    return replace(written, reads=reads)


def plan_rows(index: Tensor, *, cu_seqlens: Tensor, memories: int, shared: bool) -> RowPlan:
    """Lay out the rows for ``index [N, k]``; a shared memory takes every token as the last group.

    The slots of a token are its picks in order, then the shared memory.
    """
    tokens, top_k = index.shape
    mask = torch.zeros(tokens, memories, dtype=torch.int64, device=index.device)
    mask = mask.scatter(1, index, 1)
    inclusive = functional.pad(mask.cumsum(0), (0, 0, 1, 0))
    counts = inclusive[-1]
    groups = functional.pad(counts.cumsum(0), (1, 0))
    ranks = inclusive[:-1].gather(1, index)
    row = groups[index] + ranks
    buckets = (groups[:-1] + inclusive[cu_seqlens[:-1]]).t()
    if shared:
        own = tokens * top_k + torch.arange(tokens, device=index.device)
        row = torch.cat([row, own.unsqueeze(1)], dim=1)
        buckets = torch.cat([buckets, (tokens * top_k + cu_seqlens[:-1]).unsqueeze(0)])
        groups = functional.pad(groups, (0, 1), value=tokens * (top_k + 1))
    return _with_inverse(row, index=index, groups=groups, buckets=buckets, shared=shared)


def count_load(index: Tensor, *, memories: int) -> Tensor:
    """Return how many tokens each memory was picked for ``[M]``."""
    mask = torch.zeros(index.shape[0], memories, dtype=torch.int64, device=index.device)
    return mask.scatter(1, index, 1).sum(0)


def _with_inverse(
    row: Tensor, *, index: Tensor, groups: Tensor, buckets: Tensor, shared: bool
) -> RowPlan:
    tokens, slots = row.shape
    rows = tokens * slots
    device = row.device
    memory = index
    if shared:
        memory = functional.pad(index, (0, 1), value=groups.numel() - 2)
    token = torch.arange(tokens, device=device).unsqueeze(1).expand(tokens, slots)
    flat = row.flatten()
    return RowPlan(
        row=row,
        token=torch.empty(rows, dtype=torch.int64, device=device).scatter(0, flat, token.flatten()),
        memory=torch.empty(rows, dtype=torch.int64, device=device).scatter(
            0, flat, memory.flatten()
        ),
        offsets=groups,
        cu_rows=functional.pad(buckets.flatten(), (0, 1), value=rows),
    )
