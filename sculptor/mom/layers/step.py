"""One token per sequence, in place: the decode form of the mixer and of windowed attention.

Only the picked memories' weights are read and only their states are written. The state tensors
are changed where they lie, so that a captured CUDA graph can be replayed over them; whoever wants
the old state keeps a snapshot. Same function as ``forward`` over one token.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.layers.attention import AttentionState, WindowAttention, turn
from sculptor.mom.layers.mixer import Mixer, MixerState
from sculptor.mom.ops.mix import gated_norm
from sculptor.mom.ops.naive import naive_step
from sculptor.mom.ops.routing import Route


@torch.no_grad()
def step_mixer(mixer: Mixer, x: Tensor, *, state: MixerState) -> Tensor:
    """Take in one token of each sequence, ``x [S, d]``; change ``state`` and return ``y``."""
    c = mixer.config
    if c.conv == "before":
        x = _push_rows(x, weight=mixer.convs[0], tail=state.tails[0])
    chosen, x = mixer.pick(x)
    memory, writes = _visits(mixer, chosen)
    weights = mixer.mix_weights(chosen)
    if _fits_kernels(mixer, x):
        y = _step_by_kernels(mixer, x, state, memory, writes=writes, weights=weights)
    else:
        o = _step_plainly(mixer, x, state, memory, writes=writes)
        weights = weights.to(o.dtype)
        mixed = torch.einsum("sp,sphv->shv", weights, torch.unflatten(o, 0, memory.shape))
        z = mixer.output_gate(x)
        y = gated_norm(mixed, z=z, weight=mixer.norm, eps=c.norm_eps, gate=c.gate)
    return functional.linear(y.flatten(1), mixer.out.to(x.dtype))


@torch.no_grad()
def step_attention(layer: WindowAttention, x: Tensor, *, state: AttentionState) -> Tensor:
    """Attend with one token of each sequence, ``x [S, d]``; change ``state`` and return ``y``."""
    size = (3, layer.heads, layer.out.shape[0] // layer.heads)
    projected = functional.linear(x, layer.qkv.to(x.dtype))
    q, k, v = torch.unflatten(projected, 1, size).unbind(1)
    if layer.rope_base:
        q, k = (turn(item, position=state.seen, base=layer.rope_base) for item in (q, k))
    for cache, row in ((state.keys, k), (state.values, v)):
        cache.copy_(torch.cat([cache[:, 1:], row.unsqueeze(1).to(cache.dtype)], dim=1))
    state.seen.add_(1)
    age = torch.arange(layer.window - 1, -1, -1, device=x.device)
    seen = (age < state.seen.unsqueeze(1)).unsqueeze(1).unsqueeze(1)
    keys, values = (cache.to(x.dtype).transpose(1, 2) for cache in (state.keys, state.values))
    o = functional.scaled_dot_product_attention(q.unsqueeze(2), keys, values, attn_mask=seen)
    return functional.linear(o.flatten(1), layer.out.to(x.dtype))


def _visits(mixer: Mixer, chosen: Route) -> tuple[Tensor, Tensor | None]:
    """Return the memories of each token's rows ``[S, slots]`` and, if some only read, a mask."""
    c = mixer.config
    memory, writes = chosen.index, None
    if c.reads_all:
        memory = torch.arange(c.memories, device=memory.device).expand(memory.shape[0], -1)
        picked = torch.zeros_like(chosen.probabilities).scatter(1, chosen.index, 1.0)
        writes = (functional.pad(picked, (0, 1), value=1.0) if c.shared else picked).flatten()
    if c.shared:
        memory = functional.pad(memory, (0, 1), value=c.memories)
    return memory, writes


def _fits_kernels(mixer: Mixer, x: Tensor) -> bool:
    c = mixer.config
    if not (mixer.uses_kernels(x) and c.rule.erases):
        return False
    from sculptor.mom.ops.kernels import delta

    return delta.fits(key_dim=c.key_dim, value_dim=c.value_dim)


