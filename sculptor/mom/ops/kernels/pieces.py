"""Where chunks and pieces lie, and how states go from piece to piece.

The pass over the states is serial, so a few long segments would leave most of a card idle. They
are cut into *pieces*, each an affine map ``S -> map S + rest`` of its own; the maps are joined
first, then all pieces run at once. Without a cut a piece is a segment. Every count follows from
shapes, so nothing waits for the device.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from sculptor.mom.ops.kernels.launches import MULTIPROCESSORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Segments cut into items of at most ``size`` rows; items past the last one are empty.

    ``begin end [n]`` are the rows of an item, ``segment [n]`` where it belongs; ``first count
    [S]`` are the items of a segment.
    """

    begin: Tensor
    end: Tensor
    segment: Tensor
    first: Tensor
    count: Tensor

    @classmethod
    def of(cls, cu_seqlens: Tensor, *, rows: int, size: int) -> Self:
        """Cut the segments of ``rows`` packed rows."""
        segments = cu_seqlens.numel() - 1
        count = (cu_seqlens.diff() + size - 1) // size
        end = count.cumsum(0)
        first = end - count
        item = torch.arange(rows // size + segments, device=cu_seqlens.device)
        segment = torch.searchsorted(end, item, right=True).clamp(max=segments - 1)
        begin = cu_seqlens[segment] + (item - first[segment]) * size
        last = torch.minimum(begin + size, cu_seqlens[segment + 1])
        return cls(begin=begin, end=last.maximum(begin), segment=segment, first=first, count=count)


def piece_rows(*, rows: int, longest: int, programs: int, chunk: int) -> int:
    """Return how many rows a piece should have, 0 for whole segments.

    ``programs`` is how many would run without a cut. Cutting triples the arithmetic of the pass,
    so it is done only where a card would stand idle: few programs, one of them very long.
    """
    enough, long = 4 * MULTIPROCESSORS, 128 * chunk
    return 64 * chunk if programs < enough and min(longest, rows) >= long else 0


def join(
    step_map: Tensor, rest: Tensor, *, state: Tensor, cut: Cut, steps: int, back: bool
) -> Tensor:
    """Return the state ``[n, H, K, V]`` that each piece begins with, coming from ``state``.

    ``step_map [n, H, K, K]`` and ``rest [n, H, K, V]`` are the pieces' affine maps; ``back`` goes
    from the last piece of a segment to the first, ``steps`` is the most pieces one can have.
    """
    items = rest.shape[0]
    # Pieces that hold no rows are read too, so what they begin with must be numbers.
    met = rest.new_zeros(items + 1, *rest.shape[1:])
    for step in reversed(range(steps)) if back else range(steps):
        live = step < cut.count
        item = (cut.first + step).clamp(max=items - 1)
        met.index_copy_(0, torch.where(live, item, items), state)
        moved = step_map[item] @ state + rest[item]
        state = torch.where(live.view(-1, 1, 1, 1), moved, state)
    return met[:items]
