"""Causal attention over a window of tokens, for hybrid models.

Packed like everything else: a token sees itself and the ``window - 1`` tokens before it in its own
sequence. The state is the keys and values of the last ``window`` tokens, so it is as constant in
size as a memory's. Work is done in blocks of rows, which see themselves and the blocks before that
reach into their window, so the cost is linear in the tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sculptor.mom.layers.tensors import TensorRecord
from sculptor.mom.ops.segments import last_rows, locate_rows, with_tails

_BLOCK = 256
"""Rows of a block at most: of the keys it is shown, all but so many are in some row's window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionState(TensorRecord):
    """``keys values [S, window, H, D]`` oldest first, and how many tokens were seen ``[S]``.

    Keys are stored turned to their position. Places older than the first token are empty.
    """

    keys: Tensor
    values: Tensor
    seen: Tensor


class WindowAttention(nn.Module):
    """Attention with ``heads`` heads over the last ``window`` tokens, rotary or position-free."""

    def __init__(self, d_model: int, *, heads: int, window: int, rope_base: float) -> None:
        super().__init__()
        self.heads, self.window, self.rope_base = heads, window, rope_base
        self.qkv = nn.Parameter(torch.empty(3 * d_model, d_model))
        self.out = nn.Parameter(torch.empty(d_model, d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from N(0, 0.02)."""
        for weight in (self.qkv, self.out):
            nn.init.normal_(weight, std=0.02)

    def new_state(self, sequences: int) -> AttentionState:
        """Return the empty state of ``sequences`` sequences, on the weights' device."""
        size = (sequences, self.window, self.heads, self.out.shape[0] // self.heads)
        seen = torch.zeros(sequences, dtype=torch.int64, device=self.out.device)
        return AttentionState(
            keys=self.out.new_zeros(size), values=self.out.new_zeros(size), seen=seen
        )

    def forward(
        self,
        x: Tensor,
        *,
        cu_seqlens: Tensor,
        state: AttentionState,
        max_seqlen: int | None = None,
        fresh: bool = False,
        carries: bool = True,
    ) -> tuple[Tensor, AttentionState]:
        """Attend over ``x [N, d]``; ``fresh`` promises that ``state`` is empty and saves work.

        So does ``carries=False``, where nobody goes on from the state; it is returned as it came.
        """
        at = locate_rows(cu_seqlens, rows=x.shape[0])
        position = state.seen[at.segment] + at.place
        projected = functional.linear(x, self.qkv.to(x.dtype))
        shape = (3, self.heads, self.out.shape[0] // self.heads)
        q, k, v = torch.unflatten(projected, 1, shape).unbind(1)
        if self.rope_base:
            q, k = (turn(item, position=position, base=self.rope_base) for item in (q, k))
        after = state
        if carries:
            after = self._next_state(k, v, cu_seqlens=cu_seqlens, state=state)
        window = self.window
        if fresh:
            window = max(1, min(window, max_seqlen or x.shape[0]))
            o = _attend(q, k, v, segment=at.segment, position=position, window=window)
        else:
            o = self._attend_to_past(q, k, v, cu_seqlens=cu_seqlens, state=state)
        return functional.linear(o.flatten(1), self.out.to(x.dtype)), after

    def _next_state(
        self, k: Tensor, v: Tensor, *, cu_seqlens: Tensor, state: AttentionState
    ) -> AttentionState:
        index = last_rows(cu_seqlens, width=self.window)
        return AttentionState(
            keys=with_tails(k, state.keys)[index].to(state.keys.dtype),
            values=with_tails(v, state.values)[index].to(state.values.dtype),
            seen=state.seen + cu_seqlens.diff(),
        )

    def _attend_to_past(
        self, q: Tensor, k: Tensor, v: Tensor, *, cu_seqlens: Tensor, state: AttentionState
    ) -> Tensor:
        """Pack each sequence behind its own window of past keys and attend over both."""
        sequences, window, tokens = state.seen.numel(), self.window, q.shape[0]
        at = locate_rows(cu_seqlens, rows=tokens)
        lead = torch.arange(sequences, device=q.device).unsqueeze(1)
        back = torch.arange(window, device=q.device)
        past_row = (cu_seqlens[:-1].unsqueeze(1) + lead * window + back).flatten()
        new_row = torch.arange(tokens, device=q.device) + (at.segment + 1) * window
        row = torch.cat([past_row, new_row])
        position = torch.cat(
            [(state.seen.unsqueeze(1) - window + back).flatten(), state.seen[at.segment] + at.place]
        )
        segment = torch.cat([lead.expand(-1, window).flatten(), at.segment])
        none_yet = torch.zeros_like(state.keys)
        o = _attend(
            _placed(with_tails(q, none_yet), row),
            _placed(with_tails(k, state.keys), row),
            _placed(with_tails(v, state.values), row),
            segment=_placed(segment, row),
            position=_placed(position, row),
            window=window,
        )
        return o[new_row]


def turn(x: Tensor, *, position: Tensor, base: float) -> Tensor:
    """Turn ``x [N, H, D]`` to its position (rotary embedding, arXiv 2104.09864).

    Angles are taken in fp64: at a million tokens fp32 would already be off by hundredths.
    """
    half = x.shape[-1] // 2
    power = torch.arange(half, device=x.device, dtype=torch.float64) / half
    angle = (position.double().unsqueeze(1) * base**-power).unsqueeze(1)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


def _placed(x: Tensor, row: Tensor) -> Tensor:
    return torch.zeros_like(x).index_copy(0, row, x)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, *, segment: Tensor, position: Tensor, window: int
) -> Tensor:
    """Attend in blocks of rows; places with a negative position hold nothing."""
    rows = q.shape[0]
    if rows == 0:
        return q
    block = min(window, rows, _BLOCK)
    before = -(-(window - 1) // block)
    spare = -rows % block
    q, k, v = (functional.pad(x, (0, 0, 0, 0, 0, spare)) for x in (q, k, v))
    segment, position = (functional.pad(x, (0, spare), value=-1) for x in (segment, position))
    q, k, v = (torch.unflatten(x, 0, (-1, block)).transpose(1, 2) for x in (q, k, v))
    segment, position = (torch.unflatten(x, 0, (-1, block)) for x in (segment, position))
    k, v = (_with_blocks_before(x, before, dim=2) for x in (k, v))
    key_segment = _with_blocks_before(segment, before, dim=1, fill=-2).unsqueeze(1)
    key_position = _with_blocks_before(position, before, dim=1, fill=-1).unsqueeze(1)
    gap = position.unsqueeze(2) - key_position
    shown = (before + 1) * block
    own = torch.eye(block, shown, dtype=torch.bool, device=q.device).roll(before * block, 1)
    seen = (segment.unsqueeze(2) == key_segment) & (gap >= 0) & (gap < window)
    seen = (seen & (key_position >= 0)) | own
    o = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen.unsqueeze(1))
    return o.transpose(1, 2).flatten(0, 1)[:rows]


def _with_blocks_before(x: Tensor, before: int, *, dim: int, fill: int = 0) -> Tensor:
    """Put the ``before`` blocks before each block in front of it, along ``dim``."""
    blocks = x.shape[0]
    padded = torch.cat([x.new_full((before, *x.shape[1:]), fill), x])
    return torch.cat([padded[i : i + blocks] for i in range(before + 1)], dim=dim)
