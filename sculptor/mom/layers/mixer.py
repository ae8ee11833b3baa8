"""The Mixture-of-Memories token mixer (arXiv 2502.13685).

A router picks ``top_k`` of ``memories`` recurrent states for each token; only those, and the
shared one, are written and read. The layer works on packed tokens and carries a state of constant
size: continuing from it with any number of tokens, none included, equals one pass.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sculptor.mom.layers import forms, gates
from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.tensors import TensorRecord
from sculptor.mom.ops.heads import Heads, unit_heads
from sculptor.mom.ops.naive import accumulator_dtype
from sculptor.mom.ops.routing import Route, RowPlan, route, route_by_key

Backend = Literal["auto", "torch", "triton"]

_KEYED_SPREAD = 4.0
"""Spread of a keyed router's logits at the start."""

PROVEN_WIDTHS = {16, 32, 64, 128, 256}
"""Widths of a head's keys and values at which the kernels were compared on a card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerState(TensorRecord):
    """What ``S`` sequences carry through one mixer.

    ``memories [S, G, H, K, V]`` in at least fp32. ``tails``: with the convolution before routing
    one tensor ``[S, W - 1, d]``; inside the memories three, for q, k and v,
    ``[S, G, W - 1, channels]``. All raw rows, oldest first.
    """

    memories: Tensor
    tails: tuple[Tensor, ...]


class Mixer(nn.Module):
    """Route, write, read, mix, gate and project: ``x [N, d]`` to ``y [N, d]``."""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.config = config
        self.backend: Backend = "auto"
        c, rule = config, config.rule
        self.sections = [c.key_width, c.value_width, *gates.gate_widths(c)]
        judged = c.key_width if c.read == "keyed" else c.d_model
        self.router = nn.Parameter(torch.empty(c.memories, judged))
        self.query = nn.Parameter(torch.empty(c.key_width, c.d_model))
        self.memory = nn.Parameter(torch.empty(c.groups, c.d_model, sum(self.sections)))
        self.gate = nn.Parameter(torch.empty(c.value_width, c.d_model))
        self.out = nn.Parameter(torch.empty(c.d_model, c.value_width))
        self.norm = nn.Parameter(torch.empty(c.value_dim))
        channels = (c.d_model,) if c.conv == "before" else (c.key_width,) * 2 + (c.value_width,)
        self.convs = nn.ParameterList(torch.empty(n, c.conv_width) for n in channels)
        if rule.decay == "head":
            self.a_log = nn.Parameter(torch.empty(c.heads))
            self.dt_bias = nn.Parameter(torch.empty(c.heads))
        if rule.decay == "channel":
            self.gate_up = nn.Parameter(torch.empty(c.groups, gates.GLA_RANK, c.key_width))
            self.gate_bias = nn.Parameter(torch.empty(c.key_width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights as published: Xavier with gain 2^-2.5, log-uniform time steps."""
        gain = 2**-2.5
        for weight in (self.router, self.query, self.gate, self.out):
            _xavier(weight, gain)
        for group in self.memory:
            for section in torch.split(group, self.sections, dim=1):
                _xavier(section, gain)
        if self.config.read == "keyed":
            # Of keys, which have length one in each head: sharp enough to tell them apart at once.
            nn.init.normal_(self.router, std=_KEYED_SPREAD * self.config.heads**-0.5)
        self.norm.fill_(1.0)
        for conv in self.convs:
            nn.init.uniform_(conv, -(conv.shape[1] ** -0.5), conv.shape[1] ** -0.5)
        if self.config.rule.decay == "head":
            gates.draw_head_decay(self.a_log, self.dt_bias)
        if self.config.rule.decay == "channel":
            for group in self.gate_up:
                _xavier(group, gain)
            self.gate_bias.zero_()

    def new_state(self, sequences: int) -> MixerState:
        """Return the empty state of ``sequences`` sequences, on the weights' device."""
        c = self.config
        zero = torch.zeros((), device=self.norm.device, dtype=accumulator_dtype(self.norm))
        memories = zero.new_zeros(sequences, c.groups, c.heads, c.key_dim, c.value_dim)
        lead = [sequences] if c.conv == "before" else [sequences, c.groups]
        tails = (zero.new_zeros([*lead, w.shape[1] - 1, w.shape[0]]) for w in self.convs)
        return MixerState(memories=memories, tails=tuple(tails))

    def forward(
        self,
        x: Tensor,
        *,
        cu_seqlens: Tensor,
        state: MixerState,
        max_seqlen: int | None = None,
        fresh: bool = False,
        carries: bool = True,
    ) -> tuple[Tensor, MixerState, Route]:
        """Mix ``x [N, d]``, the packed tokens of as many sequences as ``state`` holds.

        ``cu_seqlens [S + 1]`` are their offsets; ``max_seqlen`` bounds the longest. ``fresh``
        promises that ``state`` is empty and saves work; so does ``carries=False``, where nobody
        goes on from the state: it is returned as it came.
        """
        c, kernels = self.config, self.uses_kernels(x)
        tails: list[Tensor] = []
        if c.conv == "before":
            x, tail = forms.convolve(
                x,
                weight=self.convs[0],
                tails=state.tails[0],
                cu_seqlens=cu_seqlens,
                kernels=kernels,
            )
            tails.append(tail)
        chosen, x = self.pick(x)
        plan = forms.make_plan(c, self._read(chosen), cu_seqlens=cu_seqlens, kernels=kernels)
        held = () if c.conv == "before" else state.tails
        z, x = forms.linear(x, weight=self.gate, kernels=kernels)
        made, rest = self._make_heads(x, plan, tails=held, carries=carries)
        tails += [forms.from_buckets(tail, groups=c.groups) for tail in made.tails]
        g, beta = self._gates(rest, made=made, plan=plan, writes=self._writes(chosen, plan))
        o, memories = forms.run_rule(
            c,
            made,
            g=g,
            beta=beta,
            cu_seqlens=plan.cu_rows,
            state=state.memories,
            fresh=fresh,
            carries=carries,
            max_seqlen=max_seqlen,
            kernels=kernels,
        )
        y = forms.mix(
            c,
            o,
            weights=self.mix_weights(chosen),
            plan=plan,
            z=torch.unflatten(z, 1, (c.heads, c.value_dim)),
            norm=self.norm,
            kernels=kernels,
        )
        y = functional.linear(y.flatten(1), self.out.to(x.dtype))
        if memories is None:
            return y, state, chosen
        return y, MixerState(memories=memories, tails=tuple(tails)), chosen

    def pick(self, x: Tensor) -> tuple[Route, Tensor]:
        """Return where tokens ``x [N, d]`` go; convolved ones where that is done before routing.

        The second is ``x`` handed through: with kernels, gradients of its later uses are added to
        the router's in one pass (`sculptor.mom.ops.kernels.route`).
        """
        c = self.config
        if c.read == "keyed":
            projections = self.memory[-1, :, : c.key_width].t(), self.query
            pair = (self.normed(functional.linear(x, w.to(x.dtype))) for w in projections)
            key, query = (item.flatten(1) for item in pair)
            return route_by_key(key, query, weight=self.router, top_k=c.top_k), x
        if self.uses_kernels(x):
            from sculptor.mom.ops.kernels import route as kernels

            return kernels.route(x, weight=self.router, top_k=c.top_k)
        return route(x, weight=self.router, top_k=c.top_k), x

    def uses_kernels(self, x: Tensor) -> bool:
        """Whether the Triton form runs on ``x``: asked for, or a GPU tensor with Triton there.

        By itself it runs heads of `PROVEN_WIDTHS` alone: what the assembler makes of a width is
        only known once a card has run it (`kernels.launches.chunk_rows`).
        """
        if self.backend == "auto":
            proven = {self.config.key_dim, self.config.value_dim} <= PROVEN_WIDTHS
            return x.is_cuda and proven and find_spec("triton") is not None
        return self.backend == "triton"

    def log_decay(self, gate: Tensor, *, memory: Tensor, writes: Tensor | None) -> Tensor | None:
        """Return the log-decay of each row, ``[R, H]`` or ``[R, H, K]``, or None for no decay.

        ``gate [R, ...]`` is the rows' raw projection, ``memory [R]`` where they went,
        ``writes [R]`` zero where a row only reads.
        """
        c = self.config
        match c.rule.decay:
            case "none":
                return None
            case "constant":
                g = gates.constant_decay(gate, heads=c.heads)
            case "head":
                g = gates.head_decay(gate, a_log=self.a_log, dt_bias=self.dt_bias)
            case _:
                g = gates.channel_decay(gate, up=self.gate_up, bias=self.gate_bias, memory=memory)
                g = torch.unflatten(g, 1, (c.heads, c.key_dim))
        return g if writes is None else g * writes.view(-1, *[1] * (g.dim() - 1))

    def write_strength(self, raw: Tensor, *, rows: Tensor, writes: Tensor | None) -> Tensor:
        """Return ``beta [R, H]`` in at least fp32; one where the rule does not learn it."""
        beta = gates.write_strength(self.config, raw, rows=rows)
        return beta if writes is None else beta * writes.unsqueeze(1)

    def _gates(
        self, rest: Tensor, *, made: Heads, plan: RowPlan, writes: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """Return log-decay and write strength of rows from their raw columns ``rest [R, X]``."""
        rule = self.config.rule
        if self.uses_kernels(rest) and rule.decay == "head" and rule.learns_beta and len(rest):
            from sculptor.mom.ops.kernels.gates import head_gates

            return head_gates(
                rest,
                a_log=self.a_log,
                dt_bias=self.dt_bias,
                beta_max=self.config.beta_max,
                writes=writes,
            )
        beta, gate = torch.split(rest, self.sections[2:], dim=1)
        return (
            self.log_decay(gate, memory=plan.memory, writes=writes),
            self.write_strength(beta, rows=made.v, writes=writes),
        )

    def _read(self, chosen: Route) -> Tensor:
        """Return the routed memories that each token reads, ``[N, top_k]`` or every one."""
        index, memories = chosen.index, self.config.memories
        if not self.config.reads_all:
            return index
        return torch.arange(memories, device=index.device).expand(index.shape[0], memories)

    def _writes(self, chosen: Route, plan: RowPlan) -> Tensor | None:
        if not self.config.reads_all:
            return None
        picked = torch.zeros_like(chosen.probabilities).scatter(1, chosen.index, 1.0)
        if self.config.shared:
            picked = functional.pad(picked, (0, 1), value=1.0)
        return picked[plan.token, plan.memory]

    def mix_weights(self, chosen: Route) -> Tensor:
        """Return the weight of each row of a token ``[N, slots]``; the shared memory's is one."""
        dense = self.config.read == "dense"
        weights = chosen.probabilities if dense else chosen.weights
        weights = weights if chosen.reads is None else chosen.reads
        return functional.pad(weights, (0, 1), value=1.0) if self.config.shared else weights

    def normed(self, x: Tensor) -> Tensor:
        """Return ``silu(x [N, H * K])`` by heads, each at length one."""
        heads = (self.config.heads, self.config.key_dim)
        return unit_heads(torch.unflatten(functional.silu(x), 1, heads))

    def output_gate(self, x: Tensor) -> Tensor:
        """Return the raw gate ``[N, H, V]`` of tokens ``x [N, d]``."""
        z = functional.linear(x, self.gate.to(x.dtype))
        return torch.unflatten(z, 1, (self.config.heads, self.config.value_dim))

    def _make_heads(
        self, x: Tensor, plan: RowPlan, *, tails: Sequence[Tensor], carries: bool
    ) -> tuple[Heads, Tensor]:
        """Return q, k and v of the rows, and their other columns ``[R, X]``.

        ``tails`` are given where each memory convolves.
        """
        c = self.config
        kernels = self.uses_kernels(x)
        tokens, x = forms.linear(x, weight=self.query, kernels=kernels)
        make, rows, rest = forms.project(c, x, weight=self.memory, plan=plan, kernels=kernels)
        made = make(
            rows,
            tokens=tokens,
            plan=plan,
            convs=list(self.convs) if tails else [],
            tails=[forms.to_buckets(tail) for tail in tails],
            heads=c.heads,
            key_dim=c.key_dim,
            value_dim=c.value_dim,
            carries=carries,
        )
        return made, rest


def _xavier(weight: Tensor, gain: float) -> None:
    if weight.numel():
        bound = gain * math.sqrt(6.0 / sum(weight.shape))
        weight.uniform_(-bound, bound)
