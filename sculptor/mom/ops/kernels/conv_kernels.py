# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""The short convolution over packed rows: each row is read ``W`` times from cache, written once."""

import triton
import triton.language as tl


@triton.jit
def earlier_tile(x, tails, n, inside, segment, place, channel, valid, shift: tl.constexpr,
                 C: tl.constexpr, W: tl.constexpr):  # fmt: skip
    """Return the rows ``shift`` earlier in their own history, from the pack or from the tail."""
    here = inside & (place >= shift)
    mask = here[:, None] & valid[None, :]
    found = tl.load(x + (n - shift)[:, None] * C + channel[None, :], mask=mask, other=0.0)
    if shift > 0:
        back = (segment * (W - 1) + W - 1 + place - shift)[:, None] * C + channel[None, :]
        mask = (inside & (place < shift))[:, None] & valid[None, :]
        found += tl.load(tails + back, mask=mask, other=0.0).to(found.dtype)
    return found.to(tl.float32)


@triton.jit
def short_conv_kernel(
    x, weight, tails, segment, place, y, rows,
    C: tl.constexpr, W: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """``y[n] = sum over shifts of weight[W - 1 - shift] * history(n, shift)``."""
    n = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    channel = tl.program_id(1) * BC + tl.arange(0, BC)
    inside, valid = n < rows, channel < C
    s = tl.load(segment + n, mask=inside, other=0)
    p = tl.load(place + n, mask=inside, other=0)
    total = tl.zeros([BT, BC], dtype=tl.float32)
    for shift in tl.static_range(W):
        tap = tl.load(weight + channel * W + W - 1 - shift, mask=valid, other=0.0)
        total += tap[None, :] * earlier_tile(x, tails, n, inside, s, p, channel, valid, shift, C, W)
    spot = n[:, None] * C + channel[None, :]
    tl.store(y + spot, total.to(y.dtype.element_ty), mask=inside[:, None] & valid[None, :])


@triton.jit
def short_conv_gradient_kernel(
    x, weight, tails, segment, place, dy, dx, dweight, rows,
    C: tl.constexpr, W: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Write ``dx``, and ``dweight [tiles, C, W]`` of this tile of rows."""
    tile = tl.program_id(0).to(tl.int64)
    n = tile * BT + tl.arange(0, BT)
    channel = tl.program_id(1) * BC + tl.arange(0, BC)
    inside, valid = n < rows, channel < C
    s = tl.load(segment + n, mask=inside, other=0)
    p = tl.load(place + n, mask=inside, other=0)
    spot = n[:, None] * C + channel[None, :]
    own = tl.load(dy + spot, mask=inside[:, None] & valid[None, :], other=0.0).to(tl.float32)
    total = tl.zeros([BT, BC], dtype=tl.float32)
    for shift in tl.static_range(W):
        tap = tl.load(weight + channel * W + W - 1 - shift, mask=valid, other=0.0)
        later = n + shift
        # A later row of the same segment lies at least `shift` rows into it.
        meets = tl.load(place + later, mask=later < rows, other=-1) >= shift
        ahead = later[:, None] * C + channel[None, :]
        wanted = tl.load(dy + ahead, mask=meets[:, None] & valid[None, :], other=0.0)
        total += tap[None, :] * wanted.to(tl.float32)
        found = earlier_tile(x, tails, n, inside, s, p, channel, valid, shift, C, W)
        slope = tl.sum(own * found, axis=0)
        tl.store(dweight + (tile * C + channel) * W + W - 1 - shift, slope, mask=valid)
    tl.store(dx + spot, total.to(dx.dtype.element_ty), mask=inside[:, None] & valid[None, :])
