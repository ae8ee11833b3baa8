# mypy: disallow-untyped-calls=False
"""`chunk_delta_rule` on a GPU: one launch per stage for all segments, forward and backward."""

from typing import Any

import torch
from torch import Tensor

from sculptor.mom.ops.kernels import delta_backward as backward_kernels
from sculptor.mom.ops.kernels import delta_forward as kernels
from sculptor.mom.ops.kernels.launches import MULTIPROCESSORS, Case, chunk_rows, launch, setting
from sculptor.mom.ops.kernels.pieces import Cut, piece_rows
from sculptor.mom.ops.kernels.walk import Pieces, Plan, Walk, WalkBack

STATES_BYTES = 2**28
"""How much memory the states that chunks meet may take; more heads go one after the other."""


def fits(*, key_dim: int, value_dim: int) -> bool:
    """Whether the kernels take these head widths: powers of two from 16 to 256."""
    return all(width in (16, 32, 64, 128, 256) for width in (key_dim, value_dim))


def make_plan(
    q: Tensor, v: Tensor, *, segments: int, longest: int, chunk: int, piece: int | None
) -> Plan:
    """Return the shapes of a call and what goes at once.

    Products of fp32 rows get three tf32 products each; the triangular inverse of bf16 rows one.
    """
    rows, heads, key_dim = q.shape
    value_dim, short = v.shape[2], v.element_size() == 2
    tile = setting("chunk_states_kernel", Case(key_dim, value_dim, short)).tiles["BV"]
    programs = segments * heads * (value_dim // tile)
    if piece is None:
        piece = piece_rows(rows=rows, longest=longest, programs=programs, chunk=chunk)
    one_head = (rows // chunk + segments) * key_dim * value_dim * v.element_size()
    precision = "tf32" if short else "tf32x3"
    return Plan(
        heads=heads,
        heads_at_once=max(1, min(heads, STATES_BYTES // max(1, one_head))),
        key_dim=key_dim,
        value_dim=value_dim,
        chunk=chunk,
        short=short,
        precision=precision if q.is_cuda else "ieee",
        piece=piece,
        steps=-(-min(rows, longest) // piece) if piece else 1,
        few=not piece and programs < MULTIPROCESSORS,
    )


def chunk_delta_rule(
    *,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor,
    cu_seqlens: Tensor,
    initial_state: Tensor | None,
    scale: float,
    max_seqlen: int | None = None,
    chunk: int | None = None,
    piece: int | None = None,
    carries: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Return what `sculptor.mom.ops.chunk.chunk_delta_rule` returns with ``erase=True``.

    ``q k v`` share a dtype, bf16 or fp32, and ``o`` has it too; ``g [R, H]`` (or None), ``beta``
    and the states are fp32. No ``initial_state`` is an empty one, which is not read; without
    ``carries`` no final one is written. ``chunk`` is 16, 32 or 64 (default: `chunk_rows`, what a
    card can be trusted with); ``piece``, a multiple of it, is how many rows of a segment run one
    after the other, 0 for all (default: what fills a card).
    """
    if chunk is None:
        chunk = chunk_rows(Case(q.shape[2], v.shape[2], v.element_size() == 2))
    if chunk not in (16, 32, 64):
        raise ValueError(f"chunk is {chunk}; the kernels take 16, 32 or 64.")
    if piece is not None and piece % chunk:
        raise ValueError(f"piece is {piece}; it must be a multiple of chunk={chunk}.")
    decay = torch.zeros_like(beta) if g is None else g
    if decay.dim() != 2:
        raise ValueError("The kernels take one decay per head; use the PyTorch form.")
    segments, longest = cu_seqlens.numel() - 1, max_seqlen or q.shape[0]
    plan = make_plan(q, v, segments=segments, longest=longest, chunk=chunk, piece=piece)
    state = initial_state
    if state is None and plan.piece:
        # The maps of pieces are joined by plain products, which want something to begin with.
        state = torch.zeros(segments, *plan.state_shape, device=q.device)
    contiguous = [x.contiguous() for x in (q, k, v)]
    single = [None if x is None else x.float().contiguous() for x in (decay, beta, state)]
    o, final = _DeltaRule.apply(*contiguous, *single, cu_seqlens, scale, plan, carries)
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
        state: Tensor | None,
        cu_seqlens: Tensor,
        scale: float,
        plan: Plan,
        carries: bool,
    ) -> tuple[Tensor, Tensor | None]:
        cut = Cut.of(cu_seqlens, rows=q.shape[0], size=plan.chunk)
        start, length = cut.begin, cut.end - cut.begin
        pieces = Pieces.of(cu_seqlens, chunks=cut, rows=q.shape[0], plan=plan)
        u, w, total, inverse, scores = _solve(q, k, v, g, beta, start, length, plan)
        y, o = torch.empty_like(v), torch.empty_like(v)
        walk = Walk(rows=(k, u, w, total), y=y, pieces=pieces, plan=plan)
        step_map, begin = walk.first_states(state)
        ends = total.new_empty(pieces.count, *plan.state_shape) if carries else None
        states = pieces.states_buffer(plan, like=v)
        for head, count in _heads_in_turn(plan):
            walk.run("pass", begin, ends, states=states, head=head, count=count)
            launch(
                kernels.chunk_output_kernel, _by_value_tile(pieces.chunks, count, plan),
                q, y, total, scores, states, o, start, length, scale, head,
                HS=plan.heads_at_once, V=plan.value_dim, **_sizes(plan), case=plan.case,
            )  # fmt: skip
        kept = q, k, v, beta, total, inverse, scores, w, y
        ctx.save_for_backward(*kept, start, length, step_map, begin)
        ctx.plan, ctx.scale, ctx.pieces = plan, scale, pieces
        ctx.set_materialize_grads(False)
        if ends is None:
            return o, None
        return o, pieces.last(ends, empty=state if plan.piece else None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, beta, total, inverse, scores, w, y, *where = ctx.saved_tensors
        start, length, step_map, begin = where
        plan, scale, pieces = ctx.plan, ctx.scale, ctx.pieces
        do, dfinal = _wanted(gradients, v=v, segments=ctx.pieces.cut.first.numel(), plan=plan)
        dy, dq, dk = (torch.empty_like(x) for x in (v, q, k))
        dbeta, dg = torch.empty_like(beta), torch.empty_like(total)
        launch(
            backward_kernels.local_gradient_kernel, (pieces.chunks, plan.heads),
            do, scores, dy, start, length, scale, H=plan.heads, V=plan.value_dim, C=plan.chunk,
            PRECISION=plan.precision, case=plan.case,
        )  # fmt: skip
        rows = (q, k, w, do, dy, total)
        back = WalkBack(rows=rows, y=y, scale=scale, pieces=pieces, plan=plan)
        dlast = back.last_states(dfinal, step_map)
        dstarts = None
        if ctx.needs_input_grad[5]:
            dstarts = total.new_empty(pieces.count, *plan.state_shape)
        states, dstates = (pieces.states_buffer(plan, like=v) for _ in range(2))
        tiles = plan.key_dim // setting("key_gradient_kernel", plan.case).tiles["BK"]
        dw = k.new_empty(k.shape[0], plan.heads_at_once, plan.key_dim)
        by_tile = total.new_empty(*dw.shape[:2], tiles)
        sizes = _sizes(plan) | {"V": plan.value_dim, "HS": plan.heads_at_once}
        for head, count in _heads_in_turn(plan):
            back.meet(begin, states=states, head=head, count=count)
            back.run("pass", dlast, dstarts, dstates=dstates, head=head, count=count)
            launch(
                backward_kernels.key_gradient_kernel, (pieces.chunks * tiles, count),
                q, k, do, y, dy, total, states, dstates, dq, dk, dw, by_tile, start, length, scale,
                head, **sizes, case=plan.case,
            )  # fmt: skip
            launch(
                backward_kernels.erase_gradient_kernel, (pieces.chunks, count),
                k, v, beta, total, inverse, dy, dw, dk, dbeta, dg, by_tile, start, length, head,
                **sizes, TILES=tiles, case=plan.case,
            )  # fmt: skip
        dstate = None
        if dstarts is not None:
            dstate = pieces.first(dstarts, empty=dfinal if plan.piece else None)
        return dq, dk, dy, dg, dbeta, dstate, None, None, None, None


def _solve(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    start: Tensor,
    length: Tensor,
    plan: Plan,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return ``U``, ``W``, running log-decay, triangular inverse and scores of every chunk."""
    grid = (start.numel(), plan.heads)
    total = torch.empty_like(g)
    gram = total.new_empty(*grid, plan.chunk, plan.chunk)
    inverse, scores = v.new_empty(gram.shape), v.new_empty(gram.shape)
    u, w = torch.empty_like(v), torch.empty_like(k)
    sizes = _sizes(plan)
    launch(
        kernels.chunk_gram_kernel, grid, q, k, g, beta, start, length, total, gram, scores, **sizes,
        case=plan.case,
    )  # fmt: skip
    launch(
        kernels.invert_blocks_kernel, grid, gram, length, H=plan.heads, C=plan.chunk, case=plan.case
    )
    launch(
        kernels.chunk_uw_kernel, grid, k, v, beta, total, gram, inverse, u, w, start, length,
        V=plan.value_dim, **sizes, case=plan.case,
    )  # fmt: skip
    return u, w, total, inverse, scores


def _wanted(
    gradients: tuple[Tensor | None, ...], *, v: Tensor, segments: int, plan: Plan
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of the outputs; that of a final state nobody used is None or zero."""
    do, dfinal = gradients
    do = torch.zeros_like(v) if do is None else do.contiguous()
    if dfinal is None and plan.piece:
        return do, v.new_zeros(segments, *plan.state_shape, dtype=torch.float32)
    return do, None if dfinal is None else dfinal.contiguous()


def _heads_in_turn(plan: Plan) -> list[tuple[int, int]]:
    """Return first head and count of those that go at once."""
    step = plan.heads_at_once
    return [(head, min(step, plan.heads - head)) for head in range(0, plan.heads, step)]


def _by_value_tile(chunks: int, heads: int, plan: Plan) -> Any:
    return lambda chosen: (plan.value_dim // chosen["BV"] * chunks, heads)


def _sizes(plan: Plan) -> dict[str, Any]:
    return {"H": plan.heads, "K": plan.key_dim, "C": plan.chunk, "PRECISION": plan.precision}
