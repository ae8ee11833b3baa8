"""Putting what the memories answered back together, token by token."""

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.ops.naive import accumulator_dtype
from sculptor.mom.ops.routing import RowPlan


def mix_rows(o: Tensor, *, weights: Tensor, plan: RowPlan) -> Tensor:
    """Return ``[N, H, V]``: each token's rows of ``o [R, H, V]`` under ``weights [N, slots]``.

    Rows are gathered, so there is no atomic addition and the sum has one order.
    """
    return torch.einsum("ns,nshv->nhv", weights.to(o.dtype), o[plan.row])


def gated_norm(o: Tensor, *, z: Tensor, weight: Tensor, eps: float, gate: str) -> Tensor:
    """Return ``rms_norm(o) * gate(z)`` over the last axis, in the dtype of ``z``.

    ``o`` and ``z [N, H, V]``, ``weight [V]``; ``gate`` is ``swish`` or ``sigmoid``.
    """
    dtype = accumulator_dtype(o)
    normed = functional.rms_norm(o.to(dtype), (o.shape[-1],), weight.to(dtype), eps)
    opened = functional.silu(z.to(dtype)) if gate == "swish" else z.to(dtype).sigmoid()
    return (normed * opened).to(z.dtype)
