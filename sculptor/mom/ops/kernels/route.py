# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""`route` on a GPU: tokens are read once, and their gradients are added up as they are written."""

from typing import Any

import torch
from torch import Tensor
from triton import next_power_of_2

from sculptor.mom.ops import routing
from sculptor.mom.ops.kernels import route_kernels as kernels
from sculptor.mom.ops.kernels.launches import MULTIPROCESSORS
from sculptor.mom.ops.kernels.sums import sum_parts
from sculptor.mom.ops.routing import Route

MOST_MEMORIES = 16
"""Above this, logits are better made by a matrix product."""

_WARP_TILE = 4096
"""Elements of tokens that a program of one warp holds on the way there."""

_WARPS = 16 * MULTIPROCESSORS
"""Warps of all programs that sum the weight's gradient."""


def route(x: Tensor, *, weight: Tensor, top_k: int) -> tuple[Route, Tensor]:
    """Return what `sculptor.mom.ops.routing.route` returns, and ``x [N, d]`` handed through.

    Whoever uses ``x`` after this should take the second: the router's gradient is then added to
    theirs in the pass that makes it. Of equal probabilities the first memory is picked.
    """
    memories = weight.shape[0]
    fits = 0 < memories <= MOST_MEMORIES and 0 < top_k <= memories
    if not fits or x.numel() == 0 or x.dtype == torch.float64:
        return routing.route(x, weight=weight, top_k=top_k), x
    probabilities, index, weights, x = _Route.apply(
        x.contiguous(), weight.float().contiguous(), top_k
    )
    return Route(probabilities=probabilities, index=index, weights=weights), x


class _Route(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, top_k: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tokens, width = x.shape
        memories = weight.shape[0]
        probabilities = weight.new_empty(tokens, memories)
        index = torch.empty(tokens, top_k, dtype=torch.int64, device=x.device)
        weights = weight.new_empty(tokens, top_k)
        block = min(next_power_of_2(width), 1024)
        tile = _rows(_WARP_TILE // next_power_of_2(width))
        kernels.route_kernel[(-(-tokens // tile),)](
            x, weight, probabilities, index, weights, tokens, D=width, M=memories, TOP=top_k,
            MP=next_power_of_2(memories), BD=block, BT=tile, num_warps=1,
        )  # fmt: skip
        ctx.save_for_backward(x, weight, probabilities, index)
        ctx.mark_non_differentiable(index)
        ctx.set_materialize_grads(False)
        return probabilities, index, weights, x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        dprobabilities, _, dweights, dpassed = gradients
        if dprobabilities is None and dweights is None:
            return dpassed, None, None
        x, weight, probabilities, index = ctx.saved_tensors
        dlogits = _logits_gradient(
            probabilities, index, dprobabilities=dprobabilities, dweights=dweights
        )
        dx, dweight = _rows_gradient(x, weight, dlogits=dlogits, dpassed=dpassed)
        return dx, dweight, None


def _logits_gradient(
    probabilities: Tensor, index: Tensor, *, dprobabilities: Tensor | None, dweights: Tensor | None
) -> Tensor:
    tokens, memories = probabilities.shape
    padded = next_power_of_2(memories)
    tile = 1024 // padded
    dlogits = torch.empty_like(probabilities)
    kernels.logits_gradient_kernel[(-(-tokens // tile),)](
        probabilities, index, _contiguous(dprobabilities), _contiguous(dweights), dlogits, tokens,
        M=memories, TOP=index.shape[1], MP=padded, BT=tile,
    )  # fmt: skip
    return dlogits


def _rows_gradient(
    x: Tensor, weight: Tensor, *, dlogits: Tensor, dpassed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the tokens, ``dpassed`` added in, and of the weight ``[M, d]``."""
    tokens, width = x.shape
    memories = weight.shape[0]
    block = min(next_power_of_2(width), 1024)
    warps = max(1, block // 256)
    tile = _rows(1024 * warps // block)
    most = _WARPS if memories <= 4 else _WARPS // 2
    programs = min(-(-tokens // tile), most // warps)
    dx, dweight = torch.empty_like(x), weight.new_empty(programs, memories, width)
    kernels.rows_gradient_kernel[(programs, -(-width // block))](
        x, weight, dlogits, _contiguous(dpassed), dx, dweight, tokens, D=width, M=memories,
        BD=block, BT=tile, num_warps=warps,
    )  # fmt: skip
    return dx, sum_parts(dweight)


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def _rows(wanted: int) -> int:
    return max(1, min(wanted, 8))
