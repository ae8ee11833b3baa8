# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""The gated delta rule by chunks, backward, from what the forward pass kept.

With ``dS'`` the gradient of a chunk's outgoing state::

    dY = scale P^T dO + Ko dS'              dS = scale Qg^T dO + e^{G_C} dS' - W^T dY
    dP = scale tril(dO Y^T)                 dQg = scale dO S^T
    dKo = Y dS'^T                           dW = -dY S^T
    dT = dY (beta V)^T + dW (beta e^G K)^T  dL = -tril(T^T dT T^T, -1)

Gradients of the running log-decay ``G`` are gathered per row and summed to those of ``g``.
``P`` are the forward pass's scores. The serial pass is in `walk_kernels`.
"""

import triton
import triton.language as tl

from sculptor.mom.ops.kernels.delta_forward import chunk_decay, find_tile


@triton.jit
def local_gradient_kernel(
    do, scores, dy, start, length, scale,
    H: tl.constexpr, V: tl.constexpr, C: tl.constexpr, BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write ``dY = scale P^T dO``, the part that stays inside a chunk."""
    n, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    rows = tl.load(length + n).to(tl.int32)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    lead = tl.load(start + n) * H + h
    do += lead * V
    dy += lead * V
    seen = tl.load(scores + (n * H + h) * C * C + at[None, :] * C + at[:, None])
    for first in range(0, V, BV):
        spot = at[:, None] * (H * V) + first + tl.arange(0, BV)[None, :]
        answer = tl.load(do + spot, mask=inside[:, None], other=0.0)
        out = scale * tl.dot(seen, answer, input_precision=PRECISION)
        tl.store(dy + spot, out.to(dy.dtype.element_ty), mask=inside[:, None])


