# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Norm and gate of a block, one pass each way: bf16 rows in and out, fp32 in between."""

import triton
import triton.language as tl


@triton.jit
def rms_norm_kernel(
    x, weight, y, rows, eps, D: tl.constexpr, BD: tl.constexpr, BT: tl.constexpr
):  # fmt: skip
    """``y = x / sqrt(mean(x^2) + eps) * weight`` for ``x [rows, D]``."""
    n = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    channel = tl.arange(0, BD)
    mask = (n < rows)[:, None] & (channel < D)[None, :]
    spot = n[:, None] * D + channel[None, :]
    found = tl.load(x + spot, mask=mask, other=0.0).to(tl.float32)
    inverse = 1 / tl.sqrt(tl.sum(found * found, axis=1) / D + eps)
    scale = tl.load(weight + channel, mask=channel < D, other=0.0)
    out = found * inverse[:, None] * scale[None, :]
    tl.store(y + spot, out.to(y.dtype.element_ty), mask=mask)


@triton.jit
def rms_norm_gradient_kernel(
    x, weight, dy, dx, dweight, rows, eps,
    D: tl.constexpr, BD: tl.constexpr, BT: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Write ``dx``; ``dweight [programs, D]`` gets the part of ``TILES`` tiles of rows."""
    program = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BD)
    scale = tl.load(weight + channel, mask=channel < D, other=0.0)
    part = tl.zeros([BD], dtype=tl.float32)
    for tile in range(TILES):
        n = (program * TILES + tile) * BT + tl.arange(0, BT)
        mask = (n < rows)[:, None] & (channel < D)[None, :]
        spot = n[:, None] * D + channel[None, :]
        found = tl.load(x + spot, mask=mask, other=0.0).to(tl.float32)
        wanted = tl.load(dy + spot, mask=mask, other=0.0).to(tl.float32)
        inverse = 1 / tl.sqrt(tl.sum(found * found, axis=1) / D + eps)
        normed = found * inverse[:, None]
        part += tl.sum(wanted * normed, axis=0)
        inner = wanted * scale[None, :]
        along = tl.sum(inner * normed, axis=1) / D
        back = (inner - normed * along[:, None]) * inverse[:, None]
        tl.store(dx + spot, back.to(dx.dtype.element_ty), mask=mask)
    tl.store(dweight + program * D + channel, part, mask=channel < D)


@triton.jit
def swiglu_kernel(x, y, items, W: tl.constexpr, BLOCK: tl.constexpr):
    """``y = silu(x[:, :W]) * x[:, W:]`` for ``x [N, 2 W]``; ``items`` is ``N * W``."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < items
    spot = x + at // W * (2 * W) + at % W
    gate = tl.load(spot, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(spot + W, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, (gate * tl.sigmoid(gate) * up).to(y.dtype.element_ty), mask=inside)


@triton.jit
def swiglu_gradient_kernel(x, dy, dx, items, W: tl.constexpr, BLOCK: tl.constexpr):
    """Write ``dx [N, 2 W]``."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < items
    spot = at // W * (2 * W) + at % W
    gate = tl.load(x + spot, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(x + spot + W, mask=inside, other=0.0).to(tl.float32)
    wanted = tl.load(dy + at, mask=inside, other=0.0).to(tl.float32)
    share = tl.sigmoid(gate)
    dgate = wanted * up * share * (1 + gate * (1 - share))
    tl.store(dx + spot, dgate.to(dx.dtype.element_ty), mask=inside)
    tl.store(dx + spot + W, (wanted * gate * share).to(dx.dtype.element_ty), mask=inside)