def _step_by_kernels(
    mixer: Mixer,
    x: Tensor,
    state: MixerState,
    memory: Tensor,
    *,
    writes: Tensor | None,
    weights: Tensor,
) -> Tensor:
    """Step the states that ``memory [S, slots]`` names, in place; mix, norm and gate."""
    from sculptor.mom.ops.kernels import mix, step

    c = mixer.config
    convolves = c.conv == "memory"
    made = step.step_rows(
        functional.linear(x, mixer.query.to(x.dtype)),
        rows=_project_picked(mixer, x, memory),
        memory=memory,
        writes=writes,
        convs=list(mixer.convs) if convolves else [],
        tails=state.tails if convolves else [],
        decay=(mixer.a_log, mixer.dt_bias) if c.rule.decay == "head" else None,
        heads=c.heads,
        key_dim=c.key_dim,
        value_dim=c.value_dim,
        beta_max=c.beta_max,
    )
    o = step.state_step(
        state.memories,
        q=made.q,
        k=made.k,
        v=made.v,
        g=made.g,
        beta=made.beta,
        memory=memory,
        scale=c.key_dim**-0.5,
    )
    row = torch.arange(memory.numel(), device=x.device).view(memory.shape)
    z = mixer.output_gate(x)
    return mix.mix_norm(
        o, weights=weights, row=row, z=z, norm=mixer.norm, eps=c.norm_eps, gate=c.gate
    )


def _step_plainly(
    mixer: Mixer, x: Tensor, state: MixerState, memory: Tensor, *, writes: Tensor | None
) -> Tensor:
    """Step the states that ``memory [S, slots]`` names, in place: return ``o [R, H, V]``."""
    c = mixer.config
    sequence = torch.arange(x.shape[0], device=x.device).unsqueeze(1).expand_as(memory)
    at = (sequence.flatten(), memory.flatten())
    q = functional.linear(x, mixer.query.to(x.dtype)).repeat_interleave(memory.shape[1], dim=0)
    rows = _project_picked(mixer, x, memory)
    k, v, raw_beta, raw_gate = torch.split(rows, mixer.sections, dim=1)
    if c.conv == "memory":
        pushed = []
        for row, weight, tail in zip((q, k, v), mixer.convs, state.tails, strict=True):
            own = tail[at]
            pushed.append(_push_rows(row, weight=weight, tail=own))
            tail.index_put_(at, own)
        q, k, v = pushed
    o, after = naive_step(
        state.memories[at],
        q=mixer.normed(q),
        k=mixer.normed(k),
        v=torch.unflatten(functional.silu(v), 1, (c.heads, c.value_dim)).to(state.memories.dtype),
        g=mixer.log_decay(raw_gate, memory=at[1], writes=writes),
        beta=mixer.write_strength(raw_beta, rows=k, writes=writes),
        scale=c.key_dim**-0.5,
        erase=c.rule.erases,
    )
    state.memories.index_put_(at, after)
    return o


def _project_picked(mixer: Mixer, x: Tensor, memory: Tensor) -> Tensor:
    if mixer.uses_kernels(x):
        from sculptor.mom.ops.kernels import step

        return step.picked_linear(x, weight=mixer.memory, memory=memory)
    if x.device.type == "cpu":
        picks = enumerate(memory.tolist())
        return torch.stack([x[s] @ mixer.memory[m].to(x.dtype) for s, ms in picks for m in ms])
    every = torch.einsum("sd,gdc->sgc", x, mixer.memory.to(x.dtype))
    return every.gather(1, memory.unsqueeze(2).expand(-1, -1, every.shape[2])).flatten(0, 1)


def _push_rows(row: Tensor, *, weight: Tensor, tail: Tensor) -> Tensor:
    """Convolve one row per tail ``[S, W - 1, C]`` and move it into the tail, in place."""
    window = torch.cat([tail, row.unsqueeze(1).to(tail.dtype)], dim=1)
    tail.copy_(window[:, 1:])
    return torch.einsum("swc,cw->sc", window.to(row.dtype), weight.to(row.dtype))
