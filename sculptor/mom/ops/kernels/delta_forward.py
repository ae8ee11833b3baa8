# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""The gated delta rule by chunks, forward; see `sculptor.mom.ops.chunk` for the equations.

One launch each for all segments: Gram matrices, inverses of their 16x16 diagonal blocks, the
triangular inverse with U and W, the serial pass over the states, the outputs. Rows are
``[R, H, D]``; a chunk's rows are contiguous, so a chunk is its first row and its length.
"""

import triton
import triton.language as tl


@triton.jit
def chunk_gram_kernel(
    k, g, beta, start, length, total, gram,
    H: tl.constexpr, K: tl.constexpr, C: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write ``total = cumsum(g)`` and ``gram = tril(beta K K^T D, -1)`` of a chunk and head."""
    n, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    rows = tl.load(length + n)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    row = tl.load(start + n).to(tl.int64) + at
    run = tl.cumsum(tl.load(g + row * H + h, mask=inside, other=0.0))
    tl.store(total + row * H + h, run, mask=inside)
    strength = tl.load(beta + row * H + h, mask=inside, other=0.0)
    product = tl.zeros([C, C], dtype=tl.float32)
    for first in range(0, K, BK):
        channel = first + tl.arange(0, BK)
        place = k + (row[:, None] * H + h) * K + channel[None, :]
        tile = tl.load(place, mask=inside[:, None], other=0.0)
        product += tl.dot(tile, tl.trans(tile), input_precision=PRECISION)
    later = at[:, None] > at[None, :]
    gap = tl.where(later, run[:, None] - run[None, :], 0.0)
    product = tl.where(later, strength[:, None] * product * tl.exp(gap), 0.0)
    tl.store(gram + ((n * H + h) * C + at[:, None]) * C + at[None, :], product)


