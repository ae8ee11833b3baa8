"""Batches on their way to the model: drawn ahead in worker processes, in order, by number.

A process of several takes every ``world``-th example of the global batch, so the examples of a
step are the same however many processes share them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sculptor.mom.recipes.tasks import Stream, Task, draw


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBatch:
    """A batch as tensors: ``tokens [B, T]``, ``targets`` and ``weights [B * T]``."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "TensorBatch":
        """Return the batch on ``device``, without waiting for the copy."""
        return TensorBatch(
            tokens=self.tokens.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            weights=self.weights.to(device, non_blocking=True),
        )


class Batches(Dataset[TensorBatch]):
    """The batches of one stream, by number."""

    def __init__(
        self,
        task: Task,
        *,
        seed: int,
        stream: Stream,
        examples: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if examples % world:
            raise ValueError(f"batch={examples} cannot be shared evenly by {world} processes.")
        self._task, self._seed, self._examples = task, seed, examples
        self._stream: Stream = stream
        self._share = slice(rank, None, world)

    def __getitem__(self, index: int) -> TensorBatch:
        batch = draw(
            self._task,
            seed=self._seed,
            stream=self._stream,
            index=index,
            examples=self._examples,
        )
        return TensorBatch(
            tokens=torch.from_numpy(batch.tokens[self._share]),
            targets=torch.from_numpy(batch.targets[self._share]).flatten(),
            weights=torch.from_numpy(batch.weights[self._share]).flatten(),
        )


def iter_batches(batches: Batches, *, first: int, end: int, workers: int) -> Iterator[TensorBatch]:
    """Yield batches ``first`` to ``end - 1`` in order, made by ``workers`` processes or here."""
    if workers == 0:
        yield from (batches[i] for i in range(first, end))
        return
    loader: DataLoader[TensorBatch] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, end),
        num_workers=workers,
        prefetch_factor=4,
        multiprocessing_context="spawn",
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader
