"""The parts of a mixer in the form that runs: Triton kernels, or plain PyTorch.

Both forms of a part are the same function of the same arguments. Kernels are imported where they
run, so a layer needs no Triton to be there; what is empty, or of a width no kernel has, runs
plainly.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.ops.chunk import chunk_delta_rule
from sculptor.mom.ops.conv import short_conv
from sculptor.mom.ops.grouped import grouped_linear
from sculptor.mom.ops.heads import Heads, make_heads
from sculptor.mom.ops.mix import gated_norm, mix_rows
from sculptor.mom.ops.routing import RowPlan, plan_rows


def make_plan(config: MixerConfig, index: Tensor, *, cu_seqlens: Tensor, kernels: bool) -> RowPlan:
    """Return the rows that tokens make in the memories ``index [N, top_k]``, by memory."""
    memories, shared = config.memories, config.shared
    if kernels and index.numel():
        from sculptor.mom.ops.kernels import routing

        return routing.plan_rows(index, cu_seqlens=cu_seqlens, memories=memories, shared=shared)
    return plan_rows(index, cu_seqlens=cu_seqlens, memories=memories, shared=shared)


def convolve(
    x: Tensor, *, weight: Tensor, tails: Tensor, cu_seqlens: Tensor, kernels: bool
) -> tuple[Tensor, Tensor]:
    """Convolve tokens ``x [N, d]`` in original order: return them and the new tails."""
    if kernels and x.shape[0]:
        from sculptor.mom.ops.kernels import conv

        return conv.short_conv(x, weight=weight, tails=tails, cu_seqlens=cu_seqlens)
    return short_conv(x, weight=weight, tails=tails, cu_seqlens=cu_seqlens)


def linear(x: Tensor, *, weight: Tensor, kernels: bool) -> tuple[Tensor, Tensor]:
    """Return ``x [N, d] @ weight [C, d]^T``, and ``x`` for the next who reads it."""
    if kernels:
        from sculptor.mom.ops.kernels import linear

        return linear.linear(x, weight=weight)
    return functional.linear(x, weight.to(x.dtype)), x


def project(
    config: MixerConfig, x: Tensor, *, weight: Tensor, plan: RowPlan, kernels: bool
) -> tuple[Callable[..., Heads], Tensor, Tensor]:
    """Return what makes heads of rows, the rows of keys and values, and their other columns."""
    widths = [config.key_width + config.value_width]
    widths.append(weight.shape[2] - widths[0])
    if not kernels:
        rows, rest = torch.split(grouped_linear(x, weight=weight, plan=plan), widths, dim=1)
        return make_heads, rows, rest
    from sculptor.mom.ops.kernels import delta, grouped, heads

    rows, rest = grouped.grouped_linear(x, weight=weight, plan=plan, wide=widths[0])
    fits = delta.fits(key_dim=config.key_dim, value_dim=config.value_dim)
    return heads.make_heads if fits and rows.shape[0] else make_heads, rows, rest


def run_rule(
    config: MixerConfig,
    made: Heads,
    *,
    g: Tensor | None,
    beta: Tensor,
    cu_seqlens: Tensor,
    state: Tensor,
    fresh: bool,
    carries: bool,
    max_seqlen: int | None,
    kernels: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return the rows' outputs and, where it ``carries``, the memories ``[S, G, H, K, V]`` after.

    ``state`` is what they were before; if ``fresh``, nothing.
    """
    scale = config.key_dim**-0.5
    if kernels and config.rule.erases:
        from sculptor.mom.ops.kernels import delta

        if delta.fits(key_dim=config.key_dim, value_dim=config.value_dim):
            o, after = delta.chunk_delta_rule(
                q=made.q.to(made.v.dtype),
                k=made.k.to(made.v.dtype),
                v=made.v,
                g=g,
                beta=beta,
                cu_seqlens=cu_seqlens,
                initial_state=None if fresh else to_buckets(state),
                scale=scale,
                max_seqlen=max_seqlen,
                carries=carries,
            )
            return o, None if after is None else from_buckets(after, groups=config.groups)
    o, last = chunk_delta_rule(
        q=made.q,
        k=made.k,
        v=made.v,
        g=g,
        beta=beta,
        cu_seqlens=cu_seqlens,
        initial_state=to_buckets(state),
        scale=scale,
        erase=config.rule.erases,
        max_seqlen=max_seqlen,
        chunk=config.chunk,
    )
    return o, from_buckets(last, groups=config.groups) if carries else None


def mix(
    config: MixerConfig,
    o: Tensor,
    *,
    weights: Tensor,
    plan: RowPlan,
    z: Tensor,
    norm: Tensor,
    kernels: bool,
) -> Tensor:
    """Return what each token reads of its rows ``o [R, H, V]``, normed, and gated by ``z``."""
    if kernels:
        from sculptor.mom.ops.kernels.mix import mix_norm

        return mix_norm(
            o, weights=weights, row=plan.row, z=z, norm=norm, eps=config.norm_eps, gate=config.gate
        )
    mixed = mix_rows(o, weights=weights, plan=plan)
    return gated_norm(mixed, z=z, weight=norm, eps=config.norm_eps, gate=config.gate)


def to_buckets(x: Tensor) -> Tensor:
    """Return ``x [S, G, ...]`` as rows are sorted: ``[G * S, ...]``, memory by memory."""
    return x.transpose(0, 1).flatten(0, 1)


def from_buckets(x: Tensor, *, groups: int) -> Tensor:
    """Return ``x [G * S, ...]`` as states are kept: ``[S, G, ...]``."""
    return torch.unflatten(x, 0, (groups, x.shape[0] // groups)).transpose(0, 1)
