# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`rms_norm` and `swiglu` on a GPU: as plain PyTorch they are eight passes over the rows."""

from typing import Any

import torch
from torch import Tensor
from triton import next_power_of_2

from sculptor.mom.ops.kernels import block_kernels as kernels
from sculptor.mom.ops.kernels.sums import sum_parts

ROW_TILES = 8
"""Tiles of rows per program of the norm's gradient, which share one sum for the weight."""

_BLOCK = 1024


def rms_norm(x: Tensor, *, weight: Tensor, eps: float) -> Tensor:
    """Return ``x [N, D]`` by its root mean square, times ``weight [D]``, in its own dtype."""
    out: Tensor = _RmsNorm.apply(x.contiguous(), weight.float().contiguous(), eps)
    return out


def swiglu(x: Tensor) -> Tensor:
    """Return ``silu(x[:, :W]) * x[:, W:]`` for ``x [N, 2 W]``."""
    out: Tensor = _SwiGlu.apply(x.contiguous())
    return out


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        y = torch.empty_like(x)
        sizes = _sizes(x)
        kernels.rms_norm_kernel[(-(-x.shape[0] // sizes["BT"]),)](
            x, weight, y, x.shape[0], eps, **sizes
        )
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        sizes = _sizes(x)
        programs = -(-x.shape[0] // (sizes["BT"] * ROW_TILES))
        dx, dweight = torch.empty_like(x), weight.new_empty(programs, weight.numel())
        kernels.rms_norm_gradient_kernel[(programs,)](
            x, weight, gradients[0].contiguous(), dx, dweight, x.shape[0], ctx.eps,
            TILES=ROW_TILES, **sizes,
        )  # fmt: skip
        return dx, sum_parts(dweight), None


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        width = x.shape[1] // 2
        y = x.new_empty(x.shape[0], width)
        kernels.swiglu_kernel[(-(-y.numel() // _BLOCK),)](x, y, y.numel(), W=width, BLOCK=_BLOCK)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx, items = torch.empty_like(x), x.numel() // 2
        kernels.swiglu_gradient_kernel[(-(-items // _BLOCK),)](
            x, gradients[0].contiguous(), dx, items, W=x.shape[1] // 2, BLOCK=_BLOCK
        )
        return dx


def _sizes(x: Tensor) -> dict[str, Any]:
    width = x.shape[1]
    padded = next_power_of_2(width)
    return {"D": width, "BD": padded, "BT": max(1, 2048 // padded)}
