# mypy: disallow-untyped-calls=False
"""A whole training step, optimisers included, as one CUDA graph over fixed buffers.

A small model leaves a card waiting for its host: thousands of launches a step, each a few
microseconds. A graph replays them without it. Batches of another shape than the first run as they
are, to the same effect.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from sculptor.mom.recipes.data import TensorBatch

WARM_UPS = 3
"""Steps run before a graph is captured; their effect is taken back."""

T = TypeVar("T")


class CapturedStep(Generic[T]):
    """Replays ``work``, which makes one step on a batch that lies on the GPU.

    What ``work`` returns is the same from step to step: tensors that the next step overwrites.
    """

    def __init__(
        self,
        work: Callable[[TensorBatch], T],
        *,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        self._work, self._model, self._optimizers = work, model, optimizers
        self._rate = torch.zeros((), device=next(model.parameters()).device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._held: TensorBatch | None = None
        self._told: T | None = None

    def __call__(self, batch: TensorBatch, *, rate: float) -> T:
        """Make a step at a learning rate."""
        self._rate.fill_(rate)
        if self._held is None:
            self._held = batch.map(torch.clone)
            self._capture(self._held)
        if self._graph is None or self._told is None or not batch.fits(self._held):
            return self._work(batch)
        for mine, theirs in zip(self._held.tensors(), batch.tensors(), strict=True):
            mine.copy_(theirs)
        self._graph.replay()
        return self._told

    def _capture(self, held: TensorBatch) -> None:
        for group in self._groups():
            group["lr"] = self._rate
            if "capturable" in group:
                group["capturable"] = True
        before = [p.detach().clone() for p in self._model.parameters()]
        kept = {id(x): x.clone() for x in self._moments()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._work(held)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._told = self._work(held)
        with torch.no_grad():
            for p, old in zip(self._model.parameters(), before, strict=True):
                p.copy_(old)
            for x in self._moments():
                x.copy_(kept[id(x)]) if id(x) in kept else x.zero_()

    def _groups(self) -> Iterator[dict[str, object]]:
        for optimizer in self._optimizers:
            yield from optimizer.param_groups

    def _moments(self) -> Iterator[Tensor]:
        for optimizer in self._optimizers:
            for state in optimizer.state.values():
                yield from (x for x in state.values() if isinstance(x, Tensor))
