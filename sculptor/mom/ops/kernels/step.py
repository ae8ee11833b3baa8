# pyright: reportIndexIssue=false
"""The decode step's two heavy parts on a GPU; neither waits for the router on the host."""

import torch
from torch import Tensor

from sculptor.mom.ops.kernels import step_kernels as kernels


def picked_linear(x: Tensor, *, weight: Tensor, memory: Tensor) -> Tensor:
    """Return ``[S * slots, C]``: ``x[s] @ weight[memory[s, slot]]``; ``memory [S, slots]``."""
    inner, columns = weight.shape[1:]
    y = torch.empty(memory.numel(), columns, dtype=x.dtype, device=x.device)
    kernels.picked_linear_kernel[(memory.numel(), -(-columns // 32))](
        x.contiguous(), weight, memory.contiguous(), y, memory.shape[1],
        D=inner, C=columns, BD=256, BN=32,
    )  # fmt: skip
    return y


def state_step(
    state: Tensor,
    *,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor,
    memory: Tensor,
    scale: float,
) -> Tensor:
    """Step the picked states of ``state [S, G, H, K, V]`` in place: return ``o`` in fp32.

    ``q k [R, H, K]``, ``v o [R, H, V]``, ``g beta [R, H]`` (``g`` None for no decay) for the ``R``
    rows of ``memory [S, slots]``; a sequence's picks must differ.
    """
    rows, heads, key_dim = k.shape
    decay = torch.zeros_like(beta) if g is None else g
    value_dim = v.shape[2]
    tile = min(value_dim, 32)
    o = torch.empty(rows, heads, value_dim, dtype=torch.float32, device=v.device)
    kernels.state_step_kernel[(rows, heads, value_dim // tile)](
        q.contiguous(), k.contiguous(), v.contiguous(), decay.contiguous(), beta.contiguous(),
        memory.contiguous(), state, o, memory.shape[1], scale,
        G=state.shape[1], H=heads, K=key_dim, V=value_dim, BV=tile,
    )  # fmt: skip
    return o
