"""Batches on their way to the model: drawn ahead in worker processes, in order, by number.

A process of several takes every ``world``-th example of the global batch, so the examples of a
step are the same however many processes share them.
"""

import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sculptor.mom.models.packing import Packed, pack_batch
from sculptor.mom.recipes.lifeline import live_with
from sculptor.mom.recipes.tasks import Batch, Stream, Task, draw

_TOKENS_PER_DOCUMENT, _TOKENS_PER_ASKED = 192, 4
"""What a levelled batch has room for: documents and rows with weight, by its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBatch:
    """A batch as tensors: ``tokens [B, T]``, ``targets`` and ``weights [B * T]``.

    ``asked`` are the rows with a weight above zero. Documents come packed, ``tokens [N]`` with
    ``cu_seqlens``, padding behind them as a last one.
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    asked: Tensor
    cu_seqlens: Tensor | None = None
    max_seqlen: int = 0

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors in a fixed order."""
        own = (self.tokens, self.targets, self.weights, self.asked)
        return own if self.cu_seqlens is None else (*own, self.cu_seqlens)

    def map(self, change: Callable[[Tensor], Tensor]) -> "TensorBatch":
        """Return the batch with every tensor changed."""
        tokens, targets, weights, asked, *cu = map(change, self.tensors())
        return TensorBatch(
            tokens=tokens,
            targets=targets,
            weights=weights,
            asked=asked,
            cu_seqlens=cu[0] if cu else None,
            max_seqlen=self.max_seqlen,
        )

    def fits(self, other: "TensorBatch") -> bool:
        """Whether all tensors have the shapes of another's, and no document is longer."""
        shapes = [[x.shape for x in batch.tensors()] for batch in (self, other)]
        return shapes[0] == shapes[1] and self.max_seqlen <= other.max_seqlen

    def levelled(self) -> "TensorBatch":
        """Return packed documents in shapes that follow from the token count, if they fit these.

        Empty documents and rows without weight fill up, so that step after step is alike.
        """
        rows = self.tokens.numel()
        documents, asked = rows // _TOKENS_PER_DOCUMENT, rows // _TOKENS_PER_ASKED
        if self.cu_seqlens is None or self.asked.numel() > asked:
            return self
        missing = documents + 1 - self.cu_seqlens.numel()
        if missing < 0:
            return self
        cu = self.cu_seqlens
        # Different ones: gradients of one row would be added one after the other.
        idle = self.weights.argsort()[: asked - self.asked.numel()]
        return replace(
            self,
            asked=torch.cat([self.asked, idle]),
            cu_seqlens=torch.cat([cu[:-1], cu[-2].expand(missing), cu[-1:]]),
            max_seqlen=rows,
        )

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
        return self.map(lambda x: x.to(device, non_blocking=True))


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
            share=self._share,
        )
        if batch.starts is not None and batch.real is not None:
            return _packed(batch, starts=batch.starts, real=batch.real)
        weights = torch.from_numpy(batch.weights).flatten()
        return TensorBatch(
            tokens=torch.from_numpy(batch.tokens),
            targets=torch.from_numpy(batch.targets).flatten(),
            weights=weights,
            asked=weights.nonzero().flatten(),
        )


def _packed(batch: Batch, *, starts: NDArray[np.bool_], real: NDArray[np.bool_]) -> TensorBatch:
    """Return the documents of the rows one after the other, the padding of all at the end."""
    is_real = real.ravel()
    order = np.argsort(~is_real, kind="stable")
    tokens, targets, weights = (
        torch.from_numpy(rows.ravel()[order])
        for rows in (batch.tokens, batch.targets, batch.weights)
    )
    begins = np.flatnonzero(starts.ravel()[order])
    cu = np.concatenate([begins, [is_real.sum(), is_real.size]])
    return TensorBatch(
        tokens=tokens,
        targets=targets,
        weights=weights,
        asked=weights.nonzero().flatten(),
        cu_seqlens=torch.from_numpy(cu),
        max_seqlen=int(np.diff(cu[:-1]).max(initial=1)),
    )


def iter_batches(batches: Batches, *, first: int, end: int, workers: int) -> Generator[TensorBatch]:
    """Yield batches ``first`` to ``end - 1`` in order, made by ``workers`` processes or here."""
    if workers == 0:
        yield from (batches[i] for i in range(first, end))
        return
    # A process that was born without a GPU's context forks the workers: each begins at once,
    # where a fresh interpreter would import torch first, one worker after the other. What it
    # imports before is settled by the first call of this process.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, type(batches._task).__module__])
    ours, theirs = context.Pipe()
    loader: DataLoader[TensorBatch] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, end),
        num_workers=workers,
        prefetch_factor=4,
        multiprocessing_context=context,
        worker_init_fn=partial(_begin_worker, theirs),
        pin_memory=torch.cuda.is_available(),
    )
    try:
        yield from loader
    finally:
        ours.close()


def _begin_worker(pipe: Connection, worker: int) -> None:
    """Tie a worker to the process it draws for, and leave signals to that one.

    Torch's own watch looks at the parent, which is the server here; an interrupt from the keyboard,
    and what `timeout` and a service manager send, reaches the whole group.
    """
    del worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    live_with(pipe)
