"""The load-balance loss, one layer at a time.

Switch style (arXiv 2502.13685 after 2101.03961): the share of tokens a memory got times the mean
probability it was given, summed and scaled so that perfect balance gives ``k``. Layers are
averaged after the product: averaged before it, two layers with opposite collapse look balanced.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sculptor.mom.ops.routing import Route


def balance_loss(routes: Sequence[Route], *, valid: Tensor | None = None) -> Tensor:
    """Return the mean over layers of ``M * sum_j sum_e f_je P_e``; minimum ``k``.

    ``valid [N]`` marks the tokens that count; padding does not. A layer whose router has one
    memory or none has nothing to balance and contributes a constant.
    """
    return torch.stack([_one_layer(route, valid) for route in routes]).mean()


def _one_layer(route: Route, valid: Tensor | None) -> Tensor:
    tokens, memories = route.probabilities.shape
    dtype = route.probabilities.dtype
    weight = torch.ones(tokens, dtype=dtype, device=route.probabilities.device)
    if valid is not None:
        weight = valid.to(dtype)
    weight = weight / weight.sum().clamp(min=1)
    picked = torch.zeros_like(route.probabilities).scatter(1, route.index, 1.0)
    share = weight @ picked.detach()
    return memories * (share * (weight @ route.probabilities)).sum()
