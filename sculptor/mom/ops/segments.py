"""Arithmetic on packed rows, all of it on the device.

A packed tensor holds the rows of ``S`` segments one after the other; ``cu_seqlens`` holds their
``S + 1`` offsets. A segment may carry a *tail*: the last ``width`` rows that came before it.
Nothing here reads a value on the host and every shape follows from the shapes of the arguments,
so whatever is built on these functions can stand in a CUDA graph.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Where each packed row lies: its segment ``[R]`` and its place in that segment ``[R]``."""

    segment: Tensor
    place: Tensor


def locate_rows(cu_seqlens: Tensor, *, rows: int) -> Rows:
    """Return segment and place of each of ``rows`` packed rows."""
    row = torch.arange(rows, device=cu_seqlens.device)
    segment = torch.searchsorted(cu_seqlens[1:].contiguous(), row, right=True)
    segment = segment.clamp(max=cu_seqlens.numel() - 2)
    return Rows(segment=segment, place=row - cu_seqlens[segment])


def with_tails(x: Tensor, tails: Tensor) -> Tensor:
    """Put the rows of all tails before the rows of ``x``: the space that history indices mean."""
    return torch.cat([tails.flatten(0, 1).to(x.dtype), x])


def earlier_rows(at: Rows, *, shift: int, segments: int, width: int) -> Tensor:
    """Return, for each row, the index of the row ``shift <= width`` earlier in its own history.

    The index is into `with_tails`; a history that does not reach back inside the segment
    continues in the segment's tail, never in the rows of a neighbour.
    """
    row = torch.arange(at.place.numel(), device=at.place.device)
    inside = segments * width + row - shift
    before = at.segment * width + width + at.place - shift
    return torch.where(at.place >= shift, inside, before)


def last_rows(cu_seqlens: Tensor, *, width: int) -> Tensor:
    """Return the indices ``[S, width]``, into `with_tails`, of each segment's new tail.

    A segment shorter than ``width`` keeps the end of its old tail; an empty one keeps all of it.
    """
    segments = cu_seqlens.numel() - 1
    place = cu_seqlens.diff().unsqueeze(1) - width
    place = place + torch.arange(width, device=cu_seqlens.device)
    inside = segments * width + cu_seqlens[:-1].unsqueeze(1) + place
    segment = torch.arange(segments, device=cu_seqlens.device).unsqueeze(1)
    return torch.where(place >= 0, inside, segment * width + width + place)
