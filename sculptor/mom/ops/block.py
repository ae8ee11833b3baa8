"""Norm and gate of a block in plain PyTorch; on a GPU with Triton, the kernels that do the same."""

from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.ops.naive import accumulator_dtype


def rms_norm(x: Tensor, *, weight: Tensor, eps: float) -> Tensor:
    """Return ``x [N, D]`` by its root mean square, times ``weight [D]``.

    Computed in at least fp32, returned in the dtype of ``x``.
    """
    if runs_kernels(x):
        from sculptor.mom.ops.kernels import block

        return block.rms_norm(x, weight=weight, eps=eps)
    dtype = accumulator_dtype(x)
    return functional.rms_norm(x.to(dtype), weight.shape, weight.to(dtype), eps).to(x.dtype)


def swiglu(x: Tensor) -> Tensor:
    """Return ``silu(x[:, :W]) * x[:, W:]`` for ``x [N, 2 W]`` (arXiv 2002.05202)."""
    if runs_kernels(x):
        from sculptor.mom.ops.kernels import block

        return block.swiglu(x)
    gate, up = x.chunk(2, dim=-1)
    return functional.silu(gate) * up


def runs_kernels(x: Tensor) -> bool:
    """Whether ``x`` holds rows on a GPU that the kernels take, and Triton is there."""
    return x.is_cuda and x.dtype != torch.float64 and x.shape[0] > 0 and _has_triton()


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None
