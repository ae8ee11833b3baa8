# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Projected rows to heads in one pass: gather, short convolution, SiLU, unit length.

A program works on whole heads of a tile of rows, so the norm needs no second pass. ``W`` is the
width of the convolution, 1 for none. Backward there is one pass to the gradient of the
convolution's output, and one that gathers it back to the rows, or tokens, it came from.
"""

import triton
import triton.language as tl


@triton.jit
def convolved_rows(
    x, source, weight, tails, segment, place, n, inside, channel, stride,
    C: tl.constexpr, W: tl.constexpr, GATHERS: tl.constexpr, shift: tl.constexpr,
):  # fmt: skip
    """Return the rows ``shift`` earlier in their own history, from the pack or from the tail."""
    p = tl.load(place + n, mask=inside, other=0)
    here = inside & (p >= shift)
    taken = n - shift
    if GATHERS:
        taken = tl.load(source + taken, mask=here, other=0)
    spot = taken[:, None] * stride + channel[None, :]
    found = tl.load(x + spot, mask=here[:, None], other=0.0).to(tl.float32)
    if shift > 0:
        s = tl.load(segment + n, mask=inside, other=0)
        back = (s * (W - 1) + W - 1 + p - shift)[:, None] * C + channel[None, :]
        mask = (inside & (p < shift))[:, None]
        found += tl.load(tails + back, mask=mask, other=0.0).to(tl.float32)
    return found


@triton.jit
def heads_kernel(
    x, source, weight, tails, segment, place, y, stride, rows,
    H: tl.constexpr, D: tl.constexpr, W: tl.constexpr, BT: tl.constexpr,
    GATHERS: tl.constexpr, UNIT: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Write ``y [R, H, D]``: ``silu(conv(x))``, each head at length one if ``UNIT``."""
    h = tl.program_id(1)
    n = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    inside = n < rows
    channel = h * D + tl.arange(0, D)
    total = tl.zeros([BT, D], dtype=tl.float32)
    for shift in tl.static_range(W):
        found = convolved_rows(x, source, weight, tails, segment, place, n, inside, channel, stride,
                               H * D, W, GATHERS, shift)  # fmt: skip
        if W > 1:
            found *= tl.load(weight + channel * W + W - 1 - shift)[None, :]
        total += found
    out = total * tl.sigmoid(total)
    if UNIT:
        out *= tl.rsqrt(tl.sum(out * out, axis=1) + EPS)[:, None]
    spot = n[:, None] * (H * D) + channel[None, :]
    tl.store(y + spot, out.to(y.dtype.element_ty), mask=inside[:, None])


@triton.jit
def heads_gradient_kernel(
    x, source, weight, tails, segment, place, dy, dout, dweight, stride, out_stride, rows,
    H: tl.constexpr, D: tl.constexpr, W: tl.constexpr, W2: tl.constexpr, BT: tl.constexpr,
    TILES: tl.constexpr, GATHERS: tl.constexpr, UNIT: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Write ``dout [R, H * D]``, the gradient of the convolution's output.

    ``dweight [programs, H * D, W]`` gets the part of ``TILES`` tiles of rows.
    """
    h, program = tl.program_id(1), tl.program_id(0).to(tl.int64)
    channel = h * D + tl.arange(0, D)
    tap = tl.arange(0, W2)
    slopes = tl.zeros([W2, D], dtype=tl.float32)
    for tile in range(TILES):
        n = (program * TILES + tile) * BT + tl.arange(0, BT)
        inside = n < rows
        total = tl.zeros([BT, D], dtype=tl.float32)
        for shift in tl.static_range(W):
            found = convolved_rows(x, source, weight, tails, segment, place, n, inside, channel,
                                   stride, H * D, W, GATHERS, shift)  # fmt: skip
            if W > 1:
                found *= tl.load(weight + channel * W + W - 1 - shift)[None, :]
            total += found
        wanted = tl.load(dy + n[:, None] * (H * D) + channel[None, :], mask=inside[:, None],
                         other=0.0).to(tl.float32)  # fmt: skip
        share = tl.sigmoid(total)
        out = total * share
        if UNIT:
            inverse = tl.rsqrt(tl.sum(out * out, axis=1) + EPS)
            along = tl.sum(wanted * out, axis=1) * inverse * inverse
            wanted = (wanted - out * along[:, None]) * inverse[:, None]
        back = wanted * share * (1 + total * (1 - share))
        spot = n[:, None] * out_stride + channel[None, :]
        tl.store(dout + spot, back.to(dout.dtype.element_ty), mask=inside[:, None])
        if W > 1:
            for shift in tl.static_range(W):
                found = convolved_rows(x, source, weight, tails, segment, place, n, inside,
                                       channel, stride, H * D, W, GATHERS, shift)  # fmt: skip
                slope = tl.sum(back * found, axis=0)
                slopes += tl.where(tap == W - 1 - shift, 1.0, 0.0)[:, None] * slope[None, :]
    if W > 1:
        spot = (program * (H * D) + channel[None, :]) * W + tap[:, None]
        tl.store(dweight + spot, slopes, mask=(tap < W)[:, None])


@triton.jit
def heads_return_kernel(
    dout, weight, place, row, dx, in_stride, out_stride, items, rows,
    H: tl.constexpr, D: tl.constexpr, W: tl.constexpr, BT: tl.constexpr, SLOTS: tl.constexpr,
):  # fmt: skip
    """Write ``dx``: the transposed convolution of ``dout``, summed over each token's rows.

    With ``SLOTS`` 0 an item is a row; otherwise it is a token, its rows in ``row [N, SLOTS]``.
    """
    h = tl.program_id(1)
    i = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    inside = i < items
    channel = h * D + tl.arange(0, D)
    total = tl.zeros([BT, D], dtype=tl.float32)
    for slot in tl.static_range(max(SLOTS, 1)):
        n = i
        if SLOTS > 0:
            n = tl.load(row + i * SLOTS + slot, mask=inside, other=0)
        for shift in tl.static_range(W):
            later = n + shift
            meets = inside & (later < rows)
            if W > 1:
                # A later row of the same segment lies at least `shift` rows into it.
                meets = meets & (tl.load(place + later, mask=meets, other=-1) >= shift)
            found = tl.load(dout + later[:, None] * in_stride + channel[None, :],
                            mask=meets[:, None], other=0.0).to(tl.float32)  # fmt: skip
            if W > 1:
                found *= tl.load(weight + channel * W + W - 1 - shift)[None, :]
            total += found
    spot = i[:, None] * out_stride + channel[None, :]
    tl.store(dx + spot, total.to(dx.dtype.element_ty), mask=inside[:, None])
