# pyright: reportPrivateImportUsage=false
"""Optimisers and the schedule.

AdamW for everything, or Muon for the matrices inside the blocks and AdamW for the rest. Weight
decay never touches vectors, convolutions or the router.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sculptor.mom.recipes.recipe import TrainSettings

BETAS = (0.9, 0.95)
MUON_MOMENTUM = 0.95
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration of Muon (K. Jordan, 2024)."""


class Muon(torch.optim.Optimizer):
    """Momentum whose update is the nearest orthogonal matrix; stacks of matrices one by one.

    A group's ``lr`` is a number, or a scalar tensor where the step is captured as a graph.
    """

    def __init__(self, params: Iterable[nn.Parameter], *, lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Apply one update to every weight that has a gradient; weights of a shape go together."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():
                gradients = [p.grad for p in params if p.grad is not None]
                momenta = [self._momentum(p) for p in params]
                torch._foreach_lerp_(momenta, gradients, 1 - MUON_MOMENTUM)
                ahead = torch._foreach_lerp(gradients, momenta, MUON_MOMENTUM)
                update = orthogonalise(torch.stack(ahead))
                # 0.2 sqrt(max side) gives the update the root-mean-square of Adam's, so that
                # one rate serves both (arXiv 2502.16982).
                update *= 0.2 * group["lr"] * math.sqrt(max(shape[-2:]))
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_sub_(params, list(update.unbind()))

    def _momentum(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonalise(matrix: Tensor, *, steps: int = 5) -> Tensor:
    """Return roughly ``U V^T`` of ``matrix [..., m, n] = U S V^T`` by Newton-Schulz iteration.

    On a GPU the products run in bf16, as its author has them: the result is rough either way.
    """
    a, b, c = _NEWTON_SCHULZ
    tall = matrix.shape[-2] > matrix.shape[-1]
    x: Tensor = matrix.mT if tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if x.is_cuda:
        x = x.bfloat16()
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrix.dtype)


def make_optimizers(model: nn.Module, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """Return the optimisers that together hold every weight once."""
    matrices: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        if p.numel() == 0:
            continue
        bare = p.dim() < 2 or any(part in name for part in ("conv", "router", "a_log", "dt_bias"))
        inside = "blocks" in name and not bare
        (plain if bare else matrices if inside else rest).append(p)
    with_decay = rest if settings.optimizer == "muon" else matrices + rest
    adam = torch.optim.AdamW(
        [
            {"params": with_decay, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=settings.rate,
        betas=BETAS,
    )
    if settings.optimizer == "adamw":
        return [adam]
    return [adam, Muon(matrices, lr=settings.rate, weight_decay=settings.weight_decay)]


def load_states(
    optimizers: Sequence[torch.optim.Optimizer], states: Sequence[dict[str, Any]]
) -> None:
    """Give optimisers what their ``state_dict`` held; a GPU's may go on elsewhere."""
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict(state)
        for group in optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = False


def rate_at(step: int, settings: TrainSettings) -> float:
    """Return the learning rate of step ``step``, counted from 0."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    span = max(1, settings.steps - settings.warmup)
    done = min(1.0, max(0.0, (step - settings.warmup) / span))
    falls = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "constant": 1.0}
    fall = falls[settings.schedule]
    return settings.rate * warm * (settings.final_rate + (1 - settings.final_rate) * fall)
