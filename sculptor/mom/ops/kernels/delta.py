# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`chunk_delta_rule` on a GPU: one launch per stage for all segments, forward and backward."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sculptor.mom.ops.chunk import tabulate_chunks
from sculptor.mom.ops.kernels import delta_backward as backward_kernels
from sculptor.mom.ops.kernels import delta_forward as kernels

CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Shapes and tile sizes of a call; ``precision`` is that of products of fp32 tiles."""

    heads: int
    key_dim: int
    value_dim: int
    chunk: int
    key_tile: int
    value_tile: int
    state_tile: int
    precision: str


def fits(*, key_dim: int, value_dim: int) -> bool:
    """Whether the kernels take these head widths: powers of two from 16 to 256."""
    return all(width in (16, 32, 64, 128, 256) for width in (key_dim, value_dim))


def choose_launch(q: Tensor, v: Tensor, *, chunk: int) -> Launch:
    """Return fixed tile sizes: narrow state tiles where keys are wide, to stay in registers."""
    key_dim, value_dim = q.shape[2], v.shape[2]
    return Launch(
        heads=q.shape[1],
        key_dim=key_dim,
        value_dim=value_dim,
        chunk=chunk,
        key_tile=min(64, key_dim),
        value_tile=min(64, value_dim),
        state_tile=min(32 if key_dim > 64 else 64, value_dim),
        precision="tf32x3" if q.is_cuda else "ieee",
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
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """Return what `sculptor.mom.ops.chunk.chunk_delta_rule` returns with ``erase=True``.

    ``q k v`` share a dtype, bf16 or fp32, and ``o`` has it too; ``g [R, H]`` (or None), ``beta``
    and the states are fp32. ``chunk`` is 16, 32 or 64.
    """
    if chunk not in (16, 32, 64):
        raise ValueError(f"chunk is {chunk}; the kernels take 16, 32 or 64.")
    decay = torch.zeros_like(beta) if g is None else g
    if decay.dim() != 2:
        raise ValueError("The kernels take one decay per head; use the PyTorch form.")
    contiguous = [x.contiguous() for x in (q, k, v)]
    single = [x.float().contiguous() for x in (decay, beta, initial_state)]
    o, final = _DeltaRule.apply(*contiguous, *single, cu_seqlens, scale, chunk)
    return o, final


class _DeltaRule(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        g: Tensor,
        beta: Tensor,
        state: Tensor,
        cu_seqlens: Tensor,
        scale: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        rows, heads, key_dim = q.shape
        value_dim = v.shape[2]
        launch = choose_launch(q, v, chunk=chunk)
        table = tabulate_chunks(cu_seqlens, rows=rows, chunk=chunk)
        start = table.rows[:, 0].int()
        length = table.filled.sum(1, dtype=torch.int32)
        first, count = table.first.int(), table.count.int()
        chunks, segments = start.numel(), first.numel()
        single: dict[str, Any] = {"dtype": torch.float32, "device": q.device}
        total = torch.empty(rows, heads, **single)
        gram = torch.empty(chunks, heads, chunk, chunk, **single)
        inverse = torch.empty_like(gram)
        u, w, y, o = (torch.empty_like(x) for x in (v, k, v, v))
        states = torch.empty(chunks, heads, key_dim, value_dim, dtype=v.dtype, device=v.device)
        final = torch.empty(state.shape, **single)
        size = {"H": heads, "K": key_dim, "C": chunk}
        tiles = {"BK": launch.key_tile, "PRECISION": launch.precision}
        both = {"V": value_dim, "BV": launch.value_tile}
        grid = (chunks, heads)
        kernels.chunk_gram_kernel[grid](k, g, beta, start, length, total, gram, **size, **tiles)
        kernels.invert_blocks_kernel[grid](gram, inverse, length, H=heads, C=chunk)
        kernels.chunk_uw_kernel[grid](
            k, v, beta, total, gram, inverse, u, w, start, length, **size, **tiles, **both
        )
        kernels.chunk_states_kernel[(value_dim // launch.state_tile, segments, heads)](
            k, u, w, total, state, final, states, y, start, length, first, count,
            **size, V=value_dim, BV=launch.state_tile, PRECISION=launch.precision,
        )  # fmt: skip
        kernels.chunk_output_kernel[(*grid, value_dim // launch.value_tile)](
            q, k, y, total, states, o, start, length, scale, **size, **tiles, **both
        )
        ctx.save_for_backward(
            q, k, v, beta, total, gram, inverse, w, y, states, start, length, first, count
        )  # fmt: skip
        ctx.launch, ctx.scale = launch, scale
        return o, final

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (q, k, v, beta, total, gram, inverse, w, y, states, start, length, first, count
         ) = ctx.saved_tensors  # fmt: skip
        launch, scale = ctx.launch, ctx.scale
        do, dfinal = gradients[0].contiguous(), gradients[1].contiguous()
        heads, key_dim, value_dim = launch.heads, launch.key_dim, launch.value_dim
        chunks, segments, rows = start.numel(), first.numel(), q.shape[0]
        single: dict[str, Any] = {"dtype": torch.float32, "device": q.device}
        dy, dv, dq, dw = (torch.empty_like(x) for x in (v, v, q, k))
        dk = torch.empty(k.shape, **single)
        dstates, dstate = torch.empty_like(states), torch.empty_like(dfinal)
        dscores, dinverse = torch.empty_like(gram), torch.empty_like(gram)
        dbeta, dg = torch.empty_like(beta), torch.empty_like(total)
        key_tiles = key_dim // launch.key_tile
        by_tile = torch.empty(rows, heads, key_tiles, **single)
        dend = torch.empty(key_tiles, chunks, heads, **single)
        size = {"H": heads, "C": launch.chunk, "PRECISION": launch.precision}
        keys = {"K": key_dim, "BK": launch.key_tile}
        values = {"V": value_dim, "BV": launch.value_tile}
        grid = (chunks, heads)
        backward_kernels.local_gradient_kernel[grid](
            q, k, do, total, dy, start, length, scale, **size, **keys, **values
        )
        backward_kernels.state_gradient_kernel[(value_dim // launch.state_tile, segments, heads)](
            q, k, w, do, dy, total, dfinal, dstate, dstates, start, length, first, count, scale,
            **size, K=key_dim, V=value_dim, BV=launch.state_tile,
            num_warps=8 if key_dim > 128 else 4,
        )  # fmt: skip
        backward_kernels.value_gradient_kernel[grid](
            v, beta, do, y, dy, total, inverse, dv, dbeta, dscores, dinverse, start, length, scale,
            **size, **values,
        )  # fmt: skip
        backward_kernels.key_gradient_kernel[(*grid, key_tiles)](
            q, k, do, y, dy, total, states, dstates, dscores, dq, dk, dw, by_tile, dend, start,
            length, scale, **size, **keys, **values, num_warps=8,
        )  # fmt: skip
        backward_kernels.erase_gradient_kernel[grid](
            k, beta, total, gram, inverse, dinverse, dw, dk, dbeta, dg, by_tile, dend, start,
            length,
            **size, **keys, num_warps=8,
        )  # fmt: skip
        return dq, dk.to(k.dtype), dv, dg, dbeta, dstate, None, None, None
