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
STATES_BYTES = 2**29
"""How much memory the states that chunks meet may take; more heads go one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Shapes and tile sizes of a call; ``precision`` is that of products of fp32 tiles.

    ``piece`` is how many rows the serial pass takes at a time, 0 for whole segments, ``steps`` how
    many pieces the longest segment can have. ``heads_at_once`` share the memory for the states
    that chunks meet, which is kept from no pass to another.
    """

    heads: int
    heads_at_once: int
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
    """What the serial pass runs over: a `Cut`, each piece's first chunk, the number of chunks."""

    cut: Cut
    chunk: Tensor
    chunks: int


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
    one_head = (rows // chunk + segments) * key_dim * value_dim * v.element_size()
    precision = "tf32" if short else "tf32x3"
    return Launch(
        heads=heads,
        heads_at_once=max(1, min(heads, STATES_BYTES // max(1, one_head))),
        key_dim=key_dim,
        value_dim=value_dim,
        chunk=chunk,
        key_tile=min(64, key_dim),
        value_tile=min(64, value_dim),
        state_tile=tile,
        # Eight warps over fp32 tiles this narrow read outside their memory (Triton 3.6, sm_90).
        state_warps=8 if short and key_dim > 128 else 4,
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
        size = {"H": heads, "K": key_dim, "C": chunk}
        tiles = {"BK": launch.key_tile, "PRECISION": launch.precision}
        both = {"V": value_dim, "BV": launch.value_tile}
        grid = (chunks, heads)
        kernels.chunk_gram_kernel[grid](k, g, beta, start, length, total, gram, **size, **tiles)
        kernels.invert_blocks_kernel[grid](gram, inverse, length, H=heads, C=chunk, num_warps=1)
        kernels.chunk_uw_kernel[grid](
            k, v, beta, total, gram, inverse, u, w, start, length, **size, **tiles, **both
        )
        walk = _Walk(rows=(k, u, w, total), y=y, pieces=pieces, launch=launch)
        step_map, begin = walk.first_states(state)
        ends = torch.empty_like(begin)
        states = walk.states_buffer()
        for head in range(0, heads, launch.heads_at_once):
            count = min(launch.heads_at_once, heads - head)
            walk.run("pass", begin, ends, states=states, head=head, count=count)
            kernels.chunk_output_kernel[(chunks, count, value_dim // launch.value_tile)](
                q, k, y, total, states, o, start, length, scale, head,
                HS=launch.heads_at_once, **size, **tiles, **both,
            )  # fmt: skip
        ctx.save_for_backward(
            q, k, v, beta, total, gram, inverse, w, y, start, length, step_map, begin
        )
        ctx.launch, ctx.scale, ctx.pieces = launch, scale, pieces
        return o, _last(ends, empty=state, cut=pieces.cut, launch=launch)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (q, k, v, beta, total, gram, inverse, w, y, start, length, step_map, begin
         ) = ctx.saved_tensors  # fmt: skip
        launch, scale, at_once = ctx.launch, ctx.scale, ctx.launch.heads_at_once
        do, dfinal = gradients[0].contiguous(), gradients[1].contiguous()
        heads, key_dim, value_dim, chunk = _shape(launch)
        chunks, rows = start.numel(), q.shape[0]
        single: dict[str, Any] = {"dtype": torch.float32, "device": q.device}
        dy, dv, dq, dk, dw = (torch.empty_like(x) for x in (v, v, q, k, k))
        dscores = torch.empty(chunks, at_once, chunk, chunk, **single)
        dinverse = torch.empty_like(dscores)
        dbeta, dg = torch.empty_like(beta), torch.empty_like(total)
        key_tiles = key_dim // launch.key_tile
        by_tile = torch.empty(rows, heads, key_tiles, **single)
        dend = torch.empty(key_tiles, chunks, heads, **single)
        size = {"H": heads, "C": chunk, "PRECISION": launch.precision}
        keys = {"K": key_dim, "BK": launch.key_tile}
        values = {"V": value_dim, "BV": launch.value_tile}
        backward_kernels.local_gradient_kernel[(chunks, heads)](
            q, k, do, total, dy, start, length, scale, **size, **keys, **values
        )
        walk = _Walk(rows=(k, v, w, total), y=y, pieces=ctx.pieces, launch=launch)
        back = _WalkBack(
            rows=(q, k, w, do, dy, total), scale=scale, pieces=ctx.pieces, launch=launch
        )
        dlast = back.last_states(dfinal, step_map)
        dstarts = torch.empty_like(dlast)
        states, dstates = walk.states_buffer(), walk.states_buffer()
        for head in range(0, heads, at_once):
            count = min(at_once, heads - head)
            size["HS"] = at_once
            walk.run("again", begin, begin, states=states, head=head, count=count)
            back.run("pass", dlast, dstarts, dstates=dstates, head=head, count=count)
            backward_kernels.value_gradient_kernel[(chunks, count)](
                v, beta, do, y, dy, total, inverse, dv, dbeta, dscores, dinverse, start, length,
                scale, head, **size, **values,
            )  # fmt: skip
            backward_kernels.key_gradient_kernel[(chunks, count, key_tiles)](
                q, k, do, y, dy, total, states, dstates, dscores, dq, dk, dw, by_tile, dend, start,
                length, scale, head, **size, **keys, **values, num_warps=8,
            )  # fmt: skip
            backward_kernels.erase_gradient_kernel[(chunks, count)](
                k, beta, total, gram, inverse, dinverse, dw, dk, dbeta, dg, by_tile, dend, start,
                length, head, **size, **keys, num_warps=8,
            )  # fmt: skip
        dstate = _first(dstarts, empty=dfinal, cut=ctx.pieces.cut, launch=launch)
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
        return _Pieces(cut=whole, chunk=chunks.first, chunks=chunks.begin.numel())
    cut = Cut.of(cu_seqlens, rows=rows, size=launch.piece)
    inside = (cut.begin - cu_seqlens[cut.segment]) // launch.chunk
    return _Pieces(cut=cut, chunk=chunks.first[cut.segment] + inside, chunks=chunks.begin.numel())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """The pass over the states, first chunk to last; ``rows`` are ``k u w total``."""

    rows: tuple[Tensor, ...]
    y: Tensor
    pieces: _Pieces
    launch: Launch

    def states_buffer(self) -> Tensor:
        """Return room for what the chunks of some heads meet."""
        launch = self.launch
        shape = (self.pieces.chunks, launch.heads_at_once, launch.key_dim, launch.value_dim)
        return self.y.new_empty(shape)

    def first_states(self, state: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the maps of the pieces, if there are any, and the state each begins with."""
        launch, count = self.launch, self.pieces.cut.begin.numel()
        if not launch.piece:
            return None, state
        step_map = state.new_empty(count, launch.heads, launch.key_dim, launch.key_dim)
        rest = state.new_empty(count, launch.heads, launch.key_dim, launch.value_dim)
        self.run("map", state, step_map)
        self.run("rest", state, rest)
        cut = self.pieces.cut
        return step_map, join(step_map, rest, state=state, cut=cut, steps=launch.steps, back=False)

    def run(
        self,
        kind: str,
        begin: Tensor,
        out: Tensor,
        *,
        states: Tensor | None = None,
        head: int = 0,
        count: int = 0,
    ) -> None:
        """Launch for ``count`` heads from ``head`` on, all by default."""
        launch, cut, width = self.launch, self.pieces.cut, out.shape[3]
        tile = min(launch.state_tile, width)
        grid = (width // tile, cut.begin.numel(), count or launch.heads)
        kernels.chunk_states_kernel[grid](
            *self.rows, begin, out, out if states is None else states, self.y, cut.begin, cut.end,
            self.pieces.chunk, head, H=launch.heads, HS=launch.heads_at_once, K=launch.key_dim,
            V=width, BV=tile, C=launch.chunk, KIND=kind, PRECISION=launch.precision,
            num_warps=launch.state_warps, num_stages=launch.state_stages,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _WalkBack:
    """The pass over the states' gradients; ``rows`` are ``q k w do dy total``."""

    rows: tuple[Tensor, ...]
    scale: float
    pieces: _Pieces
    launch: Launch

    def last_states(self, dfinal: Tensor, step_map: Tensor | None) -> Tensor:
        """Return the gradient of the state that each piece ends with."""
        if step_map is None:
            return dfinal
        cut, steps = self.pieces.cut, self.launch.steps
        rest = dfinal.new_empty(cut.begin.numel(), *dfinal.shape[1:])
        self.run("rest", dfinal, rest)
        return join(step_map.mT, rest, state=dfinal, cut=cut, steps=steps, back=True)

    def run(
        self,
        kind: str,
        begin: Tensor,
        out: Tensor,
        *,
        dstates: Tensor | None = None,
        head: int = 0,
        count: int = 0,
    ) -> None:
        """Launch for ``count`` heads from ``head`` on, all by default."""
        launch, cut = self.launch, self.pieces.cut
        tiles = launch.value_dim // launch.state_tile
        backward_kernels.state_gradient_kernel[(tiles, cut.begin.numel(), count or launch.heads)](
            *self.rows, begin, out, out if dstates is None else dstates, cut.begin, cut.end,
            self.pieces.chunk, self.scale, head, H=launch.heads, HS=launch.heads_at_once,
            K=launch.key_dim, V=launch.value_dim, BV=launch.state_tile, C=launch.chunk, KIND=kind,
            PRECISION=launch.precision, num_warps=launch.state_warps,
            num_stages=launch.state_stages,
        )  # fmt: skip


def _last(ends: Tensor, *, empty: Tensor, cut: Cut, launch: Launch) -> Tensor:
    if not launch.piece:
        return ends
    return torch.where(_filled(cut), ends[(cut.first + cut.count - 1).clamp(min=0)], empty)


def _first(starts: Tensor, *, empty: Tensor, cut: Cut, launch: Launch) -> Tensor:
    if not launch.piece:
        return starts
    return torch.where(_filled(cut), starts[cut.first.clamp(max=starts.shape[0] - 1)], empty)


def _filled(cut: Cut) -> Tensor:
    return (cut.count > 0).view(-1, 1, 1, 1)
