# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""The gated delta rule by chunks, forward; see `sculptor.mom.ops.chunk` for the equations.

One launch each for all segments: Gram matrices and scores, inverses of the former's 16x16
diagonal blocks in place, the triangular inverse with U and W, the serial pass over the states
(`walk_kernels`), the outputs. Of a Gram matrix and of its inverse only the blocks on and below the
diagonal are written and read. Rows are ``[R, H, D]``; a chunk's rows are contiguous, so a chunk is
its first row and its length. Pointers move by 64-bit scalars, tiles are addressed by 32-bit
offsets.
"""

import triton
import triton.language as tl


@triton.jit
def chunk_decay(total, rows, H: tl.constexpr, C: tl.constexpr):
    """Return the running log-decay ``G [C]`` of a chunk of ``rows`` rows.

    Places behind the last row get its value: from any other, ``exp`` of their gap to a row could
    overflow, and infinity times nothing is no number.
    """
    at = tl.arange(0, C)
    return tl.load(total + tl.minimum(at, rows - 1) * H)


@triton.jit
def chunk_gram_kernel(
    q, k, g, beta, start, length, total, gram, scores,
    H: tl.constexpr, K: tl.constexpr, C: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write ``total = cumsum(g)``, ``gram = tril(beta K K^T D, -1)``, ``scores = tril(Q K^T D)``.

    One chunk and head; ``scores`` in the dtype of the rows, with the zeros above the diagonal.
    """
    n, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    rows = tl.load(length + n).to(tl.int32)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    lead = tl.load(start + n) * H + h
    q += lead * K
    k += lead * K
    gram += (n * H + h) * C * C
    scores += (n * H + h) * C * C
    run = tl.cumsum(tl.load(g + lead + at * H, mask=inside, other=0.0))
    tl.store(total + lead + at * H, run, mask=inside)
    strength = tl.load(beta + lead + at * H, mask=inside, other=0.0)
    alike = tl.zeros([C, C], dtype=tl.float32)
    asked = tl.zeros([C, C], dtype=tl.float32)
    for first in range(0, K, BK):
        place = at[:, None] * (H * K) + first + tl.arange(0, BK)[None, :]
        keys = tl.load(k + place, mask=inside[:, None], other=0.0)
        queries = tl.load(q + place, mask=inside[:, None], other=0.0)
        alike += tl.dot(keys, tl.trans(keys), input_precision=PRECISION)
        asked += tl.dot(queries, tl.trans(keys), input_precision=PRECISION)
    i, j = at[:, None], at[None, :]
    fade = tl.exp(tl.where(i >= j, run[:, None] - run[None, :], 0.0))
    place = i * C + j
    alike = tl.where(i > j, strength[:, None] * alike * fade, 0.0)
    tl.store(gram + place, alike, mask=(i // 16) >= (j // 16))
    asked = tl.where(i >= j, asked * fade, 0.0)
    tl.store(scores + place, asked.to(scores.dtype.element_ty))


@triton.jit
def invert_blocks_kernel(gram, length, H: tl.constexpr, C: tl.constexpr):
    """Put the inverses of ``I + gram``'s 16x16 diagonal blocks in their place, row by row."""
    n, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if tl.load(length + n) == 0:
        return
    NB: tl.constexpr = C // 16
    b = tl.arange(0, NB)[:, None, None]
    i = tl.arange(0, 16)[None, :, None]
    j = tl.arange(0, 16)[None, None, :]
    gram += (n * H + h) * C * C
    place = (b * 16 + i) * C + b * 16 + j
    block = tl.load(gram + place)
    solved = tl.where(i == j, 1.0, 0.0) + tl.zeros([NB, 16, 16], dtype=tl.float32)
    for r in range(1, 16):
        line = tl.sum(tl.where(i == r, block, 0.0), axis=1)
        fresh = -tl.sum(line[:, :, None] * solved, axis=1)
        solved += tl.where(i == r, fresh[:, None, :], 0.0)
    tl.store(gram + place, solved)


@triton.jit
def chunk_uw_kernel(
    k, v, beta, total, gram, inverse, u, w, start, length,
    H: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Complete the triangular inverse ``T`` and write ``U = T beta V``, ``W = T beta e^G K``.

    With ``N = Dinv E`` for the part E below the diagonal blocks, ``N^4 = 0`` and
    ``T = (I - N)(I + N^2) Dinv``; the blocks keep every power small.
    """
    n, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    rows = tl.load(length + n).to(tl.int32)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    lead = tl.load(start + n) * H + h
    k += lead * K
    w += lead * K
    v += lead * V
    u += lead * V
    gram += (n * H + h) * C * C
    inverse += (n * H + h) * C * C
    i, j = at[:, None], at[None, :]
    place = i * C + j
    kept, same = (i // 16) >= (j // 16), (i // 16) == (j // 16)
    blocks = tl.load(gram + place, mask=kept, other=0.0)
    diagonal, below = tl.where(same, blocks, 0.0), tl.where(same, 0.0, blocks)
    eye = tl.where(i == j, 1.0, 0.0)
    step = tl.dot(diagonal, below, input_precision=PRECISION)
    twice = tl.dot(step, step, input_precision=PRECISION)
    solved = tl.dot(eye - step, eye + twice, input_precision=PRECISION)
    solved = tl.dot(solved, diagonal, input_precision=PRECISION)
    solved = solved.to(v.dtype.element_ty)
    tl.store(inverse + place, solved, mask=kept)
    strength = tl.load(beta + lead + at * H, mask=inside, other=0.0)
    into = strength * tl.exp(tl.load(total + lead + at * H, mask=inside, other=0.0))
    for first in range(0, V, BV):
        spot = at[:, None] * (H * V) + first + tl.arange(0, BV)[None, :]
        tile = tl.load(v + spot, mask=inside[:, None], other=0.0)
        tile = (tile * strength[:, None]).to(v.dtype.element_ty)
        out = tl.dot(solved, tile, input_precision=PRECISION)
        tl.store(u + spot, out.to(u.dtype.element_ty), mask=inside[:, None])
    for first in range(0, K, BK):
        spot = at[:, None] * (H * K) + first + tl.arange(0, BK)[None, :]
        tile = tl.load(k + spot, mask=inside[:, None], other=0.0)
        tile = (tile * into[:, None]).to(v.dtype.element_ty)
        out = tl.dot(solved, tile, input_precision=PRECISION)
        tl.store(w + spot, out.to(w.dtype.element_ty), mask=inside[:, None])


@triton.jit
def find_tile(tiles: tl.constexpr):
    """Return chunk, tile and head of a program: the tiles of a chunk side by side.

    They read the same rows, which the cache holds only if they run at the same time.
    """
    at = tl.program_id(0)
    return (at // tiles).to(tl.int64), at % tiles, tl.program_id(1)


@triton.jit
def chunk_output_kernel(
    q, y, total, scores, states, o, start, length, scale, head,
    H: tl.constexpr, HS: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write ``o = scale (e^G Q S + scores Y)`` for a chunk, head and value tile."""
    n, tile, here = find_tile(V // BV)
    h = head + here
    rows = tl.load(length + n).to(tl.int32)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    lead = tl.load(start + n) * H + h
    q += lead * K
    y += lead * V
    o += lead * V
    states += (n * HS + here) * K * V
    scores += (n * H + h) * C * C
    value = tile * BV + tl.arange(0, BV)
    out = tl.zeros([C, BV], dtype=tl.float32)
    for first in range(0, K, BK):
        channel = first + tl.arange(0, BK)
        spot = at[:, None] * (H * K) + channel[None, :]
        queries = tl.load(q + spot, mask=inside[:, None], other=0.0)
        stored = channel[:, None] * V + value[None, :]
        out += tl.dot(queries, tl.load(states + stored), input_precision=PRECISION)
    out = out * tl.exp(chunk_decay(total + lead, rows, H, C))[:, None]
    spot = at[:, None] * (H * V) + value[None, :]
    fresh = tl.load(y + spot, mask=inside[:, None], other=0.0)
    seen = tl.load(scores + at[:, None] * C + at[None, :])
    out += tl.dot(seen, fresh, input_precision=PRECISION)
    tl.store(o + spot, (scale * out).to(o.dtype.element_ty), mask=inside[:, None])
