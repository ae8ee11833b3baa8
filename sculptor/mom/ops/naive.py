"""The delta-rule family one token at a time: the law for every faster form.

Rows are packed: ``cu_seqlens`` holds the ``S + 1`` offsets of ``S`` segments, empty ones allowed.
Arithmetic runs in at least fp32. The loop reads offsets on the host, so it is for tests and for
one-token steps only.
"""

import torch
from torch import Tensor


def accumulator_dtype(x: Tensor) -> torch.dtype:
    """Return fp64 for fp64 input and fp32 for everything else."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def naive_step(
    state: Tensor,
    *,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor,
    scale: float,
    erase: bool,
) -> tuple[Tensor, Tensor]:
    """Take in one token and read: return ``o [..., H, V]`` and the new state.

    ``state [..., H, K, V]``, ``q k [..., H, K]``, ``v [..., H, V]``, ``beta [..., H]``;
    ``g`` is the log-decay, ``[..., H]`` or ``[..., H, K]``, or None for no decay.
    """
    if g is not None:
        state = state * _as_rows(g, k).exp().unsqueeze(-1)
    error = v - torch.einsum("...k,...kv->...v", k, state) if erase else v
    state = state + torch.einsum("...k,...v->...kv", k, beta.unsqueeze(-1) * error)
    return scale * torch.einsum("...k,...kv->...v", q, state), state


def naive_delta_rule(
    *,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor,
    cu_seqlens: Tensor,
    initial_state: Tensor,
    scale: float,
    erase: bool,
) -> tuple[Tensor, Tensor]:
    """Run the rule over packed rows: return ``o [R, H, V]`` and the final states ``[S, H, K, V]``.

    ``q k [R, H, K]``, ``v [R, H, V]``, ``g [R, H]`` or ``[R, H, K]`` or None, ``beta [R, H]``.
    An empty segment hands its initial state on untouched.
    """
    dtype = accumulator_dtype(q)
    q, k, v, beta = (x.to(dtype) for x in (q, k, v, beta))
    decay = None if g is None else g.to(dtype)
    offsets = cu_seqlens.tolist()
    outputs, finals = [v[:0]], []
    for segment, state in enumerate(initial_state.to(dtype).unbind()):
        for t in range(offsets[segment], offsets[segment + 1]):
            o, state = naive_step(
                state,
                q=q[t],
                k=k[t],
                v=v[t],
                g=None if decay is None else decay[t],
                beta=beta[t],
                scale=scale,
                erase=erase,
            )
            outputs.append(o.unsqueeze(0))
        finals.append(state)
    return torch.cat(outputs), torch.stack(finals)


def _as_rows(g: Tensor, k: Tensor) -> Tensor:
    return g if g.dim() == k.dim() else g.unsqueeze(-1).expand_as(k)
