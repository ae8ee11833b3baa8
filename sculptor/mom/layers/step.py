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
from sculptor.mom.ops.routing import Route, route


@torch.no_grad()
def step_mixer(mixer: Mixer, x: Tensor, *, state: MixerState) -> Tensor:
    """Take in one token of each sequence, ``x [S, d]``; change ``state`` and return ``y``."""
    c = mixer.config
    if c.conv == "before":
        x = _push_rows(x, weight=mixer.convs[0], tail=state.tails[0])
    chosen = route(x, weight=mixer.router, top_k=c.top_k)
    memory, writes = _visits(mixer, chosen)
    sequence = torch.arange(x.shape[0], device=x.device).unsqueeze(1).expand_as(memory)
    q = functional.linear(x, mixer.query.to(x.dtype))
    rows = _project_picked(mixer, x, memory)
    k, v, raw_beta, raw_gate = torch.split(rows, mixer.sections, dim=1)
    q = q.repeat_interleave(memory.shape[1], dim=0)
    at = (sequence.flatten(), memory.flatten())
    if c.conv == "memory":
        pushed = []
        for row, weight, tail in zip((q, k, v), mixer.convs, state.tails, strict=True):
            own = tail[at]
            pushed.append(_push_rows(row, weight=weight, tail=own))
            tail.index_put_(at, own)
        q, k, v = pushed
    o = _step_states(
        mixer,
        state,
        memory,
        q=mixer.normed(q),
        k=mixer.normed(k),
        v=torch.unflatten(functional.silu(v), 1, (c.heads, c.value_dim)).to(state.memories.dtype),
        g=mixer.log_decay(raw_gate, memory=at[1], writes=writes),
        beta=mixer.write_strength(raw_beta, rows=k, writes=writes),
    )
    weights = mixer.mix_weights(chosen).to(o.dtype)
    mixed = torch.einsum("sp,sphv->shv", weights, torch.unflatten(o, 0, memory.shape))
    y = gated_norm(mixed, z=mixer.output_gate(x), weight=mixer.norm, eps=c.norm_eps, gate=c.gate)
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
    if c.read == "dense":
        memory = torch.arange(c.memories, device=memory.device).expand(memory.shape[0], -1)
        picked = torch.zeros_like(chosen.probabilities).scatter(1, chosen.index, 1.0)
        writes = (functional.pad(picked, (0, 1), value=1.0) if c.shared else picked).flatten()
    if c.shared:
        memory = functional.pad(memory, (0, 1), value=c.memories)
    return memory, writes


def _step_states(
    mixer: Mixer,
    state: MixerState,
    memory: Tensor,
    *,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor,
) -> Tensor:
    """Step the states that ``memory [S, slots]`` names, in place: return ``o [R, H, V]``."""
    c = mixer.config
    scale = c.key_dim**-0.5
    if mixer.uses_kernels(v) and c.rule.erases:
        from sculptor.mom.ops.kernels import delta, step

        if delta.fits(key_dim=c.key_dim, value_dim=c.value_dim):
            return step.state_step(
                state.memories, q=q, k=k, v=v, g=g, beta=beta, memory=memory, scale=scale
            )
    sequence = torch.arange(memory.shape[0], device=memory.device).unsqueeze(1)
    at = (sequence.expand_as(memory).flatten(), memory.flatten())
    o, after = naive_step(
        state.memories[at], q=q, k=k, v=v, g=g, beta=beta, scale=scale, erase=c.rule.erases
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
