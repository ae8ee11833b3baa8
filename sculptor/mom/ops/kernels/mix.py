# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`mix_rows` and `gated_norm` on a GPU, fused: rows are read once, nothing is added atomically."""

from typing import Any

import torch
from torch import Tensor

from sculptor.mom.ops.kernels import mix_kernels as kernels
from sculptor.mom.ops.kernels.sums import sum_parts


def mix_norm(
    o: Tensor, *, weights: Tensor, row: Tensor, z: Tensor, norm: Tensor, eps: float, gate: str
) -> Tensor:
    """Return ``gated_norm(mix_rows(o, ...), ...)`` of `sculptor.mom.ops.mix`.

    ``o [R, H, V]``, ``weights row [N, slots]``, ``z [N, H, V]``, ``norm [V]``.
    """
    out: Tensor = _MixNorm.apply(
        o.contiguous(), weights.float().contiguous(), row.contiguous(), z.contiguous(),
        norm.float(), eps, gate == "swish",
    )  # fmt: skip
    return out


class _MixNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, o: Tensor, weights: Tensor, row: Tensor, z: Tensor, norm: Tensor, eps: float,
        swish: bool,
    ) -> Tensor:  # fmt: skip
        y = torch.empty_like(z)
        grid, sizes = _launch(z, row, swish=swish)
        kernels.mix_norm_kernel[grid](o, row, weights, z, norm, y, z.shape[0], eps, **sizes)
        ctx.save_for_backward(o, weights, row, z, norm)
        ctx.eps, ctx.swish = eps, swish
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        o, weights, row, z, norm = ctx.saved_tensors
        grid, sizes = _launch(z, row, swish=ctx.swish)
        do, dz = torch.empty_like(o), torch.empty_like(z)
        dweights = weights.new_empty(*weights.shape, z.shape[1])
        dnorm = norm.new_empty(*grid, norm.numel())
        kernels.mix_norm_gradient_kernel[grid](
            o, row, weights, z, norm, gradients[0].contiguous(), do, dweights, dz, dnorm,
            z.shape[0], ctx.eps, **sizes,
        )  # fmt: skip
        return do, dweights.sum(2), None, dz, sum_parts(dnorm.flatten(0, 1)), None, None


def _launch(z: Tensor, row: Tensor, *, swish: bool) -> tuple[tuple[int, int], dict[str, Any]]:
    tokens, heads, value_dim = z.shape
    tile = max(1, 2048 // value_dim)
    sizes = {"H": heads, "V": value_dim, "SLOTS": row.shape[1], "BT": tile, "SWISH": swish}
    return (-(-tokens // tile), heads), sizes