@triton.jit
def invert_blocks_kernel(gram, inverse, length, H: tl.constexpr, C: tl.constexpr):
    """Invert ``I + gram`` on its 16x16 diagonal blocks, row by row."""
    n, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if tl.load(length + n) == 0:
        return
    NB: tl.constexpr = C // 16
    b = tl.arange(0, NB)[:, None, None]
    i = tl.arange(0, 16)[None, :, None]
    j = tl.arange(0, 16)[None, None, :]
    place = ((n * H + h) * C + b * 16 + i) * C + b * 16 + j
    block = tl.load(gram + place)
    solved = tl.where(i == j, 1.0, 0.0) + tl.zeros([NB, 16, 16], dtype=tl.float32)
    for r in range(1, 16):
        line = tl.sum(tl.where(i == r, block, 0.0), axis=1)
        fresh = -tl.sum(line[:, :, None] * solved, axis=1)
        solved += tl.where(i == r, fresh[:, None, :], 0.0)
    tl.store(inverse + place, solved)


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
    rows = tl.load(length + n)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    row = tl.load(start + n).to(tl.int64) + at
    i, j = at[:, None], at[None, :]
    place = ((n * H + h) * C + i) * C + j
    same = (i // 16) == (j // 16)
    diagonal = tl.load(inverse + place, mask=same, other=0.0)
    below = tl.load(gram + place, mask=(i // 16) > (j // 16), other=0.0)
    eye = tl.where(i == j, 1.0, 0.0)
    step = tl.dot(diagonal, below, input_precision=PRECISION)
    twice = tl.dot(step, step, input_precision=PRECISION)
    solved = tl.dot(eye - step, eye + twice, input_precision=PRECISION)
    solved = tl.dot(solved, diagonal, input_precision=PRECISION)
    tl.store(inverse + place, solved)
    solved = solved.to(v.dtype.element_ty)
    strength = tl.load(beta + row * H + h, mask=inside, other=0.0)
    into = strength * tl.exp(tl.load(total + row * H + h, mask=inside, other=0.0))
    for first in range(0, V, BV):
        spot = (row[:, None] * H + h) * V + first + tl.arange(0, BV)[None, :]
        tile = tl.load(v + spot, mask=inside[:, None], other=0.0)
        tile = (tile * strength[:, None]).to(v.dtype.element_ty)
        out = tl.dot(solved, tile, input_precision=PRECISION)
        tl.store(u + spot, out.to(u.dtype.element_ty), mask=inside[:, None])
    for first in range(0, K, BK):
        spot = (row[:, None] * H + h) * K + first + tl.arange(0, BK)[None, :]
        tile = tl.load(k + spot, mask=inside[:, None], other=0.0)
        tile = (tile * into[:, None]).to(v.dtype.element_ty)
        out = tl.dot(solved, tile, input_precision=PRECISION)
        tl.store(w + spot, out.to(w.dtype.element_ty), mask=inside[:, None])


@triton.jit
def chunk_states_kernel(
    k, u, w, total, state, final, states, y, start, length, first_chunk, count,
    H: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Carry one segment's state through its chunks, ``BV`` value channels at a time."""
    tile, s, h = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2)
    key, at = tl.arange(0, K), tl.arange(0, C)
    value = tile * BV + tl.arange(0, BV)
    spot = ((s * H + h) * K + key[:, None]) * V + value[None, :]
    now = tl.load(state + spot).to(tl.float32)
    n = tl.load(first_chunk + s).to(tl.int64)
    for _ in range(tl.load(count + s)):
        rows = tl.load(length + n)
        inside = at < rows
        row = tl.load(start + n).to(tl.int64) + at
        stored = ((n * H + h) * K + key[:, None]) * V + value[None, :]
        tl.store(states + stored, now.to(states.dtype.element_ty))
        by_key = (row[:, None] * H + h) * K + key[None, :]
        by_value = (row[:, None] * H + h) * V + value[None, :]
        erase = tl.load(w + by_key, mask=inside[:, None], other=0.0)
        fresh = tl.load(u + by_value, mask=inside[:, None], other=0.0).to(tl.float32)
        fresh -= tl.dot(erase, now.to(erase.dtype), input_precision=PRECISION)
        tl.store(y + by_value, fresh.to(y.dtype.element_ty), mask=inside[:, None])
        run = tl.load(total + row * H + h, mask=inside, other=0.0)
        end = tl.load(total + (tl.load(start + n).to(tl.int64) + rows - 1) * H + h)
        keys = tl.load(k + by_key, mask=inside[:, None], other=0.0)
        keep = tl.where(inside, tl.exp(end - run), 0.0)
        fresh = (fresh * keep[:, None]).to(keys.dtype)
        now = now * tl.exp(end)
        now += tl.dot(tl.trans(keys), fresh, input_precision=PRECISION)
        n += 1
    tl.store(final + spot, now)


@triton.jit
def chunk_output_kernel(
    q, k, y, total, states, o, start, length, scale,
    H: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write ``o = scale (e^G Q S + tril(Q K^T D) Y)`` for a chunk, head and value tile."""
    n, h, tile = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    rows = tl.load(length + n)
    if rows == 0:
        return
    at = tl.arange(0, C)
    inside = at < rows
    row = tl.load(start + n).to(tl.int64) + at
    value = tile * BV + tl.arange(0, BV)
    scores = tl.zeros([C, C], dtype=tl.float32)
    out = tl.zeros([C, BV], dtype=tl.float32)
    for first in range(0, K, BK):
        channel = first + tl.arange(0, BK)
        spot = (row[:, None] * H + h) * K + channel[None, :]
        queries = tl.load(q + spot, mask=inside[:, None], other=0.0)
        keys = tl.load(k + spot, mask=inside[:, None], other=0.0)
        stored = ((n * H + h) * K + channel[:, None]) * V + value[None, :]
        out += tl.dot(queries, tl.load(states + stored), input_precision=PRECISION)
        scores += tl.dot(queries, tl.trans(keys), input_precision=PRECISION)
    run = tl.load(total + row * H + h, mask=inside, other=0.0)
    seen = at[:, None] >= at[None, :]
    gap = tl.where(seen, run[:, None] - run[None, :], 0.0)
    scores = tl.where(seen, scores * tl.exp(gap), 0.0)
    spot = (row[:, None] * H + h) * V + value[None, :]
    fresh = tl.load(y + spot, mask=inside[:, None], other=0.0)
    out = out * tl.exp(run)[:, None]
    out += tl.dot(scores.to(fresh.dtype), fresh, input_precision=PRECISION)
    tl.store(o + spot, (scale * out).to(o.dtype.element_ty), mask=inside[:, None])
