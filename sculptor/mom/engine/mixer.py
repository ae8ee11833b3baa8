"""The Mixture-of-Memories mixer in numpy: a piece of one conversation, or a token of several.

`CpuMixer.read` is the mixer's ``forward`` over one sequence, `CpuMixer.step` its one-token form
for several conversations at once. Both change the states where they lie. A memory that a token
did not pick is neither read nor written in a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sculptor.mom.engine.arrays import Array, Ints, rms_norm, sigmoid, silu, softmax, softplus
from sculptor.mom.engine.arrays import unit_length as unit
from sculptor.mom.engine.chunks import RowPlan, RuleRows, chunk_delta_rule, plan_rows
from sculptor.mom.engine.conv import convolve, convolve_by_memory, push_picked, push_rows
from sculptor.mom.engine.linear import Loader
from sculptor.mom.engine.state import MixerState
from sculptor.mom.engine.workers import Workers
from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.ops.rules import UpdateRule


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """``picked [N, k]`` best first; ``weights written [N, G]``: what each memory's answer counts
    for a token, and whether the token is written there."""

    picked: Ints
    weights: Array
    written: Array


class CpuMixer:
    """One mixer's weights, laid out for numpy."""

    def __init__(self, config: MixerConfig, load: Loader) -> None:
        if config.rule is not UpdateRule.GATED_DELTA:
            raise ValueError(
                f"The engine runs the rule gated_delta; this model was trained with {config.rule}. "
                "Run it with torch (sculptor.mom.Engine)."
            )
        self._config = config
        self._front = load.linear("query", "gate")
        self._router = load.linear("router")
        self._memories = load.linears("memory")
        self._out = load.linear("out")
        self._norm = load.tensor("norm")
        count = 1 if config.conv == "before" else 3
        self._taps = [np.ascontiguousarray(load.tensor(f"convs.{i}").T) for i in range(count)]
        self._rate = -np.exp(load.tensor("a_log"))
        self._dt_bias = load.tensor("dt_bias")

    def read(self, x: Array, state: MixerState, *, workers: Workers) -> Array:
        """Mix ``x [T, d]``, the next tokens of one conversation: return ``y [T, d]``."""
        c = self._config
        if c.conv == "before":
            x = convolve(x, taps=self._taps[0], tail=state.tails[0])
        q, z = self._split_front(self._front.rows(x, workers=workers))
        choice = self._route(x, query=q)
        visits = self._visits(choice)
        plan = plan_rows(visits, dtype=x.dtype)
        k, v, beta, gate = self._split_rows(self._project_rows(x[plan.token], plan, workers))
        if c.conv == "before":
            q = self._normed(q)[plan.token]
        else:
            q = q[plan.token]
            for rows, taps, tails in zip((q, k, v), self._taps, state.tails, strict=True):
                convolve_by_memory(rows, taps=taps, tails=tails, plan=plan)
            q = self._normed(q)
        counts = self._written_rows(choice, plan)[:, None]
        rule = RuleRows(
            q=q * q.dtype.type(c.key_dim**-0.5),
            k=self._normed(k),
            v=silu(v).reshape(-1, c.heads, c.value_dim),
            g=self._log_decay(gate) * counts,
            beta=self._strength(beta) * counts,
        )
        o = chunk_delta_rule(rule, plan=plan, states=state.memories, workers=workers)
        mixed = np.zeros((x.shape[0], c.heads, c.value_dim), x.dtype)
        for m, tokens in enumerate(visits):
            mixed[tokens] += o[plan.own(m)] * choice.weights[tokens, m][:, None, None]
        return self._out.rows(self._gated(mixed, z), workers=workers)

    def step(self, x: Array, states: Sequence[MixerState]) -> Array:
        """Mix one token of each conversation ``x [B, d]``: return ``y [B, d]``."""
        c = self._config
        if c.conv == "before":
            x = push_rows([s.tails[0] for s in states], x, taps=self._taps[0])
        q, z = self._split_front(self._front.each(x))
        choice = self._route(x, query=q)
        memory = self._slots(choice)
        k, v, beta, gate = self._split_rows(self._project(x, memory))
        q = q[:, None]
        if c.conv == "memory":
            raw = (np.broadcast_to(q, k.shape), k, v)
            q, k, v = (
                push_picked([s.tails[i] for s in states], r, memory=memory, taps=self._taps[i])
                for i, r in enumerate(raw)
            )
        q = np.broadcast_to(self._normed(q), (*memory.shape, c.heads, c.key_dim))
        k = self._normed(k)
        v = silu(v).reshape(*memory.shape, c.heads, c.value_dim)
        lead = np.arange(x.shape[0])[:, None]
        writes = choice.written[lead, memory][..., None]
        pair = np.empty((*k.shape[:-1], 2, c.key_dim), k.dtype)
        pair[..., 0, :] = k
        np.multiply(q, k.dtype.type(c.key_dim**-0.5), out=pair[..., 1, :])
        o = _step_rule(
            [[s.memories[m] for m in own] for s, own in zip(states, memory.tolist(), strict=True)],
            pair=pair,
            v=v,
            beta=self._strength(beta) * writes,
            decay=np.exp(self._log_decay(gate) * writes),
        )
        weights = choice.weights[lead, memory][..., None, None]
        mixed = o[:, 0] * weights[:, 0]
        for slot in range(1, memory.shape[1]):
            mixed += o[:, slot] * weights[:, slot]
        return self._out.each(self._gated(mixed, z))

    def _split_front(self, front: Array) -> tuple[Array, Array]:
        width = self._config.key_width
        return front[..., :width], front[..., width:]

    def _split_rows(self, rows: Array) -> tuple[Array, Array, Array, Array]:
        c = self._config
        beta = c.key_width + c.value_width
        k, v = rows[..., : c.key_width], rows[..., c.key_width : beta]
        return k, v, rows[..., beta : beta + c.heads], rows[..., beta + c.heads :]

    def _route(self, x: Array, *, query: Array) -> _Choice:
        """Return where tokens go; ``query`` is their raw projection."""
        c = self._config
        if c.read != "keyed":
            return self._choose(self._router.each(x))
        key = self._memories[-1].each(x)[:, : c.key_width]
        written, asked = (
            self._choose(self._router.each(self._normed(rows).reshape(len(x), -1)))
            for rows in (key, query)
        )
        return replace(written, weights=asked.weights)

    def _choose(self, logits: Array) -> _Choice:
        c = self._config
        tokens = logits.shape[0]
        lead = np.arange(tokens)[:, None]
        weights = np.ones((tokens, c.groups), logits.dtype)
        written = np.ones((tokens, c.groups), logits.dtype)
        if not c.memories:
            empty = np.zeros((tokens, 0), np.int64)
            return _Choice(picked=empty, weights=weights, written=written)
        probabilities = softmax(logits)
        picked = np.argsort(-probabilities, axis=-1, kind="stable")[:, : c.top_k]
        written[:, : c.memories] = 0
        written[lead, picked] = 1
        weights[:, : c.memories] = probabilities if c.read == "dense" else 0
        if c.read != "dense":
            best = probabilities[lead, picked]
            weights[lead, picked] = best / best.sum(axis=-1, keepdims=True)
        return _Choice(picked=picked, weights=weights, written=written)

    def _visits(self, choice: _Choice) -> list[Ints]:
        """Return the tokens that come to each memory, in order."""
        c = self._config
        every = np.arange(choice.weights.shape[0])
        if c.reads_all:
            return [every] * c.groups
        return [np.flatnonzero(choice.written[:, m]) for m in range(c.groups)]

    def _slots(self, choice: _Choice) -> Ints:
        """Return the memories that each token comes to ``[B, S]``."""
        c = self._config
        batch = choice.weights.shape[0]
        if c.reads_all:
            return np.broadcast_to(np.arange(c.groups), (batch, c.groups))
        shared = np.full((batch, int(c.shared)), c.memories)
        return np.concatenate([choice.picked, shared], axis=1)

    def _project_rows(self, x: Array, plan: RowPlan, workers: Workers) -> Array:
        """Apply to each row of ``x [R, d]`` the matrix of its memory."""
        rows = np.empty((len(x), self._memories[0].width), x.dtype)
        tasks = []
        for m, matrix in enumerate(self._memories):
            block = plan.block(m)
            tasks += matrix.tasks(x[block], out=rows[block])
        workers.run(tasks)
        return rows

    def _written_rows(self, choice: _Choice, plan: RowPlan) -> Array:
        """Return one for each row that is written, zero for what only reads and for padding."""
        if not self._config.reads_all:
            return plan.real
        written = plan.real.copy()
        for m in range(self._config.groups):
            written[plan.own(m)] = choice.written[:, m]
        return written

    def _project(self, x: Array, memory: Ints) -> Array:
        rows = np.empty((*memory.shape, self._memories[0].width), x.dtype)
        for m, matrix in enumerate(self._memories):
            token, slot = np.nonzero(memory == m)
            if token.size:
                rows[token, slot] = matrix.each(x[token])
        return rows

    def _normed(self, x: Array) -> Array:
        c = self._config
        return unit(silu(x).reshape(*x.shape[:-1], c.heads, c.key_dim))

    def _strength(self, raw: Array) -> Array:
        strength: Array = sigmoid(raw) * raw.dtype.type(self._config.beta_max)
        return strength

    def _log_decay(self, raw: Array) -> Array:
        return self._rate * softplus(raw + self._dt_bias)

    def _gated(self, mixed: Array, z: Array) -> Array:
        c = self._config
        opened = silu(z) if c.gate == "swish" else sigmoid(z)
        normed = rms_norm(mixed, weight=self._norm, eps=c.norm_eps)
        opened *= normed.reshape(opened.shape)
        return opened


