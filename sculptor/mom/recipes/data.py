"""Batches on their way to the model: drawn ahead in worker processes, in order, by number.

A process of several takes every ``world``-th example of the global batch, so the examples of a
step are the same however many processes share them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sculptor.mom.models.packing import Packed, pack_batch
from sculptor.mom.recipes.tasks import Batch, Stream, Task, draw


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBatch:
    """A batch as tensors: ``tokens [B, T]``, ``targets`` and ``weights [B * T]``.

    Documents come packed, ``tokens [N]`` with ``cu_seqlens``, padding behind them as a last one.
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    cu_seqlens: Tensor | None = None
    max_seqlen: int = 0

    def packed(self) -> Packed:
        """Return the tokens as a model takes them."""
        if self.cu_seqlens is None:
            return pack_batch(self.tokens)
        return Packed(
            tokens=self.tokens,
            cu_seqlens=self.cu_seqlens,
            max_seqlen=self.max_seqlen,
            spare=True,
        )

    def to(self, device: torch.device) -> "TensorBatch":
        """Return the batch on ``device``, without waiting for the copy."""
        cu = self.cu_seqlens
        return TensorBatch(
            tokens=self.tokens.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            weights=self.weights.to(device, non_blocking=True),
            cu_seqlens=None if cu is None else cu.to(device, non_blocking=True),
            max_seqlen=self.max_seqlen,
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
        if batch.starts is not None and batch.real is not None:
            return _packed(batch, self._share, starts=batch.starts, real=batch.real)
        return TensorBatch(
            tokens=torch.from_numpy(batch.tokens[self._share]),
            targets=torch.from_numpy(batch.targets[self._share]).flatten(),
            weights=torch.from_numpy(batch.weights[self._share]).flatten(),
        )


def _packed(
    batch: Batch, share: slice, *, starts: NDArray[np.bool_], real: NDArray[np.bool_]
) -> TensorBatch:
    """Return the documents of some rows one after the other, the padding of all at the end."""
    is_real = real[share].ravel()
    order = np.argsort(~is_real, kind="stable")
    tokens, targets, weights = (
        torch.from_numpy(rows[share].ravel()[order])
        for rows in (batch.tokens, batch.targets, batch.weights)
    )
    begins = np.flatnonzero(starts[share].ravel()[order])
    cu = np.concatenate([begins, [is_real.sum(), is_real.size]])
    return TensorBatch(
        tokens=tokens,
        targets=targets,
        weights=weights,
        cu_seqlens=torch.from_numpy(cu),
        max_seqlen=int(np.diff(cu[:-1]).max(initial=1)),
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
