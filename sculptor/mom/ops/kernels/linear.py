# mypy: disallow-untyped-calls=False
"""A linear map that hands its rows on, so that what is wanted of them is added up in a product.

Where several maps read the same rows, autograd adds their gradients in a pass each. Here a map
returns its rows beside its result; whoever reads them next hands back a gradient, and the product
that makes this map's own adds to it in place.
"""

from typing import Any

import torch
from torch import Tensor


def linear(x: Tensor, *, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x [N, d] @ weight [C, d]^T`` in the dtype of ``x``, and ``x`` for one more reader.

    What is returned as ``x`` must be read by nothing, or by one operation that hands back a
    gradient of its own, which is written over.
    """
    out: tuple[Tensor, Tensor] = _Linear.apply(x.contiguous(), weight)
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        short = weight.to(x.dtype)
        ctx.save_for_backward(x, short)
        ctx.set_materialize_grads(False)
        ctx.dtype = weight.dtype
        with torch.autocast(x.device.type, enabled=False):
            return x @ short.t(), x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        x, short = ctx.saved_tensors
        dy, dx = gradients
        if dy is None:
            return dx, None
        wants_x, wants_weight = ctx.needs_input_grad
        dweight = (dy.t() @ x).to(ctx.dtype) if wants_weight else None
        if wants_x:
            dx = dy @ short if dx is None else dx.addmm_(dy, short)
        return dx, dweight
