# mypy: disallow-untyped-calls=False
# pyright: reportIndexIssue=false
"""The gates of the gated delta rule on a GPU: as plain PyTorch they are thirty small launches."""

from typing import Any

import torch
from torch import Tensor
from triton import next_power_of_2

from sculptor.mom.ops.kernels import gate_kernels as kernels
from sculptor.mom.ops.kernels.sums import sum_parts

_TILE = 1024
"""Gates per program."""


def head_gates(
    rest: Tensor, *, a_log: Tensor, dt_bias: Tensor, beta_max: float, writes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return log-decay and write strength ``[R, H]`` of rows, in fp32.

    ``rest [R, 2 H]`` are their raw write strengths, then their raw gates; ``a_log dt_bias [H]``.
    ``writes [R]`` is zero where a row only reads, or None where all write.
    """
    if rest.stride(1) != 1:
        rest = rest.contiguous()
    writes = None if writes is None else writes.float().contiguous()
    g, beta = _HeadGates.apply(
        rest, a_log.float().contiguous(), dt_bias.float().contiguous(), beta_max, writes
    )
    return g, beta


class _HeadGates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rest: Tensor,
        a_log: Tensor,
        dt_bias: Tensor,
        beta_max: float,
        writes: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        g, beta = (a_log.new_empty(rest.shape[0], a_log.numel()) for _ in range(2))
        programs, sizes = _launch(rest, a_log)
        kernels.head_gates_kernel[(programs,)](
            rest, a_log, dt_bias, writes, g, beta, rest.shape[0], beta_max, **sizes
        )
        ctx.save_for_backward(rest, a_log, dt_bias, writes)
        ctx.beta_max = beta_max
        return g, beta

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rest, a_log, dt_bias, writes = ctx.saved_tensors
        dg, dbeta = (x.contiguous() for x in gradients)
        programs, sizes = _launch(rest, a_log)
        drest = rest.new_empty(rest.shape)
        parts = a_log.new_empty(programs, 2, a_log.numel())
        kernels.head_gates_gradient_kernel[(programs,)](
            rest, a_log, dt_bias, writes, dg, dbeta, drest, parts, rest.shape[0], ctx.beta_max,
            **sizes,
        )  # fmt: skip
        da_log, ddt_bias = sum_parts(parts)
        return drest, da_log, ddt_bias, None, None


def _launch(rest: Tensor, a_log: Tensor) -> tuple[int, dict[str, int]]:
    heads = a_log.numel()
    padded = next_power_of_2(heads)
    tile = max(1, _TILE // padded)
    sizes = {"H": heads, "HP": padded, "STRIDE": rest.stride(0), "BT": tile}
    return -(-rest.shape[0] // tile), sizes
