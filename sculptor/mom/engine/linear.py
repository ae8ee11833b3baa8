"""A matrix laid out for both of its uses: many rows at once, and one row for each conversation.

What a conversation answers must not depend on who else is being served. A BLAS matrix product
sums in another order for another number of rows, so `Linear.each` never makes one: it takes small
tiles of the matrix, each fitting the cache, and multiplies every tile with one vector at a time.
Each vector meets the same calls whether it came alone or with seven others, and the matrix is
read from memory once for all of them. Tiles are also too small for BLAS to split over threads.
"""

import numpy as np

from sculptor.mom.engine.arrays import Array

TILE = 24_576
"""Elements of a tile: 96 KiB in fp32."""


class Linear:
    """``x -> x @ weight.T`` for ``weight [n, d]``."""

    __slots__ = ("_tiles", "matrix", "width")

    def __init__(self, weight: Array) -> None:
        self.width, inputs = weight.shape
        rows = max(1, min(TILE // max(1, inputs), self.width))
        count = -(-self.width // rows)
        padded = np.zeros((count * rows, inputs), weight.dtype)
        padded[: self.width] = weight
        self.matrix: Array = padded[: self.width]
        self._tiles = padded.reshape(count, 1, rows, inputs)

    def rows(self, x: Array) -> Array:
        """Return ``[T, n]`` for the rows of one conversation ``x [T, d]``."""
        out: Array = x @ self.matrix.T
        return out

    def each(self, x: Array) -> Array:
        """Return ``[B, n]`` for one row of each conversation; a row's result is its own alone."""
        answers: Array = np.matmul(self._tiles, x[None, :, :, None])
        return answers.transpose(1, 0, 2, 3).reshape(x.shape[0], -1)[:, : self.width]
