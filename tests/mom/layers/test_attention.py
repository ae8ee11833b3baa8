import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.layers.attention import WindowAttention, turn
from tests.mom.helpers import offsets


def _by_hand(layer: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """Attend over one sequence with one full matrix of scores."""
    tokens, width = x.shape
    q, k, v = (x @ layer.qkv.t()).view(tokens, 3, layer.heads, width // layer.heads).unbind(1)
    at = torch.arange(tokens)
    if layer.rope_base:
        q, k = (turn(item, position=at, base=layer.rope_base) for item in (q, k))
    gap = at[:, None] - at
    scores = torch.einsum("thd,shd->hts", q, k) / (width // layer.heads) ** 0.5
    scores = scores.masked_fill((gap < 0) | (gap >= layer.window), -torch.inf)
    return torch.einsum("hts,shd->thd", scores.softmax(-1), v).flatten(1) @ layer.out.t()


@pytest.mark.parametrize("base", [0.0, 10_000.0])
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 13), min_size=1, max_size=4), st.integers(1, 6), st.data())
def test_packed_and_continued_attention_is_plain_attention(base, lengths, window, data) -> None:
    layer = WindowAttention(8, heads=2, window=window, rope_base=base)
    sequences = [torch.randn(n, 8) for n in lengths]
    want = torch.cat([_by_hand(layer, x) for x in sequences])
    fresh, after = layer(
        torch.cat(sequences), cu_seqlens=offsets(lengths), state=layer.new_state(len(lengths)),
        max_seqlen=max(lengths), fresh=True,
    )  # fmt: skip
    torch.testing.assert_close(fresh, want)
    cuts = [data.draw(st.integers(0, n)) for n in lengths]
    heads = torch.cat([x[:c] for x, c in zip(sequences, cuts, strict=True)])
    tails = torch.cat([x[c:] for x, c in zip(sequences, cuts, strict=True)])
    begun, state = layer(heads, cu_seqlens=offsets(cuts), state=layer.new_state(len(lengths)))
    rest = [n - c for n, c in zip(lengths, cuts, strict=True)]
    ended, state = layer(tails, cu_seqlens=offsets(rest), state=state)
    start, stop = offsets(cuts), offsets(rest)
    for i, at in enumerate(offsets(lengths)[:-1]):
        mine = torch.cat([begun[start[i] : start[i + 1]], ended[stop[i] : stop[i + 1]]])
        torch.testing.assert_close(mine, want[at : at + lengths[i]])
    for got, expected in zip(state.tensors(), after.tensors(), strict=True):
        torch.testing.assert_close(got, expected)


def test_neighbours_in_a_pack_get_no_gradient() -> None:
    layer = WindowAttention(8, heads=2, window=4, rope_base=0.0)
    x = torch.randn(10, 8, requires_grad=True)
    y, _ = layer(x, cu_seqlens=offsets([4, 6]), state=layer.new_state(2), fresh=True)
    (gradient,) = torch.autograd.grad(y[:4].sum(), x)
    assert gradient[4:].abs().max() == 0
    assert gradient[:4].abs().min(1).values.max() > 0
