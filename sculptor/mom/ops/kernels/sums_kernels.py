# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""One level of a sum over parts."""

import triton
import triton.language as tl


@triton.jit
def sum_parts_kernel(
    parts, total, count, numbers,
    SPAN: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Write ``total[s]``: ``SPAN`` of ``parts [P, numbers]`` added up, from ``s * SPAN`` on."""
    span = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * BN + tl.arange(0, BN)
    first = span * SPAN
    left = tl.minimum(count - first, SPAN).to(tl.int32)
    parts += first * numbers
    found = tl.zeros([BP, BN], dtype=tl.float32)
    for start in range(0, left, BP):
        at = start + tl.arange(0, BP)
        mask = (at < left)[:, None] & (column < numbers)[None, :]
        found += tl.load(parts + at[:, None] * numbers + column[None, :], mask=mask, other=0.0)
    tl.store(total + span * numbers + column, tl.sum(found, axis=0), mask=column < numbers)
