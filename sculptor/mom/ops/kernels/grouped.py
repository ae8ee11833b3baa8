# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`grouped_linear` on a GPU: rows gathered while they are read, no copy of the tokens."""

from typing import Any

import torch
from torch import Tensor

from sculptor.mom.ops.kernels import grouped_kernels as kernels
from sculptor.mom.ops.routing import RowPlan


def grouped_linear(x: Tensor, *, weight: Tensor, plan: RowPlan) -> Tensor:
    """Return what `sculptor.mom.ops.grouped.grouped_linear` returns."""
    weight = weight.to(x.dtype).contiguous()
    out: Tensor = _GroupedLinear.apply(x.contiguous(), weight, plan.token, plan.row, plan.offsets)
    return out


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, token: Tensor, row: Tensor, offsets: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, weight, token, row, offsets)
        return _apply(x, weight, source=token, offsets=offsets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, token, row, offsets = ctx.saved_tensors
        dy = gradients[0].contiguous()
        by_row = _apply(dy, weight.transpose(1, 2), source=None, offsets=offsets)
        dx = torch.empty_like(x)
        tokens, inner = x.shape
        kernels.sum_rows_kernel[(tokens, -(-inner // 256))](
            by_row, row, dx, D=inner, SLOTS=row.shape[1], BD=256
        )
        dweight = torch.empty_like(weight)
        groups, _, columns = weight.shape
        kernels.grouped_weight_kernel[(-(-inner // 64), -(-columns // 128), groups)](
            x, dy, dweight, token, offsets,
            D=inner, C=columns, BM=64, BN=128, BD=64, PRECISION=_precision(x), num_stages=3,
        )  # fmt: skip
        return dx, dweight, None, None, None


def _apply(x: Tensor, weight: Tensor, *, source: Tensor | None, offsets: Tensor) -> Tensor:
    groups, inner, columns = weight.shape
    rows = x.shape[0] if source is None else source.numel()
    y = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
    tiles = -(-rows // 128) + groups
    kernels.grouped_linear_kernel[(-(-columns // 128), tiles)](
        x, weight, y, x if source is None else source, offsets, *weight.stride(),
        D=inner, C=columns, G=groups, GATHERS=source is not None,
        BM=128, BN=128, BD=64 if x.element_size() == 2 else 32, PRECISION=_precision(x),
        num_warps=8, num_stages=3,
    )  # fmt: skip
    return y


def _precision(x: Tensor) -> str:
    return "tf32x3" if x.is_cuda else "ieee"
