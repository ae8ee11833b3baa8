"""The language model: pre-norm blocks of mixer (or windowed attention) and SwiGLU.

Every forward pass takes a state and returns the next one. Weights may be fp32 while activations
run in ``compute_dtype``; router, decays, states and logits are at least fp32 either way.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sculptor.mom.layers.attention import AttentionState, WindowAttention
from sculptor.mom.layers.mixer import Mixer, MixerState
from sculptor.mom.layers.step import step_attention, step_mixer
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.packing import Packed
from sculptor.mom.models.state import MomState
from sculptor.mom.ops.balance import balance_loss
from sculptor.mom.ops.block import rms_norm, swiglu
from sculptor.mom.ops.naive import accumulator_dtype
from sculptor.mom.ops.routing import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class MomOutput:
    """What a pass over ``N`` packed tokens gives.

    ``hidden [N, d]`` after the last norm; ``state`` after the last token of each sequence;
    ``routes`` one for each Mixture-of-Memories layer, in order.
    """

    hidden: Tensor
    state: MomState
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParts:
    """``total = cross_entropy + balance_weight * balance``, and the parts."""

    total: Tensor
    cross_entropy: Tensor
    balance: Tensor


class SwiGlu(nn.Module):
    """``down(silu(gate x) * up x)`` (arXiv 2002.05202)."""

    def __init__(self, d_model: int, *, width: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.empty(2 * width, d_model))
        self.down = nn.Parameter(torch.empty(d_model, width))
        for weight in (self.up, self.down):
            nn.init.normal_(weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x [N, d]`` to ``[N, d]``."""
        wide = swiglu(functional.linear(x, self.up.to(x.dtype)))
        return functional.linear(wide, self.down.to(x.dtype))


class RmsNorm(nn.Module):
    """Root-mean-square norm with a weight, computed in at least fp32."""

    def __init__(self, width: int, *, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis of ``x`` and keep its dtype."""
        return rms_norm(x, weight=self.weight, eps=self.eps)


class MomBlock(nn.Module):
    """Norm, mixer or attention, residual; norm, SwiGLU, residual."""

    def __init__(self, config: MomConfig, *, attends: bool) -> None:
        super().__init__()
        self.mixer_norm = RmsNorm(config.d_model, eps=config.norm_eps)
        self.mixer: Mixer | WindowAttention = Mixer(config.mixer)
        if attends:
            self.mixer = WindowAttention(
                config.d_model,
                heads=config.attention_heads,
                window=config.window,
                rope_base=config.rope_base,
            )
        self.mlp_norm = RmsNorm(config.d_model, eps=config.norm_eps)
        self.mlp = SwiGlu(config.d_model, width=config.mlp_width)

    def forward(
        self,
        x: Tensor,
        *,
        packed: Packed,
        state: MixerState | AttentionState,
        fresh: bool,
        carries: bool,
    ) -> tuple[Tensor, MixerState | AttentionState, Route | None]:
        """Return the block's output, its next state and the route if it has a router."""
        normed = self.mixer_norm(x)
        how = {
            "cu_seqlens": packed.cu_seqlens,
            "max_seqlen": packed.max_seqlen,
            "fresh": fresh,
            "carries": carries,
        }
        after: MixerState | AttentionState
        chosen = None
        if isinstance(self.mixer, Mixer):
            assert isinstance(state, MixerState)
            y, after, chosen = self.mixer(normed, state=state, **how)
        else:
            assert isinstance(state, AttentionState)
            y, after = self.mixer(normed, state=state, **how)
        x = x + y
        return x + self.mlp(self.mlp_norm(x)), after, chosen

    def step(self, x: Tensor, *, state: MixerState | AttentionState) -> Tensor:
        """Take in one token of each sequence ``[S, d]``, changing ``state``."""
        normed = self.mixer_norm(x)
        if isinstance(self.mixer, Mixer):
            assert isinstance(state, MixerState)
            x = x + step_mixer(self.mixer, normed, state=state)
        else:
            assert isinstance(state, AttentionState)
            x = x + step_attention(self.mixer, normed, state=state)
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class MomModel(nn.Module):
    """Embedding, blocks, norm: packed tokens to hidden states."""

    def __init__(self, config: MomConfig, *, compute_dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.config, self.compute_dtype = config, compute_dtype
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.d_model))
        nn.init.normal_(self.embedding, std=0.02)
        attends = set(config.attention_layers)
        self.blocks = nn.ModuleList(
            MomBlock(config, attends=i in attends) for i in range(config.layers)
        )
        self.norm = RmsNorm(config.d_model, eps=config.norm_eps)

    def new_state(self, sequences: int) -> MomState:
        """Return the empty state of ``sequences`` sequences."""
        return MomState(layers=tuple(b.mixer.new_state(sequences) for b in self._blocks()))

    def forward(
        self, packed: Packed, *, state: MomState | None = None, carries: bool = True
    ) -> MomOutput:
        """Run packed tokens from ``state`` (default: empty); the argument stays as it is.

        With ``carries=False`` nobody may go on from the state that is returned; it saves work.
        """
        real = packed.cu_seqlens.numel() - 1 - int(packed.spare)
        fresh = state is None
        state = self.new_state(real) if state is None else state
        if state.sequences != real:
            raise ValueError(
                f"The state holds {state.sequences} sequences, the batch {real}; "
                "select() or branch() the state to match."
            )
        if packed.spare:
            state = state.with_spare()
        # Not by an index: its backward pass adds the rows of a token one after the other.
        x = functional.embedding(packed.tokens, self.embedding)
        x = x if self.compute_dtype is None else x.to(self.compute_dtype)
        after, routes = [], []
        for block, before in zip(self._blocks(), state.layers, strict=True):
            x, layer, chosen = block(x, packed=packed, state=before, fresh=fresh, carries=carries)
            after.append(layer)
            routes += [] if chosen is None else [chosen]
        next_state = MomState(layers=tuple(after))
        if packed.spare:
            next_state = next_state.without_spare()
        return MomOutput(hidden=self.norm(x), state=next_state, routes=tuple(routes))

    @torch.no_grad()
    def step(self, tokens: Tensor, *, state: MomState) -> Tensor:
        """Take in one token of each sequence ``[S]``; change ``state``, return ``hidden [S, d]``.

        Equal to a pass over one token, without touching what that token does not use.
        """
        x = self.embedding[tokens]
        x = x if self.compute_dtype is None else x.to(self.compute_dtype)
        for block, layer in zip(self._blocks(), state.layers, strict=True):
            x = block.step(x, state=layer)
        out: Tensor = self.norm(x)
        return out

    def _blocks(self) -> Iterable[MomBlock]:
        return self.blocks  # type: ignore[return-value]


