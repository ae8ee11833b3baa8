# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Matrix products whose left rows are gathered by index and whose right matrix is the group's.

Groups are contiguous row ranges known only on the device, so a program finds its own group: there
are at most ``R // BM + G`` row tiles, and those past the last one leave at once.
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
    x, weight, y, source, offsets, stride_group, stride_in, stride_out,
    D: tl.constexpr, C: tl.constexpr, G: tl.constexpr, GATHERS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``y[r] = x[source[r]] @ weight[group(r)]``; ``weight`` by strides, so also transposed."""
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
    product = tl.zeros([BM, BN], dtype=tl.float32)
    base = weight + tl.cast(group, tl.int64) * stride_group
    for start in range(0, D, BD):
        inner = start + tl.arange(0, BD)
        mask = inside[:, None] & (inner < D)[None, :]
        left = tl.load(x + taken[:, None] * D + inner[None, :], mask=mask, other=0.0)
        place = inner[:, None] * stride_in + column[None, :] * stride_out
        mask = (inner < D)[:, None] & (column < C)[None, :]
        right = tl.load(base + place, mask=mask, other=0.0)
        product += tl.dot(left, right, input_precision=PRECISION)
    place = row.to(tl.int64)[:, None] * C + column[None, :]
    mask = inside[:, None] & (column < C)[None, :]
    tl.store(y + place, product.to(y.dtype.element_ty), mask=mask)


@triton.jit
def grouped_weight_kernel(
    x, dy, dweight, source, offsets,
    D: tl.constexpr, C: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``dweight[g] = sum over rows r of group g of x[source[r]]^T dy[r]``."""
    group = tl.program_id(2)
    inner = tl.program_id(0) * BD + tl.arange(0, BD)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    low, high = tl.load(offsets + group), tl.load(offsets + group + 1)
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
    place = (tl.cast(group, tl.int64) * D + inner[:, None]) * C + column[None, :]
    mask = (inner < D)[:, None] & (column < C)[None, :]
    tl.store(dweight + place, product.to(dweight.dtype.element_ty), mask=mask)


@triton.jit
def sum_rows_kernel(rows, place, out, D: tl.constexpr, SLOTS: tl.constexpr, BD: tl.constexpr):
    """``out[n] = sum over slots of rows[place[n, slot]]``."""
    n = tl.program_id(0).to(tl.int64)
    inner = tl.program_id(1) * BD + tl.arange(0, BD)
    total = tl.zeros([BD], dtype=tl.float32)
    for slot in tl.static_range(SLOTS):
        row = tl.load(place + n * SLOTS + slot)
        total += tl.load(rows + row * D + inner, mask=inner < D, other=0.0).to(tl.float32)
    tl.store(out + n * D + inner, total.to(out.dtype.element_ty), mask=inner < D)
