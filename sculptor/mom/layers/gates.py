"""How much a memory forgets at each row, and how strongly the row is written, by update rule.

Log-decays are ``[R, H]``, or ``[R, H, K]`` where each channel has its own, in at least fp32.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.ops.naive import accumulator_dtype

GLA_RANK = 16
GLA_TEMPERATURE = 16.0


def gate_widths(config: MixerConfig) -> tuple[int, int]:
    """Return how many columns of a memory's projection are raw write strengths, and raw gates."""
    decays = {"none": 0, "constant": 0, "head": config.heads, "channel": GLA_RANK}
    return config.heads if config.rule.learns_beta else 0, decays[config.rule.decay]


def constant_decay(gate: Tensor, *, heads: int) -> Tensor:
    """Return the log-decay that RetNet gives each head, for as many rows as ``gate`` has."""
    power = torch.arange(heads, device=gate.device, dtype=accumulator_dtype(gate))
    return torch.log1p(-torch.exp2(-5.0 - power)).expand(gate.shape[0], heads)


def head_decay(gate: Tensor, *, a_log: Tensor, dt_bias: Tensor) -> Tensor:
    """Return the log-decay of each head from raw gates ``[R, H]``: a rate over a learned time."""
    dtype = accumulator_dtype(gate)
    step = functional.softplus(gate.to(dtype) + dt_bias.to(dtype))
    return -a_log.to(dtype).exp() * step


def channel_decay(gate: Tensor, *, up: Tensor, bias: Tensor, memory: Tensor) -> Tensor:
    """Return the log-decay ``[R, H * K]`` of each channel from raw gates ``[R, GLA_RANK]``.

    ``up [G, GLA_RANK, H * K]`` widens the gate of a row by the memory ``[R]`` it went to.
    """
    dtype = accumulator_dtype(gate)
    every = torch.einsum("rd,gdc->rgc", gate.to(dtype), up.to(dtype))
    raw = every[torch.arange(gate.shape[0], device=gate.device), memory]
    return functional.logsigmoid(raw + bias.to(dtype)) / GLA_TEMPERATURE


def write_strength(config: MixerConfig, raw: Tensor, *, rows: Tensor) -> Tensor:
    """Return ``beta [R, H]`` in at least fp32; one where the rule does not learn it."""
    dtype = accumulator_dtype(rows)
    if config.rule.learns_beta:
        return config.beta_max * raw.to(dtype).sigmoid()
    return torch.ones(rows.shape[0], config.heads, dtype=dtype, device=rows.device)


@torch.no_grad()
def draw_head_decay(a_log: Tensor, dt_bias: Tensor) -> None:
    """Draw rates from 0.001 to 16 and log-uniform time steps from 0.001 to 0.1, as published."""
    a_log.uniform_(1e-3, 16.0).log_()
    step = torch.empty_like(dt_bias).uniform_(math.log(1e-3), math.log(1e-1)).exp_()
    dt_bias.copy_(step + torch.log(-torch.expm1(-step.clamp(min=1e-4))))
