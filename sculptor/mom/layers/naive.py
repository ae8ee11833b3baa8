"""The mixer one token at a time: the oracle every other form is held against.

Written as the equations of arXiv 2502.13685 are, for one sequence, with Python loops and no
packing: route, push raw rows into the tails of the picked memories only, convolve, step, read,
mix. It shares the weights of a `Mixer` and none of its row arithmetic.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sculptor.mom.layers.mixer import Mixer, MixerState
from sculptor.mom.ops.naive import naive_step
from sculptor.mom.ops.rules import UpdateRule


def naive_mixer(mixer: Mixer, x: Tensor, *, state: MixerState) -> tuple[Tensor, MixerState]:
    """Mix one sequence ``x [T, d]`` from a state of one sequence: return ``y`` and the new state.

    Gradients flow through everything, so it is the oracle for the backward pass too.
    """
    c = mixer.config
    states = list(state.memories[0].unbind(0))
    tails = [list(tail[0].unbind(0)) for tail in state.tails]
    outputs = []
    for t in range(x.shape[0]):
        token = x[t]
        if c.conv == "before":
            token, tails[0] = _convolve(tails[0], token, mixer.convs[0])
        written, weights = _picks(mixer, token)
        if c.shared:
            written.append(c.memories)
            weights[c.memories] = torch.ones((), dtype=x.dtype)
        total = torch.zeros(c.heads, c.value_dim, dtype=x.dtype)
        for m, weight in weights.items():
            answer, states[m] = _visit(mixer, token, m, states[m], tails, writes=m in written)
            total = total + weight * answer
        outputs.append(_gate_and_project(mixer, total, token))
    stacked = tuple(torch.stack(tail).unsqueeze(0) for tail in tails)
    y = torch.stack(outputs) if outputs else x[:0]
    return y, MixerState(memories=torch.stack(states).unsqueeze(0), tails=stacked)


def _picks(mixer: Mixer, token: Tensor) -> tuple[list[int], dict[int, Tensor]]:
    """Return the memories that a token writes, and the weight of each that it visits."""
    c = mixer.config
    if c.read == "keyed":
        rows = (token @ mixer.memory[-1])[: c.key_width], mixer.query @ token
        key, query = (_unit(functional.silu(row).view(c.heads, -1)).flatten() for row in rows)
        written, _ = _best(mixer.router @ key, c.top_k)
        read, weights = _best(mixer.router @ query, c.top_k)
        unread = dict.fromkeys(range(c.memories), torch.zeros((), dtype=token.dtype))
        return written, unread | dict(zip(read, weights, strict=True))
    logits = mixer.router @ token
    written, weights = _best(logits, c.top_k)
    if c.read == "dense":
        return written, dict(enumerate(logits.softmax(-1)))
    return written, dict(zip(written, weights, strict=True))


def _best(logits: Tensor, top_k: int) -> tuple[list[int], Tensor]:
    best, picked = logits.softmax(-1).topk(top_k)
    return [int(m) for m in picked], best / best.sum()


def _visit(
    mixer: Mixer, token: Tensor, m: int, state: Tensor, tails: list[list[Tensor]], *, writes: bool
) -> tuple[Tensor, Tensor]:
    c = mixer.config
    q = mixer.query @ token
    k, v, raw_beta, raw_gate = torch.split(token @ mixer.memory[m], mixer.sections)
    if c.conv == "memory":
        rows = []
        for tail, row, weight in zip(tails, (q, k, v), mixer.convs, strict=True):
            y, tail[m] = _push(tail[m], row, weight)
            rows.append(y)
        q, k, v = rows
    q, k = (_unit(functional.silu(row).view(c.heads, c.key_dim)) for row in (q, k))
    v = functional.silu(v).view(c.heads, c.value_dim)
    beta = c.beta_max * raw_beta.sigmoid() if c.rule.learns_beta else torch.ones_like(q[:, 0])
    g = _log_decay(mixer, raw_gate, m)
    if not writes:
        beta, g = torch.zeros_like(beta), None
    return naive_step(
        state, q=q, k=k, v=v, g=g, beta=beta, scale=c.key_dim**-0.5, erase=c.rule.erases
    )


def _log_decay(mixer: Mixer, raw: Tensor, m: int) -> Tensor | None:
    c = mixer.config
    if c.rule is UpdateRule.RETNET:
        head = torch.arange(c.heads, dtype=raw.dtype)
        return torch.log(1 - 2 ** (-5 - head))
    if c.rule is UpdateRule.GATED_DELTA:
        return -mixer.a_log.exp() * functional.softplus(raw + mixer.dt_bias)
    if c.rule is UpdateRule.GLA:
        channel = raw @ mixer.gate_up[m] + mixer.gate_bias
        return (functional.logsigmoid(channel) / 16).view(c.heads, c.key_dim)
    return None


def _convolve(tail: list[Tensor], row: Tensor, weight: Tensor) -> tuple[Tensor, list[Tensor]]:
    window = [*tail, row]
    return torch.stack([w * x for w, x in zip(weight.unbind(1), window, strict=True)]).sum(0), (
        window[1:]
    )


def _push(tail: Tensor, row: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    y, window = _convolve(list(tail.unbind(0)), row, weight)
    return y, torch.stack(window)


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def _gate_and_project(mixer: Mixer, total: Tensor, token: Tensor) -> Tensor:
    c = mixer.config
    spread = (total.square().mean(-1, keepdim=True) + c.norm_eps).sqrt()
    z = (mixer.gate @ token).view(c.heads, c.value_dim)
    opened = z * z.sigmoid() if c.gate == "swish" else z.sigmoid()
    return mixer.out @ (total / spread * mixer.norm * opened).flatten()
