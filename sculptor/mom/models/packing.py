"""Batches as packed tokens.

A padded batch is packed by moving its padding, wherever it stands, behind the last sequence, as
one more sequence that nobody reads. So every layer sees packed tokens only, and padding can touch
neither a state nor an output. Shapes follow from shapes: the device is never waited for.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """``tokens [N]`` and their ``cu_seqlens``; ``spare`` says the last sequence is padding.

    ``max_seqlen`` bounds every sequence that is read. ``row [B, T]`` is where each place of a
    padded batch went, None for a batch that came packed.
    """

    tokens: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    spare: bool = False
    row: Tensor | None = None

    @property
    def valid(self) -> Tensor | None:
        """Which packed tokens are real ``[N]``; None for all."""
        if not self.spare:
            return None
        place = torch.arange(self.tokens.numel(), device=self.tokens.device)
        return place < self.cu_seqlens[-2]


def pack_batch(tokens: Tensor, *, mask: Tensor | None = None) -> Packed:
    """Pack ``tokens [B, T]``; ``mask [B, T]`` is true where a token is real."""
    batch, length = tokens.shape
    device = tokens.device
    if mask is None:
        row = torch.arange(batch * length, device=device).view(batch, length)
        cu = torch.arange(batch + 1, device=device) * length
        return Packed(tokens=tokens.flatten(), cu_seqlens=cu, max_seqlen=length, row=row)
    real = mask.to(torch.bool).flatten()
    before = real.cumsum(0) - real.long()
    total = real.sum()
    padding = total + (~real).cumsum(0) - 1
    row = torch.where(real, before, padding)
    cu = functional.pad(real.view(batch, length).sum(1).cumsum(0), (1, 1))
    cu = cu + functional.pad(torch.full_like(total, batch * length).view(1), (batch + 1, 0))
    return Packed(
        tokens=torch.empty_like(tokens.flatten()).scatter(0, row, tokens.flatten()),
        cu_seqlens=cu,
        max_seqlen=length,
        spare=True,
        row=row.view(batch, length),
    )


def pack_documents(tokens: Tensor, *, cu_seqlens: Tensor, max_seqlen: int | None = None) -> Packed:
    """Wrap ``tokens [N]`` that are packed already; ``cu_seqlens`` goes from 0 to N."""
    return Packed(
        tokens=tokens,
        cu_seqlens=cu_seqlens.to(torch.int64),
        max_seqlen=tokens.numel() if max_seqlen is None else max_seqlen,
    )
