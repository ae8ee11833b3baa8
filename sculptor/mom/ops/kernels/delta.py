# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`chunk_delta_rule` on a GPU: one launch per stage for all segments, forward and backward."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sculptor.mom.ops.kernels import delta_backward as backward_kernels
from sculptor.mom.ops.kernels import delta_forward as kernels
from sculptor.mom.ops.kernels.pieces import Cut, join, piece_rows

CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Shapes and tile sizes of a call; ``precision`` is that of products of fp32 tiles.

    ``piece`` is how many rows the serial pass takes at a time, 0 for whole segments, ``steps`` how
    many pieces the longest segment can have.
    """

    heads: int
    key_dim: int
    value_dim: int
    chunk: int
    key_tile: int
    value_tile: int
    state_tile: int
    state_warps: int
    state_stages: int
    precision: str
    piece: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """What the serial pass runs over: a `Cut`, and the first chunk of each piece."""

    cut: Cut
    chunk: Tensor


def fits(*, key_dim: int, value_dim: int) -> bool:
    """Whether the kernels take these head widths: powers of two from 16 to 256."""
    return all(width in (16, 32, 64, 128, 256) for width in (key_dim, value_dim))


def choose_launch(
    q: Tensor, v: Tensor, *, segments: int, longest: int, chunk: int, piece: int | None
) -> Launch:
    """Return fixed tile sizes: narrow state tiles where keys are wide, to stay in registers.

    Products of fp32 rows get three tf32 products each and half the state, which is what fits a
    block's 227 KB; the triangular inverse of bf16 rows gets one.
    """
    rows, heads, key_dim = q.shape
    value_dim, short = v.shape[2], v.element_size() == 2
    tile = min(32 if key_dim > 64 else 64, value_dim)
    if not short and key_dim > 128:
        tile = min(16, tile)
    if piece is None:
        programs = segments * heads * (value_dim // tile)
        piece = piece_rows(rows=rows, longest=longest, programs=programs, chunk=chunk)
    precision = "tf32" if short else "tf32x3"
    return Launch(
        heads=heads,
        key_dim=key_dim,
        value_dim=value_dim,
        chunk=chunk,
        key_tile=min(64, key_dim),
        value_tile=min(64, value_dim),
        state_tile=tile,
        state_warps=8 if key_dim > 128 else 4,
        state_stages=1 if not short else 2 if key_dim > 128 else 3,
        precision=precision if q.is_cuda else "ieee",
        piece=piece,
        steps=-(-min(rows, longest) // piece) if piece else 1,
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
    max_seqlen: int | None = None,
    chunk: int = CHUNK,
    piece: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what `sculptor.mom.ops.chunk.chunk_delta_rule` returns with ``erase=True``.

    ``q k v`` share a dtype, bf16 or fp32, and ``o`` has it too; ``g [R, H]`` (or None), ``beta``
    and the states are fp32. ``chunk`` is 16, 32 or 64; ``piece``, a multiple of it, is how many
    rows of a segment run one after the other, 0 for all (default: what fills a card).
    """
    if chunk not in (16, 32, 64):
        raise ValueError(f"chunk is {chunk}; the kernels take 16, 32 or 64.")
    if piece is not None and piece % chunk:
        raise ValueError(f"piece is {piece}; it must be a multiple of chunk={chunk}.")
    decay = torch.zeros_like(beta) if g is None else g
    if decay.dim() != 2:
        raise ValueError("The kernels take one decay per head; use the PyTorch form.")
    launch = choose_launch(
        q,
        v,
        segments=cu_seqlens.numel() - 1,
        longest=max_seqlen or q.shape[0],
        chunk=chunk,
        piece=piece,
    )
    contiguous = [x.contiguous() for x in (q, k, v)]
    single = [x.float().contiguous() for x in (decay, beta, initial_state)]
    o, final = _DeltaRule.apply(*contiguous, *single, cu_seqlens, scale, launch)
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
        launch: Launch,
    ) -> tuple[Tensor, Tensor]:
        heads, key_dim, value_dim, chunk = _shape(launch)
        cut = Cut.of(cu_seqlens, rows=q.shape[0], size=chunk)
        start, length, chunks = cut.begin, cut.end - cut.begin, cut.begin.numel()
        pieces = _cut_pieces(cu_seqlens, chunks=cut, rows=q.shape[0], launch=launch)
        single: dict[str, Any] = {"dtype": torch.float32, "device": q.device}
        total = torch.empty(q.shape[0], heads, **single)
        gram = torch.empty(chunks, heads, chunk, chunk, **single)
        inverse = torch.empty_like(gram)
        u, w, y, o = (torch.empty_like(x) for x in (v, k, v, v))
        states = torch.empty(chunks, heads, key_dim, value_dim, dtype=v.dtype, device=v.device)
        size = {"H": heads, "K": key_dim, "C": chunk}
        tiles = {"BK": launch.key_tile, "PRECISION": launch.precision}
        both = {"V": value_dim, "BV": launch.value_tile}
        grid = (chunks, heads)
        kernels.chunk_gram_kernel[grid](k, g, beta, start, length, total, gram, **size, **tiles)
        kernels.invert_blocks_kernel[grid](gram, inverse, length, H=heads, C=chunk)
        kernels.chunk_uw_kernel[grid](
            k, v, beta, total, gram, inverse, u, w, start, length, **size, **tiles, **both
        )
        rows = (k, u, w, total)
        final, step_map = _pass_states(rows, state, states, y, pieces, launch)
        kernels.chunk_output_kernel[(*grid, value_dim // launch.value_tile)](
            q, k, y, total, states, o, start, length, scale, **size, **tiles, **both
        )
        ctx.save_for_backward(
            q, k, v, beta, total, gram, inverse, w, y, states, start, length, step_map
        )  # fmt: skip
        ctx.launch, ctx.scale, ctx.pieces = launch, scale, pieces
        return o, final

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (q, k, v, beta, total, gram, inverse, w, y, states, start, length, step_map
         ) = ctx.saved_tensors  # fmt: skip
        launch, scale = ctx.launch, ctx.scale
        do, dfinal = gradients[0].contiguous(), gradients[1].contiguous()
        heads, key_dim, value_dim, chunk = _shape(launch)
        chunks, rows = start.numel(), q.shape[0]
        single: dict[str, Any] = {"dtype": torch.float32, "device": q.device}
        dy, dv, dq, dk, dw = (torch.empty_like(x) for x in (v, v, q, k, k))
        dstates = torch.empty_like(states)
        dscores, dinverse = torch.empty_like(gram), torch.empty_like(gram)
        dbeta, dg = torch.empty_like(beta), torch.empty_like(total)
        key_tiles = key_dim // launch.key_tile
        by_tile = torch.empty(rows, heads, key_tiles, **single)
        dend = torch.empty(key_tiles, chunks, heads, **single)
        size = {"H": heads, "C": chunk, "PRECISION": launch.precision}
        keys = {"K": key_dim, "BK": launch.key_tile}
        values = {"V": value_dim, "BV": launch.value_tile}
        grid = (chunks, heads)
        backward_kernels.local_gradient_kernel[grid](
            q, k, do, total, dy, start, length, scale, **size, **keys, **values
        )
        dstate = _pass_gradients(
            (q, k, w, do, dy, total), dfinal, dstates, step_map, ctx.pieces, scale, launch
        )
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
        return dq, dk, dv, dg, dbeta, dstate, None, None, None


def _shape(launch: Launch) -> tuple[int, int, int, int]:
    return launch.heads, launch.key_dim, launch.value_dim, launch.chunk


def _cut_pieces(cu_seqlens: Tensor, *, chunks: Cut, rows: int, launch: Launch) -> _Pieces:
    if not launch.piece:
        segment = torch.arange(cu_seqlens.numel() - 1, device=cu_seqlens.device)
        whole = Cut(
            begin=cu_seqlens[:-1],
            end=cu_seqlens[1:],
            segment=segment,
            first=segment,
            count=torch.ones_like(segment),
        )
        return _Pieces(cut=whole, chunk=chunks.first)
    cut = Cut.of(cu_seqlens, rows=rows, size=launch.piece)
    inside = (cut.begin - cu_seqlens[cut.segment]) // launch.chunk
    return _Pieces(cut=cut, chunk=chunks.first[cut.segment] + inside)


def _pass_states(
    rows: tuple[Tensor, ...],
    state: Tensor,
    states: Tensor,
    y: Tensor,
    pieces: _Pieces,
    launch: Launch,
) -> tuple[Tensor, Tensor | None]:
    """Fill ``states`` and ``y``; return the final states and, of pieces, the maps."""
    cut, count = pieces.cut, pieces.cut.begin.numel()
    at = (cut.begin, cut.end, pieces.chunk)

    def run(kind: str, begin: Tensor, width: int) -> Tensor:
        out = begin.new_empty(count, launch.heads, launch.key_dim, width)
        tile = min(launch.state_tile, width)
        kernels.chunk_states_kernel[(width // tile, count, launch.heads)](
            *rows, begin, out, states, y, *at, H=launch.heads, K=launch.key_dim, V=width,
            BV=tile, C=launch.chunk, KIND=kind, PRECISION=launch.precision,
            num_warps=launch.state_warps, num_stages=launch.state_stages,
        )  # fmt: skip
        return out

    if not launch.piece:
        return run("pass", state, launch.value_dim), None
    step_map, rest = run("map", state, launch.key_dim), run("rest", state, launch.value_dim)
    begin = join(step_map, rest, state=state, cut=cut, steps=launch.steps, back=False)
    ends = run("pass", begin, launch.value_dim)
    last = ends[(cut.first + cut.count - 1).clamp(min=0)]
    return torch.where(_filled(cut), last, state), step_map


def _pass_gradients(
    rows: tuple[Tensor, ...],
    dfinal: Tensor,
    dstates: Tensor,
    step_map: Tensor | None,
    pieces: _Pieces,
    scale: float,
    launch: Launch,
) -> Tensor:
    """Fill ``dstates`` and complete ``dy``; return the gradient of the first states."""
    cut, count = pieces.cut, pieces.cut.begin.numel()
    at = (cut.begin, cut.end, pieces.chunk)

    def run(kind: str, begin: Tensor) -> Tensor:
        out = begin.new_empty(count, launch.heads, launch.key_dim, launch.value_dim)
        grid = (launch.value_dim // launch.state_tile, count, launch.heads)
        backward_kernels.state_gradient_kernel[grid](
            *rows, begin, out, dstates, *at, scale, H=launch.heads, K=launch.key_dim,
            V=launch.value_dim, BV=launch.state_tile, C=launch.chunk, KIND=kind,
            PRECISION=launch.precision, num_warps=launch.state_warps,
            num_stages=launch.state_stages,
        )  # fmt: skip
        return out

    if step_map is None:
        return run("pass", dfinal)
    flipped = step_map.transpose(2, 3)
    begin = join(flipped, run("rest", dfinal), state=dfinal, cut=cut, steps=launch.steps, back=True)
    starts = run("pass", begin)
    return torch.where(_filled(cut), starts[cut.first.clamp(max=count - 1)], dfinal)


def _filled(cut: Cut) -> Tensor:
    return (cut.count > 0).view(-1, 1, 1, 1)
