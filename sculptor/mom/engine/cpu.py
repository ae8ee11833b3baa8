"""The language model on a CPU, with numpy alone.

The same function as `sculptor.mom.models.modeling` over the same dequantised weights. Reading a
prompt goes in pieces of `PIECE` tokens, each by matrix products; writing goes token by token, for
several conversations in one step. What a conversation answers depends on its own tokens and on
where its reading was cut, never on the company it is served in: prompts are read one at a time,
and a step never makes a product whose order of summation depends on the batch (see `linear`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sculptor.mom.engine.arrays import Array, rms_norm, silu
from sculptor.mom.engine.attention import CpuAttention
from sculptor.mom.engine.blas import one_thread
from sculptor.mom.engine.linear import Loader
from sculptor.mom.engine.mixer import CpuMixer
from sculptor.mom.engine.state import AttentionState, CpuState, MixerState, empty_state
from sculptor.mom.engine.weights import Weights
from sculptor.mom.engine.workers import Workers, default_threads
from sculptor.mom.models.config import MomConfig

PIECE = 256
"""Tokens of a prompt read at once."""


class CpuModel:
    """Reads and writes conversations; holds weights only, so one serves any number of them."""

    piece = PIECE

    def __init__(
        self,
        weights: Weights,
        *,
        dtype: type[np.floating] = np.float32,
        threads: int | None = None,
    ) -> None:
        kind = np.dtype(dtype)
        self.config, self._dtype = weights.config, kind
        self._workers = Workers(default_threads() if threads is None else threads)
        load = Loader(weights, dtype=kind)
        self._embedding = load.linear("model.embedding")
        self._head = self._embedding if self.config.tie_embeddings else load.linear("head")
        self._norm = load.tensor("model.norm.weight")
        blocks = load.under("model.blocks")
        self._blocks = [
            _Block(self.config, blocks.under(str(i)), attends=i in self.config.attention_layers)
            for i in range(self.config.layers)
        ]

    @property
    def vocab_size(self) -> int:
        """How many tokens the model knows."""
        return self.config.vocab_size

    def new_state(self) -> CpuState:
        """Return the state of a conversation in which nothing was said."""
        return empty_state(self.config, dtype=self._dtype)

    def prefill(self, tokens: Sequence[int], state: CpuState) -> Array:
        """Read ``tokens``, one at least: change ``state``, return the next logits ``[vocab]``."""
        ids = self._checked(tokens)
        with one_thread(), np.errstate(over="ignore", under="ignore"):
            pieces = (ids[begin : begin + PIECE] for begin in range(0, len(ids), PIECE))
            *_, last = (self._read(piece, state) for piece in pieces)
            logits: Array = self._logits(last)[0]
        return logits

    def step(self, tokens: Sequence[int], states: Sequence[CpuState]) -> Array:
        """Read one token of each conversation: change ``states``, return logits ``[B, vocab]``."""
        if len(tokens) != len(states) or len({id(state) for state in states}) != len(states):
            raise ValueError(
                f"A step got {len(tokens)} tokens for {len(states)} states; "
                "give one token for each state, and each state once (copy() makes another)."
            )
        x = self._embedding.pick(self._checked(tokens))
        seen = np.array([state.tokens for state in states])
        with one_thread(), np.errstate(over="ignore", under="ignore"):
            for i, block in enumerate(self._blocks):
                x = block.step(x, [state.layers[i] for state in states], seen=seen)
            logits = self._logits(x)
        for state in states:
            state.tokens += 1
        return logits

    def _read(self, ids: NDArray[np.int64], state: CpuState) -> Array:
        """Read one piece and return the last token's hidden row ``[1, d]``."""
        x = self._embedding.pick(ids)
        for block, layer in zip(self._blocks, state.layers, strict=True):
            x = block.mix(x, layer, seen=state.tokens, workers=self._workers)
            if block is self._blocks[-1]:
                x = x[-1:]  # no later layer sees the other rows
            x = block.think(x, workers=self._workers)
        state.tokens += len(ids)
        return x

    def _checked(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        ids = np.asarray(tokens, dtype=np.int64)
        if ids.size == 0:
            raise ValueError("There is no token to read; give at least one.")
        if ids.min() < 0 or ids.max() >= self.config.vocab_size:
            raise ValueError(
                f"Token ids go from 0 to {self.config.vocab_size - 1}; "
                f"got {ids.min()} to {ids.max()}. Use the tokenizer that came with the weights."
            )
        return ids

    def _logits(self, x: Array) -> Array:
        return self._head.each(rms_norm(x, weight=self._norm, eps=self.config.norm_eps))


class _Block:
    """Norm, mixer or attention, residual; norm, SwiGLU, residual."""

    def __init__(self, config: MomConfig, load: Loader, *, attends: bool) -> None:
        c, own = config, load.under("mixer")
        self._eps = c.norm_eps
        self._mixer_norm = load.tensor("mixer_norm.weight")
        self._mlp_norm = load.tensor("mlp_norm.weight")
        self._mixer: CpuMixer | CpuAttention
        if attends:
            self._mixer = CpuAttention(
                own, heads=c.attention_heads, window=c.window, rope_base=c.rope_base
            )
        else:
            self._mixer = CpuMixer(c.mixer, own)
        self._up, self._down = load.linear("mlp.up"), load.linear("mlp.down")

    def mix(
        self, x: Array, state: MixerState | AttentionState, *, seen: int, workers: Workers
    ) -> Array:
        """Return the rows ``x [T, d]`` of one conversation after the mixer."""
        normed = rms_norm(x, weight=self._mixer_norm, eps=self._eps)
        if isinstance(self._mixer, CpuMixer):
            assert isinstance(state, MixerState)
            return x + self._mixer.read(normed, state, workers=workers)
        assert isinstance(state, AttentionState)
        return x + self._mixer.read(normed, state, seen=seen, workers=workers)

    def think(self, x: Array, *, workers: Workers) -> Array:
        """Return the rows ``x [T, d]`` of one conversation after the MLP."""
        normed = rms_norm(x, weight=self._mlp_norm, eps=self._eps)
        hidden = self._up.rows(normed, workers=workers)
        return x + self._down.rows(_swiglu(hidden), workers=workers)

    def step(
        self, x: Array, states: Sequence[MixerState | AttentionState], *, seen: NDArray[np.int64]
    ) -> Array:
        """Return one row of each conversation ``x [B, d]`` after the whole block."""
        normed = rms_norm(x, weight=self._mixer_norm, eps=self._eps)
        if isinstance(self._mixer, CpuMixer):
            x = x + self._mixer.step(normed, [s for s in states if isinstance(s, MixerState)])
        else:
            own = [s for s in states if isinstance(s, AttentionState)]
            x = x + self._mixer.step(normed, own, seen=seen)
        hidden = self._up.each(rms_norm(x, weight=self._mlp_norm, eps=self._eps))
        x += self._down.each(_swiglu(hidden))
        return x


def _swiglu(hidden: Array) -> Array:
    width = hidden.shape[-1] // 2
    return silu(hidden[..., :width]) * hidden[..., width:]
