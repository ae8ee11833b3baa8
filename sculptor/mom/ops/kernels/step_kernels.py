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


@triton.jit
def pushed_row(row, weight, tail, channel, CH: tl.constexpr, W: tl.constexpr):
    """Convolve one row with the ``W - 1`` before it and move it into their ``tail``, in place.

    For programs of one warp: no thread may read a place that another has already moved.
    """
    if W == 1:
        return row
    total = row * tl.load(weight + channel * W + W - 1)
    for j in tl.static_range(W - 1):
        old = tl.load(tail + j * CH + channel).to(tl.float32)
        total += old * tl.load(weight + channel * W + j)
        if j > 0:
            tl.store(tail + (j - 1) * CH + channel, old)
    tl.store(tail + (W - 2) * CH + channel, row)
    return total


@triton.jit
def step_rows_kernel(
    token, rows, memory, writes, wq, wk, wv, tq, tk, tv, a_log, dt_bias, q, k, v, g, beta, slots,
    beta_max,
    G: tl.constexpr, H: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    W: tl.constexpr, DECAYS: tl.constexpr, SOME_READ: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Make what `state_step_kernel` takes of a row's projections; push its tails, in place.

    ``token [S, H * K]``, ``rows [R, C]`` hold k, v, beta and decay; tails ``[S, G, W - 1, .]``.
    """
    r, h = tl.program_id(0), tl.program_id(1)
    s = (r // slots).to(tl.int64)
    bucket = s * G + tl.load(memory + r).to(tl.int64)
    key, value = h * K + tl.arange(0, K), h * V + tl.arange(0, V)
    raw = tl.load(token + s * (H * K) + key).to(tl.float32)
    queries = pushed_row(raw, wq, tq + bucket * (W - 1) * (H * K), key, H * K, W)
    raw = tl.load(rows + r * C + key).to(tl.float32)
    keys = pushed_row(raw, wk, tk + bucket * (W - 1) * (H * K), key, H * K, W)
    raw = tl.load(rows + r * C + H * K + value).to(tl.float32)
    values = pushed_row(raw, wv, tv + bucket * (W - 1) * (H * V), value, H * V, W)
    queries *= tl.sigmoid(queries)
    keys *= tl.sigmoid(keys)
    tl.store(q + r * (H * K) + key, queries * tl.rsqrt(tl.sum(queries * queries) + EPS))
    tl.store(k + r * (H * K) + key, keys * tl.rsqrt(tl.sum(keys * keys) + EPS))
    tl.store(v + r * (H * V) + value, values * tl.sigmoid(values))
    rest = rows + r * C + H * (K + V) + h
    share = 1.0
    if SOME_READ:
        share = tl.load(writes + r).to(tl.float32)
    strength = beta_max * tl.sigmoid(tl.load(rest).to(tl.float32))
    tl.store(beta + r * H + h, strength * share)
    decay = 0.0
    if DECAYS:
        step = tl.load(rest + H).to(tl.float32) + tl.load(dt_bias + h).to(tl.float32)
        step = tl.where(step > 20.0, step, tl.log(1.0 + tl.exp(tl.minimum(step, 20.0))))
        decay = -tl.exp(tl.load(a_log + h).to(tl.float32)) * step * share
    tl.store(g + r * H + h, decay)
