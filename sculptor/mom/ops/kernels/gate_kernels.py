# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Log-decay and write strength of each head from a row's raw columns, one pass each way.

Of ``rest``, whose rows lie ``STRIDE`` apart, the first ``H`` columns are raw write strengths and
the next ``H`` raw gates. ``HP`` is ``H`` up to a power of two.
"""

import triton
import triton.language as tl


@triton.jit
def softplus(z):
    """Return ``log(1 + exp(z))``.

    ``log(1 + e)`` is ``2 atanh(s)`` of ``s = e / (2 + e)``, at most a third: a short series gives
    every bit that fp32 has, of small ``e`` too.
    """
    e = tl.exp(-tl.abs(z))
    s = e / (2.0 + e)
    q = s * s
    tail = q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13))))
    return tl.maximum(z, 0.0) + 2.0 * s * (1.0 + q * (1 / 3 + q * (1 / 5 + tail)))


@triton.jit
def load_gates(rest, a_log, dt_bias, n, head, mask, H: tl.constexpr, STRIDE: tl.constexpr):
    """Return the heads' rates, and of rows ``n`` their gates with the bias, and open strengths."""
    spot = rest + n[:, None] * STRIDE + head[None, :]
    rate = tl.exp(tl.load(a_log + head, mask=head < H, other=0.0))[None, :]
    bias = tl.load(dt_bias + head, mask=head < H, other=0.0)[None, :]
    gate = tl.load(spot + H, mask=mask, other=0.0).to(tl.float32) + bias
    return rate, gate, tl.sigmoid(tl.load(spot, mask=mask, other=0.0).to(tl.float32))


@triton.jit
def head_gates_kernel(
    rest, a_log, dt_bias, writes, g, beta, rows, beta_max,
    H: tl.constexpr, HP: tl.constexpr, STRIDE: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """``g = -exp(a_log) softplus(gate + dt_bias)``, ``beta = beta_max sigmoid(raw)``, ``[R, H]``.

    Both times ``writes [R]``, which may be None.
    """
    n = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    head = tl.arange(0, HP)
    mask = (n < rows)[:, None] & (head < H)[None, :]
    rate, gate, opened = load_gates(rest, a_log, dt_bias, n, head, mask, H, STRIDE)
    strength = beta_max * opened
    decay = -rate * softplus(gate)
    if writes is not None:
        share = tl.load(writes + n, mask=n < rows, other=0.0)[:, None]
        strength, decay = strength * share, decay * share
    out = n[:, None] * H + head[None, :]
    tl.store(g + out, decay, mask=mask)
    tl.store(beta + out, strength, mask=mask)


@triton.jit
def head_gates_gradient_kernel(
    rest, a_log, dt_bias, writes, dg, dbeta, drest, parts, rows, beta_max,
    H: tl.constexpr, HP: tl.constexpr, STRIDE: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Write ``drest [R, 2 H]``; ``parts [programs, 2, H]`` get parts of da_log and ddt_bias."""
    program = tl.program_id(0).to(tl.int64)
    n = program * BT + tl.arange(0, BT)
    head = tl.arange(0, HP)
    mask = (n < rows)[:, None] & (head < H)[None, :]
    rate, gate, opened = load_gates(rest, a_log, dt_bias, n, head, mask, H, STRIDE)
    at = n[:, None] * H + head[None, :]
    by_decay = -rate * tl.load(dg + at, mask=mask, other=0.0)
    by_strength = beta_max * tl.load(dbeta + at, mask=mask, other=0.0)
    if writes is not None:
        share = tl.load(writes + n, mask=n < rows, other=0.0)[:, None]
        by_decay, by_strength = by_decay * share, by_strength * share
    dgate = by_decay * tl.sigmoid(gate)
    draw = by_strength * opened * (1 - opened)
    out = drest + n[:, None] * (2 * H) + head[None, :]
    tl.store(out, draw.to(drest.dtype.element_ty), mask=mask)
    tl.store(out + H, dgate.to(drest.dtype.element_ty), mask=mask)
    part = parts + program * (2 * H) + head
    tl.store(part, tl.sum(by_decay * softplus(gate), axis=0), mask=head < H)
    tl.store(part + H, tl.sum(dgate, axis=0), mask=head < H)
