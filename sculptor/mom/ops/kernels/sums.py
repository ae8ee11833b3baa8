# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""Adding up what programs found, each in a part of its own: the same bits whatever ran first."""

from torch import Tensor

from sculptor.mom.ops.kernels import sums_kernels as kernels

_SPAN, _COLUMNS = 1024, 16
"""Parts and numbers that one program adds up: PyTorch gives few long sums to few programs."""


def sum_parts(parts: Tensor) -> Tensor:
    """Return the sum of ``parts [P, ...]``, which are fp32 and contiguous, over the first axis."""
    if parts.numel() == 0:
        return parts.sum(0)
    shape, numbers = parts.shape[1:], parts[0].numel()
    while parts.shape[0] > 1:
        spans = -(-parts.shape[0] // _SPAN)
        total = parts.new_empty(spans, numbers)
        kernels.sum_parts_kernel[(-(-numbers // _COLUMNS), spans)](
            parts, total, parts.shape[0], numbers, SPAN=_SPAN, BP=256, BN=_COLUMNS
        )
        parts = total
    return parts[0].view(shape)