def _step_rule(
    memories: list[list[Array]], *, pair: Array, v: Array, beta: Array, decay: Array
) -> Array:
    """Write and read each token's memories ``[H, K, V]``, in place: return ``o [B, S, H, V]``.

    ``pair [B, S, H, 2, K]`` holds k over scaled q. Where ``beta`` is zero and ``decay`` one,
    nothing is written.
    """
    flat = [memory for own in memories for memory in own]
    left = pair.reshape(len(flat), *pair.shape[2:])
    seen = np.empty((*left.shape[:-1], v.shape[-1]), v.dtype)
    for row, memory in enumerate(flat):
        np.matmul(left[row], memory, out=seen[row])
    kept = decay.reshape(len(flat), -1, 1, 1)
    seen *= kept
    error = v.reshape(len(flat), *v.shape[2:]) - seen[:, :, 0]
    strength = beta.reshape(len(flat), -1, 1)
    error *= strength
    # BLAS takes an outer product only from two terms on; the second one here is q times zero.
    right = np.zeros_like(seen)
    right[:, :, 0] = error
    added = np.empty_like(flat[0])
    for row in np.flatnonzero(strength.any(axis=(1, 2))).tolist():
        flat[row] *= kept[row]
        np.matmul(left[row].swapaxes(1, 2), right[row], out=added)
        flat[row] += added
    match = np.einsum("rhk,rhk->rh", left[:, :, 0], left[:, :, 1])[..., None]
    o: Array = seen[:, :, 1] + match * error
    return o.reshape(v.shape)
