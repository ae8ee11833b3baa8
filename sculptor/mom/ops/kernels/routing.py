# pyright: reportIndexIssue=false
"""`plan_rows` on a GPU: three launches and one small scan, whatever the number of memories."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.ops.kernels import routing_kernels as kernels
from sculptor.mom.ops.routing import RowPlan

BLOCK = 512
"""Tokens per program."""


def plan_rows(index: Tensor, *, cu_seqlens: Tensor, memories: int, shared: bool) -> RowPlan:
    """Return what `sculptor.mom.ops.routing.plan_rows` returns."""
    tokens, top_k = index.shape
    index = index.contiguous()
    sequences, slots = cu_seqlens.numel() - 1, top_k + int(shared)
    blocks, rows = -(-tokens // BLOCK), tokens * slots
    whole: dict[str, Any] = {"dtype": torch.int64, "device": index.device}
    counts = torch.empty(memories * blocks, **whole)
    kernels.count_kernel[(blocks,)](index, counts, tokens, blocks, M=memories, TOP=top_k, BT=BLOCK)
    base = functional.pad(counts.cumsum(0), (1, 0))
    row, token = torch.empty(tokens, slots, **whole), torch.empty(rows, **whole)
    memory = torch.empty(rows, **whole)
    kernels.place_kernel[(blocks,)](
        index, base, row, token, memory, tokens, blocks,
        M=memories, TOP=top_k, SHARED=int(shared), BT=BLOCK,
    )  # fmt: skip
    cu_rows = torch.full(((memories + int(shared)) * sequences + 1,), rows, **whole)
    if memories:
        kernels.bucket_kernel[(sequences, memories)](
            index, base, cu_seqlens, cu_rows, tokens, blocks, sequences, TOP=top_k, BT=BLOCK
        )
    if shared:
        cu_rows[memories * sequences : -1] = tokens * top_k + cu_seqlens[:-1]
    offsets = base[::blocks] if memories else base
    if shared:
        offsets = functional.pad(offsets, (0, 1), value=rows)
    return RowPlan(
        row=row, token=token, memory=memory, offsets=offsets.contiguous(), cu_rows=cu_rows
    )