class MomForCausalLM(nn.Module):
    """`MomModel` with a head over the vocabulary, tied to the embedding unless told otherwise."""

    def __init__(self, config: MomConfig, *, compute_dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.config = config
        self.model = MomModel(config, compute_dtype=compute_dtype)
        if not config.tie_embeddings:
            self.head = nn.Parameter(torch.empty(config.vocab_size, config.d_model))
            nn.init.normal_(self.head, std=0.02)

    def new_state(self, sequences: int) -> MomState:
        """Return the empty state of ``sequences`` sequences."""
        return self.model.new_state(sequences)

    def forward(self, packed: Packed, *, state: MomState | None = None) -> tuple[Tensor, MomOutput]:
        """Return the logits ``[N, vocab]`` of the next token, in at least fp32, and the pass."""
        output: MomOutput = self.model(packed, state=state)
        return self.logits(output.hidden), output

    def step(self, tokens: Tensor, *, state: MomState) -> Tensor:
        """Take in one token of each sequence ``[S]``; change ``state``, return the logits."""
        return self.logits(self.model.step(tokens, state=state))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the next-token logits of hidden states, in at least fp32."""
        head = self.model.embedding if self.config.tie_embeddings else self.head
        return functional.linear(hidden, head.to(hidden.dtype)).to(accumulator_dtype(hidden))

    @torch.no_grad()
    def store_matrices(self, dtype: torch.dtype) -> None:
        """Keep the large matrices in ``dtype``, so that a decode step reads them as they lie.

        Routers, gates, norms and convolutions stay as they are: they are small, and a memory is
        picked by the same numbers as before.
        """
        for name, weight in self.named_parameters():
            if weight.dim() > 1 and not name.endswith(("router", "gate_up")) and "conv" not in name:
                weight.data = weight.data.to(dtype)

    def loss(
        self,
        packed: Packed,
        *,
        targets: Tensor,
        weights: Tensor,
        balance_weight: float,
        asked: Tensor | None = None,
    ) -> LossParts:
        """Return the weighted mean cross-entropy to ``targets [N]``, plus the balance loss.

        Only rows with a weight above zero matter; the caller shifts targets by one. ``asked [A]``
        are these rows, where they are known: no others get logits then.
        """
        output: MomOutput = self.model(packed, carries=False)
        hidden = output.hidden
        if asked is not None:
            hidden, targets, weights = hidden[asked], targets[asked], weights[asked]
        each = functional.cross_entropy(self.logits(hidden), targets, reduction="none")
        entropy = (each * weights).sum() / weights.sum().clamp(min=1e-9)
        balance = entropy.new_zeros(())
        if output.routes and self.config.memories:
            balance = balance_loss(output.routes, valid=packed.valid)
        return LossParts(
            total=entropy + balance_weight * balance, cross_entropy=entropy, balance=balance
        )


def count_parameters(model: nn.Module) -> int:
    """Return how many weights a model stores."""
    return sum(p.numel() for p in model.parameters())


def count_active(model: MomForCausalLM) -> int:
    """Return how many weights one token uses: unpicked memories do not count."""
    idle = 0
    for block in model.model.blocks:
        mixer = getattr(block, "mixer", None)
        if isinstance(mixer, Mixer):
            unpicked = mixer.config.groups - mixer.config.slots
            idle += unpicked * mixer.memory[0].numel()
    return count_parameters(model) - idle