@triton.jit
def key_gradient_kernel(
    q, k, do, y, dy, total, states, dstates, dq, dk, dw, dg, start, length, scale, head,
    H: tl.constexpr, HS: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write ``dq``, ``dW`` and the read-and-keep part of ``dk`` for a tile of key channels.

    ``dw [R, HS, K]`` and ``dg [R, HS, K / BK]`` are of the heads at hand. The latter gets this
    tile's share of the gradient of ``g``, which moves ``G`` of its own and all later rows of the
    chunk. What is kept to the chunk's end is moved by later rows alone, so a row's sum takes
    ``slope`` from itself on and ``kept`` from before it: gathered as gradients of ``G`` and of its
    last value the two would cancel.
    """
    n, tile, here = find_tile(K // BK)
    h = head + here
    rows = tl.load(length + n).to(tl.int32)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    row = tl.load(start + n)
    lead, own = row * H + h, row * HS + here
    q += lead * K
    k += lead * K
    dq += lead * K
    dk += lead * K
    dw += own * K
    do += lead * V
    y += lead * V
    dy += lead * V
    states += (n * HS + here) * K * V
    dstates += (n * HS + here) * K * V
    channel = tile * BK + tl.arange(0, BK)
    from_read = tl.zeros([C, BK], dtype=tl.float32)
    from_keep = tl.zeros([C, BK], dtype=tl.float32)
    from_erase = tl.zeros([C, BK], dtype=tl.float32)
    scores = tl.zeros([C, C], dtype=tl.float32)
    touch = tl.zeros([BK], dtype=tl.float32)
    for first in range(0, V, BV):
        value = first + tl.arange(0, BV)
        spot = at[:, None] * (H * V) + value[None, :]
        answer = tl.load(do + spot, mask=inside[:, None], other=0.0)
        fresh = tl.load(y + spot, mask=inside[:, None], other=0.0)
        wanted = tl.load(dy + spot, mask=inside[:, None], other=0.0)
        stored = channel[:, None] * V + value[None, :]
        state = tl.load(states + stored)
        dstate = tl.load(dstates + stored)
        scores += tl.dot(answer, tl.trans(fresh), input_precision=PRECISION)
        from_read += tl.dot(answer, tl.trans(state), input_precision=PRECISION)
        from_keep += tl.dot(fresh, tl.trans(dstate), input_precision=PRECISION)
        from_erase += tl.dot(wanted, tl.trans(state), input_precision=PRECISION)
        touch += tl.sum(state.to(tl.float32) * dstate.to(tl.float32), axis=1)
    spot = at[:, None] * (HS * K) + channel[None, :]
    tl.store(dw + spot, (-from_erase).to(dw.dtype.element_ty), mask=inside[:, None])
    spot = at[:, None] * (H * K) + channel[None, :]
    run = chunk_decay(total + lead, rows, H, C)
    end = tl.load(total + lead + (rows - 1) * H)
    seen = at[:, None] >= at[None, :]
    gap = tl.where(seen, run[:, None] - run[None, :], 0.0)
    scores = tl.where(seen, scale * scores * tl.exp(gap), 0.0).to(k.dtype.element_ty)
    keys = tl.load(k + spot, mask=inside[:, None], other=0.0)
    from_keep = from_keep * tl.where(inside, tl.exp(end - run), 0.0)[:, None]
    kept = tl.sum(from_keep * keys, axis=1)
    queries = tl.load(q + spot, mask=inside[:, None], other=0.0)
    key_part = tl.dot(tl.trans(scores), queries, input_precision=PRECISION)
    tl.store(dk + spot, (from_keep + key_part).to(dk.dtype.element_ty), mask=inside[:, None])
    from_read = from_read * (scale * tl.exp(run))[:, None]
    from_read += tl.dot(scores, keys, input_precision=PRECISION)
    tl.store(dq + spot, from_read.to(dq.dtype.element_ty), mask=inside[:, None])
    slope = tl.sum(from_read * queries - key_part * keys, axis=1)
    later = at[None, :] >= at[:, None]
    moved = tl.sum(tl.where(later, slope[None, :], kept[None, :]), axis=1)
    moved += tl.exp(end) * tl.sum(touch)
    tl.store(dg + (own + at * HS) * (K // BK) + tile, moved, mask=inside)


@triton.jit
def erase_gradient_kernel(
    k, v, beta, total, inverse, dy, dw, dk, dbeta, dg, by_tile, start, length, head,
    H: tl.constexpr, HS: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, TILES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Put ``dv`` in ``dy``'s place, write ``dbeta dg``; add to ``dk`` what U, W and inverse bring.

    The Gram matrix is not read: its sums over rows and columns are those of ``along`` and
    ``across`` with the keys. ``by_tile`` are the other ``TILES`` shares of ``dg``.
    """
    n, here = tl.program_id(0).to(tl.int64), tl.program_id(1)
    h = head + here
    rows = tl.load(length + n).to(tl.int32)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    row = tl.load(start + n)
    lead, own = row * H + h, row * HS + here
    k += lead * K
    dw += own * K
    dk += lead * K
    v += lead * V
    dy += lead * V
    inverse += (n * H + h) * C * C
    i, j = at[:, None], at[None, :]
    solved = tl.load(inverse + i * C + j, mask=(i // 16) >= (j // 16), other=0.0)
    flipped = tl.trans(solved)
    strength = tl.load(beta + lead + at * H, mask=inside, other=0.0)
    run = chunk_decay(total + lead, rows, H, C)
    into = tl.where(inside, tl.exp(run), 0.0)
    outer = tl.zeros([C, C], dtype=tl.float32)
    dstrength = tl.zeros([C], dtype=tl.float32)
    dslope = tl.zeros([C], dtype=tl.float32)
    for first in range(0, V, BV):
        spot = at[:, None] * (H * V) + first + tl.arange(0, BV)[None, :]
        values = tl.load(v + spot, mask=inside[:, None], other=0.0)
        wanted = tl.load(dy + spot, mask=inside[:, None], other=0.0)
        weighed = (values * strength[:, None]).to(wanted.dtype)
        outer += tl.dot(wanted, tl.trans(weighed), input_precision=PRECISION)
        back = tl.dot(flipped, wanted, input_precision=PRECISION)
        dstrength += tl.sum(back * values, axis=1)
        out = (back * strength[:, None]).to(dy.dtype.element_ty)
        tl.store(dy + spot, out, mask=inside[:, None])
    for first in range(0, K, BK):
        spot = at[:, None] * (H * K) + first + tl.arange(0, BK)[None, :]
        keys = tl.load(k + spot, mask=inside[:, None], other=0.0)
        erased = at[:, None] * (HS * K) + first + tl.arange(0, BK)[None, :]
        erase = tl.load(dw + erased, mask=inside[:, None], other=0.0)
        weighed = (keys * (strength * into)[:, None]).to(erase.dtype)
        outer += tl.dot(erase, tl.trans(weighed), input_precision=PRECISION)
    half = tl.dot(flipped, outer.to(flipped.dtype), input_precision=PRECISION)
    dgram = tl.dot(half.to(flipped.dtype), flipped, input_precision=PRECISION)
    gap = tl.where(i > j, run[:, None] - run[None, :], 0.0)
    unweighed = tl.where(i > j, -dgram * tl.exp(gap), 0.0)
    across_rows = tl.trans(unweighed * strength[:, None]).to(k.dtype.element_ty)
    unweighed = unweighed.to(k.dtype.element_ty)
    for first in range(0, K, BK):
        spot = at[:, None] * (H * K) + first + tl.arange(0, BK)[None, :]
        keys = tl.load(k + spot, mask=inside[:, None], other=0.0)
        erased = at[:, None] * (HS * K) + first + tl.arange(0, BK)[None, :]
        erase = tl.load(dw + erased, mask=inside[:, None], other=0.0)
        back = tl.dot(flipped, erase, input_precision=PRECISION)
        along = tl.dot(unweighed, keys, input_precision=PRECISION)
        across = tl.dot(across_rows, keys, input_precision=PRECISION)
        weight = tl.sum(back * keys, axis=1) * into + tl.sum(along * keys, axis=1)
        dstrength += weight
        dslope += weight * strength - tl.sum(across * keys, axis=1)
        out = tl.load(dk + spot, mask=inside[:, None], other=0.0).to(tl.float32)
        out += along * strength[:, None] + across + back * (strength * into)[:, None]
        tl.store(dk + spot, out.to(dk.dtype.element_ty), mask=inside[:, None])
    spot = lead + at * H
    tl.store(dbeta + spot, dstrength, mask=inside)
    moved = tl.sum(tl.where(j >= i, dslope[None, :], 0.0), axis=1)
    for tile in tl.static_range(TILES):
        moved += tl.load(by_tile + (own + at * HS) * TILES + tile, mask=inside, other=0.0)
    tl.store(dg + spot, moved, mask=inside)
