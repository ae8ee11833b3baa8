# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Mixing a token's rows, the norm over a head and the output gate, in one pass each way."""

import triton
import triton.language as tl


@triton.jit
def mixed_rows(o, place, weights, n, inside, h, H, V: tl.constexpr, SLOTS: tl.constexpr,
               BT: tl.constexpr):  # fmt: skip
    """Return ``[BT, V]``: the weighted rows of a tile of tokens for one head."""
    value = tl.arange(0, V)
    total = tl.zeros([BT, V], dtype=tl.float32)
    for slot in tl.static_range(SLOTS):
        row = tl.load(place + n * SLOTS + slot, mask=inside, other=0)
        weight = tl.load(weights + n * SLOTS + slot, mask=inside, other=0.0)
        spot = (row[:, None] * H + h) * V + value[None, :]
        total += weight[:, None] * tl.load(o + spot, mask=inside[:, None], other=0.0)
    return total


@triton.jit
def mix_norm_kernel(
    o, place, weights, z, norm, y, tokens, eps,
    H: tl.constexpr, V: tl.constexpr, SLOTS: tl.constexpr, BT: tl.constexpr, SWISH: tl.constexpr,
):  # fmt: skip
    """``y = rms_norm(sum of weighted rows) * norm * gate(z)``."""
    h = tl.program_id(1)
    n = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    inside = n < tokens
    value = tl.arange(0, V)
    total = mixed_rows(o, place, weights, n, inside, h, H, V, SLOTS, BT)
    inverse = 1 / tl.sqrt(tl.sum(total * total, axis=1) / V + eps)
    spot = (n[:, None] * H + h) * V + value[None, :]
    raw = tl.load(z + spot, mask=inside[:, None], other=0.0).to(tl.float32)
    opened = tl.sigmoid(raw)
    if SWISH:
        opened = raw * opened
    out = total * inverse[:, None] * tl.load(norm + value)[None, :] * opened
    tl.store(y + spot, out.to(y.dtype.element_ty), mask=inside[:, None])


@triton.jit
def mix_norm_gradient_kernel(
    o, place, weights, z, norm, dy, do, dweights, dz, dnorm, tokens, eps,
    H: tl.constexpr, V: tl.constexpr, SLOTS: tl.constexpr, BT: tl.constexpr, SWISH: tl.constexpr,
):  # fmt: skip
    """Write ``do`` (each row once), ``dweights [N, SLOTS, H]``, ``dz``, ``dnorm`` per program."""
    tile, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    n = tile * BT + tl.arange(0, BT)
    inside = n < tokens
    value = tl.arange(0, V)
    total = mixed_rows(o, place, weights, n, inside, h, H, V, SLOTS, BT)
    inverse = 1 / tl.sqrt(tl.sum(total * total, axis=1) / V + eps)
    normed = total * inverse[:, None]
    spot = (n[:, None] * H + h) * V + value[None, :]
    raw = tl.load(z + spot, mask=inside[:, None], other=0.0).to(tl.float32)
    wanted = tl.load(dy + spot, mask=inside[:, None], other=0.0).to(tl.float32)
    scale = tl.load(norm + value)[None, :]
    share = tl.sigmoid(raw)
    opened, slope = share, share * (1 - share)
    if SWISH:
        opened, slope = raw * share, share * (1 + raw * (1 - share))
    out = (wanted * normed * scale * slope).to(dz.dtype.element_ty)
    tl.store(dz + spot, out, mask=inside[:, None])
    part = tl.sum(wanted * opened * normed, axis=0)
    tl.store(dnorm + (tile * H + h) * V + value, part)
    inner = wanted * opened * scale
    along = tl.sum(inner * normed, axis=1) / V
    dtotal = (inner - normed * along[:, None]) * inverse[:, None]
    for slot in tl.static_range(SLOTS):
        row = tl.load(place + n * SLOTS + slot, mask=inside, other=0)
        weight = tl.load(weights + n * SLOTS + slot, mask=inside, other=0.0)
        at = (row[:, None] * H + h) * V + value[None, :]
        answer = tl.load(o + at, mask=inside[:, None], other=0.0)
        back = (weight[:, None] * dtotal).to(do.dtype.element_ty)
        tl.store(do + at, back, mask=inside[:, None])
        dot = tl.sum(dtotal * answer, axis=1)
        tl.store(dweights + (n * SLOTS + slot) * H + h, dot, mask=inside)
