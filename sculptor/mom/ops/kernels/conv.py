# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`short_conv` on a GPU: no gathered copies of the rows."""

from typing import Any

import torch
from torch import Tensor

from sculptor.mom.ops.kernels import conv_kernels as kernels
from sculptor.mom.ops.kernels.sums import sum_parts
from sculptor.mom.ops.segments import last_rows, locate_rows

ROW_TILE, CHANNEL_TILE = 64, 64


def short_conv(
    x: Tensor, *, weight: Tensor, tails: Tensor, cu_seqlens: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `sculptor.mom.ops.conv.short_conv` returns."""
    x, tails = x.contiguous(), tails.contiguous()
    at = locate_rows(cu_seqlens, rows=x.shape[0])
    y: Tensor = _ShortConv.apply(
        x, weight.float().contiguous(), tails, at.segment, at.place, cu_seqlens
    )
    return y, next_tails(x, tails=tails, cu_seqlens=cu_seqlens)


def next_tails(x: Tensor, *, tails: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the last raw rows of each segment, of ``x`` or of the tail it had before."""
    held = tails.shape[0] * tails.shape[1]
    index = last_rows(cu_seqlens, width=tails.shape[1])
    old = tails.flatten(0, 1)[index.clamp(max=held - 1)]
    if x.shape[0] == 0:
        return old
    new = x[(index - held).clamp(min=0)].to(tails.dtype)
    return torch.where((index >= held).unsqueeze(2), new, old)


class _ShortConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        tails: Tensor,
        segment: Tensor,
        place: Tensor,
        cu_seqlens: Tensor,
    ) -> Tensor:
        y = torch.empty_like(x)
        grid, sizes = _launch(x, weight)
        kernels.short_conv_kernel[grid](x, weight, tails, segment, place, y, x.shape[0], **sizes)
        ctx.save_for_backward(x, weight, tails, segment, place, cu_seqlens)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, tails, segment, place, cu_seqlens = ctx.saved_tensors
        dy, dx = gradients[0].contiguous(), torch.empty_like(x)
        grid, sizes = _launch(x, weight)
        dweight = weight.new_empty(grid[0], *weight.shape)
        kernels.short_conv_gradient_kernel[grid](
            x, weight, tails, segment, place, dy, dx, dweight, x.shape[0], **sizes
        )
        dtails = None
        if ctx.needs_input_grad[2]:
            dtails = tail_gradient(dy, weight=weight, tails=tails, cu_seqlens=cu_seqlens)
        return dx, sum_parts(dweight), dtails, None, None, None


def tail_gradient(dy: Tensor, *, weight: Tensor, tails: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the gradient of ``tails``: ``j`` meets rows at places ``p <= j``, tap ``j - p``."""
    lengths = cu_seqlens.diff()
    out = torch.zeros_like(tails)
    for j in range(tails.shape[1]):
        for p in range(j + 1):
            row = (cu_seqlens[:-1] + p).clamp(max=dy.shape[0] - 1)
            wanted = torch.where((p < lengths).unsqueeze(1), dy[row].to(tails.dtype), 0.0)
            out[:, j] += wanted * weight[:, j - p]
    return out


def _launch(x: Tensor, weight: Tensor) -> tuple[tuple[int, int], dict[str, int]]:
    rows, channels = x.shape
    sizes = {"C": channels, "W": weight.shape[1], "BT": ROW_TILE, "BC": CHANNEL_TILE}
    return (-(-rows // ROW_TILE), -(-channels // CHANNEL_TILE)), sizes
