# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""The router: logits, softmax and picks in one pass over the tokens; on the way back, two kernels.

Products of a token and a router's row are sums in fp32 of rows as they are. ``MP`` is ``M`` up to a
power of two.
"""

import triton
import triton.language as tl


@triton.jit
def ranked(p, M: tl.constexpr, TOP: tl.constexpr, MP: tl.constexpr):
    """Return the place of each memory of ``p [BT, MP]`` among the ``TOP`` greatest, else ``TOP``.

    Of equals the first wins. What is no number counts as greatest, as in PyTorch: places are
    distinct memories whatever ``p`` holds.
    """
    memory = tl.arange(0, MP)[None, :]
    left = tl.where(memory < M, tl.where(p == p, p, 2.0), -1.0)
    rank = tl.full(p.shape, TOP, dtype=tl.int32)
    for slot in tl.static_range(TOP):
        best = tl.max(left, axis=1)
        first = tl.min(tl.where(left == best[:, None], memory, MP), axis=1)
        hit = memory == first[:, None]
        rank = tl.where(hit, slot, rank)
        left = tl.where(hit, -1.0, left)
    return rank


@triton.jit
def loaded_rows(p, channel, known, left, D: tl.constexpr, COUNT: tl.constexpr):
    """Return rows ``p [COUNT, D]`` at ``channel [BD]`` in fp32; zeros behind the first ``left``."""
    found = ()
    for i in tl.static_range(COUNT):
        row = tl.load(p + i * D + channel, mask=known & (i < left), other=0.0)
        found += (row.to(tl.float32),)
    return found


@triton.jit
def route_kernel(
    x, weight, probabilities, index, weights, rows,
    D: tl.constexpr, M: tl.constexpr, TOP: tl.constexpr, MP: tl.constexpr, BD: tl.constexpr,
    BT: tl.constexpr,
):  # fmt: skip
    """Write probabilities ``[rows, M]``, index and weights ``[rows, TOP]`` of ``x [rows, D]``.

    Rows of both sides are vectors of one shape, so that a thread has the same channels of either.
    """
    begin = tl.program_id(0).to(tl.int64) * BT
    row = tl.arange(0, BT)[:, None]
    memory = tl.arange(0, MP)[None, :]
    logits = tl.zeros([BT, MP], dtype=tl.float32)
    for block in tl.static_range(0, D, BD):
        channel = block + tl.arange(0, BD)
        tokens = loaded_rows(x + begin * D, channel, channel < D, rows - begin, D, BT)
        for m in tl.static_range(M):
            judge = tl.load(weight + m * D + channel, mask=channel < D, other=0.0)
            for r in tl.static_range(BT):
                hit = (row == r) & (memory == m)
                logits += tl.where(hit, tl.sum(tokens[r] * judge), 0.0)
    logits = tl.where(memory < M, logits, float("-inf"))
    p = tl.exp(logits - tl.max(logits, axis=1)[:, None])
    p = p / tl.sum(p, axis=1)[:, None]
    n = begin + row
    inside = n < rows
    tl.store(probabilities + n * M + memory, p, mask=inside & (memory < M))
    rank = ranked(p, M, TOP, MP)
    picked = rank < TOP
    share = p / tl.sum(tl.where(picked, p, 0.0), axis=1)[:, None]
    place = n * TOP + rank
    tl.store(weights + place, share, mask=inside & picked)
    tl.store(index + place, memory.to(tl.int64), mask=inside & picked)


@triton.jit
def logits_gradient_kernel(
    probabilities, index, dprobabilities, dweights, dlogits, rows,
    M: tl.constexpr, TOP: tl.constexpr, MP: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write ``dlogits [rows, M]``; the gradients of probabilities and weights may be None."""
    n = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    inside = n < rows
    memory = tl.arange(0, MP)[None, :]
    spot = n[:, None] * M + memory
    mask = inside[:, None] & (memory < M)
    p = tl.load(probabilities + spot, mask=mask, other=0.0)
    back = tl.zeros([BT, MP], dtype=tl.float32)
    if dprobabilities is not None:
        back += tl.load(dprobabilities + spot, mask=mask, other=0.0)
    if dweights is not None:
        best = tl.zeros([BT, MP], dtype=tl.float32)
        wanted = tl.zeros([BT, MP], dtype=tl.float32)
        for slot in tl.static_range(TOP):
            hit = memory == tl.load(index + n * TOP + slot, mask=inside, other=0)[:, None]
            want = tl.load(dweights + n * TOP + slot, mask=inside, other=0.0)
            best = tl.where(hit, p, best)
            wanted = tl.where(hit, want[:, None], wanted)
        total = tl.where(inside, tl.sum(best, axis=1), 1.0)
        along = tl.sum(wanted * best, axis=1) / total
        # A picked memory of probability nought is left out with the others: ``p`` takes its share.
        back += tl.where(best > 0, (wanted - along[:, None]) / total[:, None], 0.0)
    out = p * (back - tl.sum(back * p, axis=1)[:, None])
    tl.store(dlogits + spot, out, mask=mask)


@triton.jit
def rows_gradient_kernel(
    x, weight, dlogits, dpassed, dx, dweight, rows,
    D: tl.constexpr, M: tl.constexpr, BD: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write ``dx = dpassed + dlogits @ weight``; ``dweight [programs, M, D]`` gets parts of sums.

    A program takes every so-manieth tile of rows, for one block of channels; ``dpassed`` may be
    None.
    """
    program = tl.program_id(0)
    channel = tl.program_id(1) * BD + tl.arange(0, BD)
    known = channel < D
    totals = (tl.zeros([BD], dtype=tl.float32),) * M
    for tile in range(program, tl.cdiv(rows, BT), tl.num_programs(0)):
        begin = tl.cast(tile, tl.int64) * BT
        left = rows - begin
        tokens = loaded_rows(x + begin * D, channel, known, left, D, BT)
        outs = (tl.zeros([BD], dtype=tl.float32),) * BT
        if dpassed is not None:
            outs = loaded_rows(dpassed + begin * D, channel, known, left, D, BT)
        sums = ()
        for m in tl.static_range(M):
            judge = tl.load(weight + m * D + channel, mask=known, other=0.0)
            total, added = totals[m], ()
            for r in tl.static_range(BT):
                want = tl.load(dlogits + (begin + r) * M + m, mask=r < left, other=0.0)
                total += want * tokens[r]
                added += (outs[r] + want * judge,)
            sums += (total,)
            outs = added
        totals = sums
        for r in tl.static_range(BT):
            spot = dx + (begin + r) * D + channel
            tl.store(spot, outs[r].to(dx.dtype.element_ty), mask=known & (r < left))
    dweight += program.to(tl.int64) * M * D
    for m in tl.static_range(M):
        tl.store(dweight + m * D + channel, totals[m], mask=known)
