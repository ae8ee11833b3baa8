# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""One token per sequence: only the picked memories' weights and states are read or written."""

import triton
import triton.language as tl


@triton.jit
def picked_linear_kernel(
    x, weight, memory, y, slots,
    D: tl.constexpr, C: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """``y[r] = x[r // slots] @ weight[memory[r]]``."""
    r = tl.program_id(0)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    base = weight + tl.load(memory + r).to(tl.int64) * D * C
    total = tl.zeros([BN], dtype=tl.float32)
    for start in range(0, D, BD):
        inner = start + tl.arange(0, BD)
        token = tl.load(x + (r // slots) * D + inner, mask=inner < D, other=0.0).to(tl.float32)
        mask = (inner < D)[:, None] & (column < C)[None, :]
        tile = tl.load(base + inner[:, None] * C + column[None, :], mask=mask, other=0.0)
        total += tl.sum(token[:, None] * tile.to(tl.float32), axis=0)
    tl.store(y + r * C + column, total.to(y.dtype.element_ty), mask=column < C)


@triton.jit
def state_step_kernel(
    q, k, v, g, beta, memory, state, o, slots, scale,
    G: tl.constexpr, H: tl.constexpr, K: tl.constexpr, V: tl.constexpr, BV: tl.constexpr,
):  # fmt: skip
    """Decay, erase, write and read the state of row ``r``'s memory, in place.

    ``q k v g beta`` are the row's; ``state [S, G, H, K, V]``.
    """
    r, h = tl.program_id(0), tl.program_id(1)
    s = (r // slots).to(tl.int64)
    key = tl.arange(0, K)
    value = tl.program_id(2) * BV + tl.arange(0, BV)
    m = tl.load(memory + r).to(tl.int64)
    spot = (((s * G + m) * H + h) * K + key[:, None]) * V + value[None, :]
    keys = tl.load(k + (r * H + h) * K + key).to(tl.float32)
    queries = tl.load(q + (r * H + h) * K + key).to(tl.float32)
    values = tl.load(v + (r * H + h) * V + value).to(tl.float32)
    now = tl.load(state + spot) * tl.exp(tl.load(g + r * H + h))
    error = values - tl.sum(keys[:, None] * now, axis=0)
    now += keys[:, None] * (tl.load(beta + r * H + h) * error)[None, :]
    tl.store(state + spot, now)
    out = scale * tl.sum(queries[:, None] * now, axis=0)
    tl.store(o + (r * H + h) * V + value, out)
