# pyright: reportIndexIssue=false
"""The decode step's heavy parts on a GPU; none waits for the router on the host."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sculptor.mom.ops.heads import L2_EPS
from sculptor.mom.ops.kernels import step_kernels as kernels


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRows:
    """What `state_step` takes, in fp32: ``q k [R, H, K]``, ``v [R, H, V]``, ``g beta [R, H]``."""

    q: Tensor
    k: Tensor
    v: Tensor
    g: Tensor
    beta: Tensor


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


def step_rows(
    token: Tensor,
    *,
    rows: Tensor,
    memory: Tensor,
    writes: Tensor | None,
    convs: Sequence[Tensor],
    tails: Sequence[Tensor],
    decay: tuple[Tensor, Tensor] | None,
    heads: int,
    key_dim: int,
    value_dim: int,
    beta_max: float,
) -> StepRows:
    """Convolve, activate and norm one row per pick of ``memory [S, slots]``; change ``tails``.

    ``token [S, H * K]`` is q, ``rows [R, C]`` hold k, v, beta and, with ``decay = (a_log,
    dt_bias)``, the decay. ``convs`` and ``tails [S, G, W - 1, .]`` are those of q, k, v, or none;
    ``writes [R]`` is zero where a row only reads.
    """
    count, unused = memory.numel(), rows
    single: dict[str, Any] = {"dtype": torch.float32, "device": rows.device}
    q, k = (torch.empty(count, heads, key_dim, **single) for _ in range(2))
    v = torch.empty(count, heads, value_dim, **single)
    g, beta = (torch.empty(count, heads, **single) for _ in range(2))
    weights = [w.float().contiguous() for w in convs] or [unused] * 3
    a_log, dt_bias = decay or (unused, unused)
    kernels.step_rows_kernel[(count, heads)](
        token.contiguous(), rows.contiguous(), memory.contiguous(),
        unused if writes is None else writes.contiguous(), *weights, *(tails or [unused] * 3),
        a_log, dt_bias, q, k, v, g, beta, memory.shape[1], beta_max,
        G=tails[0].shape[1] if tails else 1, H=heads, K=key_dim, V=value_dim, C=rows.shape[1],
        W=convs[0].shape[1] if convs else 1, DECAYS=decay is not None,
        SOME_READ=writes is not None, EPS=L2_EPS, num_warps=1,
    )  # fmt: skip
    return StepRows(q=q, k=k, v=v, g=g, beta=beta)
