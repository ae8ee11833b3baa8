"""The chunk form is the oracle: outputs, states and every gradient, any packing."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.ops.chunk import chunk_delta_rule
from sculptor.mom.ops.naive import naive_delta_rule
from tests.mom.helpers import offsets, relative

LENGTHS = st.lists(st.integers(0, 21), min_size=1, max_size=4)


def _inputs(lengths, *, decay, key_dim=4, value_dim=3, heads=2):
    rows = sum(lengths)
    shape = {"none": None, "head": (rows, heads), "channel": (rows, heads, key_dim)}[decay]
    given_ = {
        "q": torch.randn(rows, heads, key_dim),
        "k": torch.nn.functional.normalize(torch.randn(rows, heads, key_dim), dim=-1),
        "v": torch.randn(rows, heads, value_dim),
        "beta": torch.rand(rows, heads),
        "initial_state": torch.randn(len(lengths), heads, key_dim, value_dim),
    }
    if shape is not None:
        given_["g"] = -torch.rand(shape) * 3
    for x in given_.values():
        x.requires_grad_(True)
    return given_


def _gradients(run, given_, cu, **how):
    o, final = run(**({"g": None} | given_), cu_seqlens=cu, scale=0.5, **how)
    probe = torch.linspace(-1, 1, o.numel()).view_as(o)
    ((o * probe).sum() + final.square().sum()).backward()
    got = {name: x.grad for name, x in given_.items()}
    for x in given_.values():
        x.grad = None
    return o.detach(), final.detach(), got


@settings(max_examples=40, deadline=None)
@given(
    LENGTHS,
    st.sampled_from(["none", "head", "channel"]),
    st.booleans(),
    st.sampled_from([1, 4, 16]),
    st.integers(0, 99),
)
def test_chunk_equals_naive_forward_and_backward(lengths, decay, erase, chunk, seed) -> None:
    torch.manual_seed(seed)
    given_, cu = _inputs(lengths, decay=decay), offsets(lengths)
    want = _gradients(naive_delta_rule, given_, cu, erase=erase)
    got = _gradients(
        chunk_delta_rule, given_, cu, erase=erase, chunk=chunk, max_seqlen=max([*lengths, 1])
    )
    torch.testing.assert_close(got[0], want[0])
    torch.testing.assert_close(got[1], want[1])
    for name, gradient in want[2].items():
        if gradient is not None:
            torch.testing.assert_close(got[2][name], gradient, rtol=1e-6, atol=1e-9)


def test_an_empty_segment_hands_its_state_on_bit_for_bit() -> None:
    lengths = [5, 0, 9]
    given_ = _inputs(lengths, decay="head")
    _, final = chunk_delta_rule(**given_, cu_seqlens=offsets(lengths), scale=1.0, erase=True)
    assert torch.equal(final[1], given_["initial_state"][1])
    assert not torch.equal(final[0], given_["initial_state"][0])


def test_strong_decay_makes_no_overflow() -> None:
    given_ = _inputs([64], decay="head")
    with torch.no_grad():
        given_["g"].fill_(-900.0)
    o, final, gradients = _gradients(chunk_delta_rule, given_, offsets([64]), erase=True)
    assert all(x.isfinite().all() for x in [o, final, *gradients.values()])


def test_single_precision_meets_the_tolerances_over_a_thousand_rows() -> None:
    given_, cu = _inputs([700, 324], decay="head", key_dim=64, value_dim=64), offsets([700, 324])
    with torch.no_grad():
        given_["g"].mul_(0.05)
    o, final, want = _gradients(naive_delta_rule, given_, cu, erase=True)
    single = {n: x.detach().float().requires_grad_(True) for n, x in given_.items()}
    o32, final32, got = _gradients(chunk_delta_rule, single, cu, erase=True)
    assert relative(o32, o) < 1e-5
    assert relative(final32, final) < 1e-5
    assert all(relative(got[name], want[name]) < 1e-4 for name in want)
