"""From projected rows to the q, k and v that the delta rule takes.

With convolutions, q, k and v are convolved among the rows of one memory, as published; without,
the tokens came convolved already. SiLU follows, and q and k are brought to length one per head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.ops.conv import short_conv
from sculptor.mom.ops.naive import accumulator_dtype
from sculptor.mom.ops.routing import RowPlan

L2_EPS = 1e-6
"""Added to the squared norm of q and k."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """``q k [R, H, K]``, ``v [R, H, V]``, and the new tails."""

    q: Tensor
    k: Tensor
    v: Tensor
    tails: tuple[Tensor, ...]


def unit_heads(x: Tensor) -> Tensor:
    """Return ``x [..., H, K]`` with every head at length one, in at least fp32."""
    x = x.to(accumulator_dtype(x))
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + L2_EPS)


def make_heads(
    rows: Tensor,
    *,
    tokens: Tensor,
    plan: RowPlan,
    convs: Sequence[Tensor],
    tails: Sequence[Tensor],
    heads: int,
    key_dim: int,
    value_dim: int,
    carries: bool = True,
) -> Heads:
    """Make q from ``tokens [N, H * K]``, k and v from ``rows [R, H * (K + V)]``.

    ``convs`` and ``tails [G * S, W - 1, channels]`` are those of q, k and v, or none. There are
    new tails only if it ``carries``.
    """
    key_width, value_width = heads * key_dim, heads * value_dim
    k, v = torch.split(rows, [key_width, value_width], dim=1)
    q, after = tokens, []
    if convs:
        made = []
        for source, weight, old in zip((tokens[plan.token], k, v), convs, tails, strict=True):
            y, tail = short_conv(source, weight=weight, tails=old, cu_seqlens=plan.cu_rows)
            made.append(y)
            after.append(tail)
        q, k, v = made
    q, k = (unit_heads(torch.unflatten(functional.silu(x), 1, (heads, key_dim))) for x in (q, k))
    return Heads(
        q=q if convs else q[plan.token],
        k=k,
        v=torch.unflatten(functional.silu(v), 1, (heads, value_dim)),
        tails=tuple(after) if carries else (),
    )
