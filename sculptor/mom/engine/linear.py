"""A matrix laid out for both of its uses: many rows at once, and one row for each conversation.

What a conversation answers must not depend on who else is being served. A BLAS matrix product
sums in another order for another number of rows, so `Linear.each` never makes one: it takes tiles
of the matrix, each fitting the cache, and multiplies every tile with one vector at a time. Each
vector meets the same calls whether it came alone or with seven others, and the matrix is read
from memory once for all of them.

Writing is bound by reading weights, so int8 ones stay int8 in memory and become floats a tile at
a time, in the cache; their scales are applied to the products. Against fp32 weights that takes a
quarter of the memory and about a tenth less time a token.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sculptor.mom.engine.arrays import Array
from sculptor.mom.engine.weights import Weights
from sculptor.mom.engine.workers import Task, Workers

TILE = 98_304
"""Elements of a tile: 384 KiB in fp32."""


class Linear:
    """``x -> x @ weight.T * scale`` for ``weight [n, d]`` and ``scale [n]`` or None."""

    __slots__ = ("_dtype", "_scale", "_step", "_weight")

    def __init__(
        self, weight: NDArray[np.generic], *, scale: Array | None, dtype: np.dtype[np.floating]
    ) -> None:
        kept = np.ascontiguousarray(weight)
        self._weight: NDArray[Any] = kept.astype(dtype, copy=False) if scale is None else kept
        self._scale = None if scale is None else np.ascontiguousarray(scale, dtype=dtype)
        self._dtype = dtype
        width, inputs = weight.shape
        tiles = -(-width * inputs // TILE)
        self._step = max(1, -(-width // max(1, tiles)))

    @property
    def width(self) -> int:
        """How many numbers come out for a row."""
        return len(self._weight)

    def pick(self, index: NDArray[np.int64]) -> Array:
        """Return the weight's own rows ``[T, d]`` at ``index``."""
        rows = self._weight[index].astype(self._dtype, copy=False)
        if self._scale is not None:
            rows *= self._scale[index, None]
        return rows

    def rows(self, x: Array, *, workers: Workers) -> Array:
        """Return ``[T, n]`` for the rows of one conversation ``x [T, d]``."""
        out = np.empty((len(x), self.width), x.dtype)
        workers.run(self.tasks(x, out=out))
        return out

    def tasks(self, x: Array, *, out: Array) -> list[Task]:
        """Return what must be run to fill ``out [T, n]``, each task a tile of the matrix."""
        return [partial(self._fill, x, out, place) for place in self._places()]

    def each(self, x: Array) -> Array:
        """Return ``[B, n]`` for one row of each conversation; a row's result is its own alone."""
        out = np.empty((len(x), self.width), x.dtype)
        vectors, answers = x[:, :, None], out[:, :, None]
        for place in self._places():
            np.matmul(self._tile(place), vectors, out=answers[:, place])
        if self._scale is not None:
            out *= self._scale
        return out

    def _fill(self, x: Array, out: Array, place: slice) -> None:
        answers = out[:, place]
        np.matmul(x, self._tile(place).T, out=answers)
        if self._scale is not None:
            answers *= self._scale[place]

    def _places(self) -> Iterator[slice]:
        return (slice(begin, begin + self._step) for begin in range(0, self.width, self._step))

    def _tile(self, place: slice) -> Array:
        """Return some rows of the weight as floats."""
        tile: Array = self._weight[place]
        return tile.astype(self._dtype, copy=False)


class Loader:
    """Takes a layer's tensors out of the weights, by their names inside the layer."""

    def __init__(self, weights: Weights, *, dtype: np.dtype[np.floating], prefix: str = "") -> None:
        self._weights, self._dtype, self._prefix = weights, dtype, prefix

    def under(self, name: str) -> "Loader":
        """Return the loader of a layer inside this one."""
        return Loader(self._weights, dtype=self._dtype, prefix=f"{self._prefix}{name}.")

    def tensor(self, name: str) -> Array:
        """Return a tensor as floats."""
        return self._weights.tensor(self._prefix + name, dtype=self._dtype)

    def linear(self, *names: str) -> Linear:
        """Return matrices ``[n, d]``, one below the other, as one map."""
        parts = [self._weights.parts(self._prefix + name) for name in names]
        scales = [scale[:, 0] for _, scale in parts if scale is not None]
        return Linear(
            np.concatenate([matrix for matrix, _ in parts]),
            scale=np.concatenate(scales) if scales else None,
            dtype=self._dtype,
        )

    def linears(self, name: str) -> list[Linear]:
        """Return the maps of a stack of matrices ``[G, d, n]``."""
        stack, scale = self._weights.parts(self._prefix + name)
        return [
            Linear(matrix.T, scale=None if scale is None else scale[g, 0], dtype=self._dtype)
            for g, matrix in enumerate(stack)
        ]
