# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Matrix products whose left rows are gathered by index and whose right matrix is the group's.

Groups are contiguous row ranges known only on the device, so a program finds its own group: there
are at most ``R // BM + G`` row tiles, and those past the last one leave at once. Widths are
constants of the compiled kernel, so that the compiler sees how far rows are aligned and loads 16
bytes at a time.
"""

import triton
import triton.language as tl


@triton.jit
def find_tile(tile, offsets, G: tl.constexpr, BM: tl.constexpr):
    """Return group, first row and end row of a row tile; first equals end where there is none."""
    group, first, end = 0, 0, 0
    before = 0
    for i in tl.static_range(G):
        low, high = tl.load(offsets + i), tl.load(offsets + i + 1)
        tiles = (high - low + BM - 1) // BM
        hit = (tile >= before) & (tile < before + tiles)
        group = tl.where(hit, i, group)
        first = tl.where(hit, low + (tile - before) * BM, first)
        end = tl.where(hit, high, end)
        before += tiles
    return group, first, end


@triton.jit
def grouped_linear_kernel(
    x, weight, y, source, offsets,
    D: tl.constexpr, C: tl.constexpr, G: tl.constexpr, GATHERS: tl.constexpr,
    TRANSPOSED: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """``y[r] = x[source[r]] @ weight[group(r)]``.

    ``weight`` is ``[G, D, C]``, or ``[G, C, D]`` where it is to be used transposed.
    """
    group, first, end = find_tile(tl.program_id(1), offsets, G, BM)
    if first >= end:
        return
    row = first + tl.arange(0, BM)
    inside = row < end
    taken = row
    if GATHERS:
        taken = tl.load(source + row, mask=inside, other=0)
    taken = taken.to(tl.int64)
    column = tl.program_id(0) * BN + tl.arange(0, BN)
    valid = column < C
    product = tl.zeros([BM, BN], dtype=tl.float32)
    base = weight + tl.cast(group, tl.int64) * D * C
    for start in range(0, D, BD):
        inner = start + tl.arange(0, BD)
        within = inner < D
        mask = inside[:, None] & within[None, :]
        left = tl.load(x + taken[:, None] * D + inner[None, :], mask=mask, other=0.0)
        place = inner[:, None] * C + column[None, :]
        if TRANSPOSED:
            place = inner[:, None] + column[None, :] * D
        right = tl.load(base + place, mask=within[:, None] & valid[None, :], other=0.0)
        product += tl.dot(left, right, input_precision=PRECISION)
    place = row.to(tl.int64)[:, None] * C + column[None, :]
    tl.store(y + place, product.to(y.dtype.element_ty), mask=inside[:, None] & valid[None, :])


@triton.jit
def grouped_weight_kernel(
    x, dy, dweight, source, offsets,
    D: tl.constexpr, C: tl.constexpr, STRIDE: tl.constexpr, G: tl.constexpr, PARTS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``dweight[p, g] = sum over rows r of part p of group g of x[source[r]]^T dy[r]``.

    Rows of ``dweight`` are ``STRIDE`` long. The last group, which may be the shared memory with
    the most rows, is begun first.
    """
    group = G - 1 - tl.program_id(2) // PARTS
    part = tl.program_id(2) % PARTS
    inner = tl.program_id(0) * BD + tl.arange(0, BD)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    low, high = tl.load(offsets + group), tl.load(offsets + group + 1)
    share = (high - low + PARTS * BM - 1) // (PARTS * BM) * BM
    low += part * share
    high = tl.minimum(low + share, high)
    product = tl.zeros([BD, BN], dtype=tl.float32)
    for start in range(low, high, BM):
        row = start + tl.arange(0, BM)
        inside = row < high
        taken = tl.load(source + row, mask=inside, other=0).to(tl.int64)
        mask = inside[:, None] & (inner < D)[None, :]
        left = tl.load(x + taken[:, None] * D + inner[None, :], mask=mask, other=0.0)
        mask = inside[:, None] & (column < C)[None, :]
        right = tl.load(dy + row.to(tl.int64)[:, None] * C + column[None, :], mask=mask, other=0.0)
        product += tl.dot(tl.trans(left), right, input_precision=PRECISION)
    place = (tl.cast(part * G + group, tl.int64) * D + inner[:, None]) * STRIDE + column[None, :]
    mask = (inner < D)[:, None] & (column < C)[None, :]
    tl.store(dweight + place, product.to(dweight.dtype.element_ty), mask=mask)


@triton.jit
def sum_rows_kernel(
    rows, place, out, tokens,
    D: tl.constexpr, SLOTS: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """``out[n] = sum over slots of rows[place[n, slot]]``."""
    n = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    inner = tl.program_id(1) * BD + tl.arange(0, BD)
    inside = n < tokens
    mask = inside[:, None] & (inner < D)[None, :]
    total = tl.zeros([BT, BD], dtype=tl.float32)
    for slot in tl.static_range(SLOTS):
        row = tl.load(place + n * SLOTS + slot, mask=inside, other=0)
        found = tl.load(rows + row[:, None] * D + inner[None, :], mask=mask, other=0.0)
        total += found.to(tl.float32)
    tl.store(out + n[:, None] * D + inner[None, :], total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def pick_kernel(
    every, token, memory, out, rows, stride,
    X: tl.constexpr, BX: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """``out[r] = every[token[r], memory[r] * X : memory[r] * X + X]``."""
    r = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    column = tl.arange(0, BX)
    inside = r < rows
    mask = inside[:, None] & (column < X)[None, :]
    first = tl.load(token + r, mask=inside, other=0) * stride
    first += tl.load(memory + r, mask=inside, other=0) * X
    found = tl.load(every + first[:, None] + column[None, :], mask=mask, other=0.0)
    tl.store(out + r[:, None] * X + column[None, :], found, mask=mask)


@triton.jit
def spread_kernel(
    rest, place, memory, out, tokens,
    G: tl.constexpr, SLOTS: tl.constexpr, X: tl.constexpr, BX: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """``out[n, g * X : g * X + X]`` is the row that token ``n`` has in memory ``g``, or zero."""
    n = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    column = tl.arange(0, BX)
    inside = n < tokens
    mask = inside[:, None] & (column < X)[None, :]
    for g in range(G):
        total = tl.zeros([BT, BX], dtype=tl.float32)
        for slot in tl.static_range(SLOTS):
            row = tl.load(place + n * SLOTS + slot, mask=inside, other=0)
            hit = tl.load(memory + row, mask=inside, other=-1) == g
            spot = rest + row[:, None] * X + column[None, :]
            total += tl.load(spot, mask=mask & hit[:, None], other=0.0).to(tl.float32)
        spot = out + n[:, None] * (G * X) + g * X + column[None, :]
        tl.store(spot, total.to(out.dtype.element_ty), mask=mask)
