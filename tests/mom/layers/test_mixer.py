"""The layer is its oracle, and the acceptance list (a) to (e) holds, in train and eval mode."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.ops.rules import UpdateRule
from tests.mom.helpers import LAYER, offsets, one_by_one, random_state

SHAPES = [
    LAYER,
    replace(LAYER, conv="memory"),
    replace(LAYER, read="dense"),
    replace(LAYER, read="keyed"),
    replace(LAYER, shared=False, memories=3, top_k=1, gate="sigmoid", beta_max=2.0),
    replace(LAYER, memories=0, top_k=0),
]
BOTH_CONVS = [
    LAYER,
    replace(LAYER, conv="memory"),
    replace(LAYER, read="dense"),
    replace(LAYER, read="keyed"),
]


def _gradients(y, after, wrt):
    probe = torch.linspace(-1, 1, y.numel()).view_as(y)
    total = (y * probe).sum() + sum(x.square().sum() for x in after.tensors())
    return torch.autograd.grad(total, wrt, allow_unused=True)


@pytest.mark.parametrize("rule", list(UpdateRule))
@pytest.mark.parametrize(
    "config", SHAPES, ids=["before", "memory", "dense", "keyed", "routed", "shared"]
)
def test_layer_equals_the_oracle_forward_and_backward(config: MixerConfig, rule) -> None:
    mixer = Mixer(replace(config, rule=rule))
    lengths = [19, 0, 2]
    cu, x = offsets(lengths), torch.randn(21, config.d_model, requires_grad=True)
    state = random_state(mixer, 3)
    wrt = [x, *(p for p in mixer.parameters() if p.numel())]
    y, after, _ = mixer(x, cu_seqlens=cu, state=state)
    want, want_after = one_by_one(mixer, x, cu=cu, state=state)
    torch.testing.assert_close(y, want)
    for got, expected in zip(after.tensors(), want_after.tensors(), strict=True):
        torch.testing.assert_close(got, expected)
    pairs = zip(_gradients(y, after, wrt), _gradients(want, want_after, wrt), strict=True)
    for got, expected in pairs:
        assert (got is None) == (expected is None)
        if got is not None:
            torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("config", BOTH_CONVS, ids=["before", "memory", "dense", "keyed"])
def test_a_unrouted_memories_stay_bit_for_bit(config: MixerConfig) -> None:
    mixer = Mixer(replace(config, memories=6, top_k=1))
    state = random_state(mixer, 2)
    _, after, chosen = mixer(torch.randn(4, 10), cu_seqlens=offsets([3, 1]), state=state)
    for sequence, picked in enumerate([chosen.index[:3], chosen.index[3:]]):
        idle = [m for m in range(6) if m not in picked]
        assert len(idle) >= 3
        assert torch.equal(after.memories[sequence, idle], state.memories[sequence, idle])
        if config.conv == "memory":
            for old, new in zip(state.tails, after.tails, strict=True):
                assert torch.equal(new[sequence, idle], old[sequence, idle])


@pytest.mark.parametrize("conv", ["before", "memory"])
def test_b_other_memories_tokens_do_not_matter(conv) -> None:
    """Tokens routed elsewhere may change as they like; this memory's states and reads stay."""
    mixer = Mixer(replace(LAYER, conv=conv, shared=False, memories=2, top_k=1, conv_width=2))
    with torch.no_grad():
        mixer.convs[0][:, 0] = 0.0 if conv == "before" else mixer.convs[0][:, 0]
        mixer.router.zero_()
        mixer.router[0, 0], mixer.router[1, 0] = 5.0, -5.0
        if conv == "before":
            mixer.convs[0].fill_(0.0)[:, 1] = 1.0
    x = torch.randn(12, 10)
    side = torch.tensor([1, -1, -1, 1, 1, -1, 1, -1, -1, -1, 1, 1.0])
    x[:, 0] = side
    other = x.clone()
    other[side < 0, 1:] = torch.randn(int((side < 0).sum()), 9)
    results = [
        mixer(rows, cu_seqlens=offsets([12]), state=mixer.new_state(1)) for rows in (x, other)
    ]
    torch.testing.assert_close(results[0][0][side > 0], results[1][0][side > 0])
    torch.testing.assert_close(results[0][1].memories[:, 0], results[1][1].memories[:, 0])
    assert not torch.allclose(results[0][1].memories[:, 1], results[1][1].memories[:, 1])


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(BOTH_CONVS), st.integers(0, 23), st.booleans(), st.sampled_from(UpdateRule))
def test_c_no_output_or_gradient_comes_from_later(config, changed, training, rule) -> None:
    mixer = Mixer(replace(config, rule=rule)).train(training)
    x = torch.randn(24, 10)
    other = x.clone()
    other[changed] += 3.0
    cu = offsets([24])
    one, two = (mixer(rows, cu_seqlens=cu, state=mixer.new_state(1))[0] for rows in (x, other))
    torch.testing.assert_close(one[:changed], two[:changed], rtol=1e-11, atol=1e-13)
    assert not torch.allclose(one[changed], two[changed])
    x.requires_grad_(True)
    y = mixer(x, cu_seqlens=cu, state=mixer.new_state(1))[0]
    if changed:
        (gradient,) = torch.autograd.grad(y[changed - 1].sum(), x)
        assert gradient[changed:].abs().max() < 1e-13
        assert gradient[changed - 1].abs().max() > 0


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(BOTH_CONVS),
    st.sampled_from(UpdateRule),
    st.lists(st.lists(st.integers(0, 7), min_size=2, max_size=2), min_size=1, max_size=5),
)
def test_d_any_way_of_cutting_gives_the_same(config, rule, pieces) -> None:
    """Two sequences fed in pieces of any length, nothing included, equal one pass."""
    mixer = Mixer(replace(config, rule=rule))
    first, second = (torch.randn(sum(p[i] for p in pieces), 10) for i in (0, 1))
    start = random_state(mixer, 2)
    cu = offsets([len(first), len(second)])
    whole, end, _ = mixer(torch.cat([first, second]), cu_seqlens=cu, state=start)
    state, done, parts = start, [0, 0], ([], [])
    for a, b in pieces:
        rows = torch.cat([first[done[0] : done[0] + a], second[done[1] : done[1] + b]])
        y, state, _ = mixer(rows, cu_seqlens=offsets([a, b]), state=state)
        parts[0].append(y[:a])
        parts[1].append(y[a:])
        done = [done[0] + a, done[1] + b]
    torch.testing.assert_close(torch.cat([*parts[0], *parts[1]]), whole)
    for got, want in zip(state.tensors(), end.tensors(), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("config", BOTH_CONVS, ids=["before", "memory", "dense", "keyed"])
@pytest.mark.parametrize("training", [True, False])
def test_e_f_sequences_in_one_pack_are_alone(config: MixerConfig, training: bool) -> None:
    """Forward and backward: a neighbour's tokens reach neither outputs, states nor gradients."""
    mixer = Mixer(config).train(training)
    lengths = [5, 1, 0, 11, 2]
    cu, x = offsets(lengths), torch.randn(19, 10, requires_grad=True)
    y, after, _ = mixer(x, cu_seqlens=cu, state=mixer.new_state(5))
    (gradient,) = torch.autograd.grad(y[6:17].square().sum(), x)
    assert gradient[:6].abs().max() == 0
    assert gradient[17:].abs().max() == 0
    alone = x.detach()[6:17].requires_grad_(True)
    y_alone, after_alone, _ = mixer(alone, cu_seqlens=offsets([11]), state=mixer.new_state(1))
    (gradient_alone,) = torch.autograd.grad(y_alone.square().sum(), alone)
    torch.testing.assert_close(y[6:17], y_alone)
    torch.testing.assert_close(gradient[6:17], gradient_alone)
    torch.testing.assert_close(after.memories[3], after_alone.memories[0])


def test_one_memory_is_the_shared_one_by_another_name() -> None:
    """M=1 without a shared memory, and the shared memory alone, are the same function."""
    only = Mixer(replace(LAYER, memories=0, top_k=0))
    single = Mixer(replace(LAYER, memories=1, top_k=1, shared=False))
    weights = {n: w for n, w in only.state_dict().items() if n != "router"}
    single.load_state_dict(weights | {"router": single.router})
    x, cu = torch.randn(20, 10), offsets([20])
    one, two = (m(x, cu_seqlens=cu, state=m.new_state(1))[0] for m in (only, single))
    torch.testing.assert_close(one, two)


def test_state_size_is_what_the_configuration_says() -> None:
    for config in BOTH_CONVS:
        mixer = Mixer(config).float()
        assert mixer.new_state(1).nbytes == config.state_bytes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"top_k": 5}, "between 0 and memories=4"),
        ({"memories": 0, "top_k": 0, "shared": False}, "shared=true"),
        ({"read": "dense", "conv": "memory"}, 'read="dense" needs conv="before"'),
        ({"read": "keyed", "conv": "memory"}, 'read="keyed" needs conv="before"'),
        ({"read": "keyed", "shared": False}, "needs shared=true"),
        ({"conv_width": 1}, "at least 2"),
    ],
)
def test_a_senseless_layer_is_refused(change, says) -> None:
    with pytest.raises(ValueError, match=says):
        replace(LAYER, **change)


def test_a_query_is_sent_where_the_same_key_was_written() -> None:
    mixer = Mixer(replace(LAYER, read="keyed", memories=8, top_k=1)).float()
    key_width = mixer.config.key_width
    with torch.no_grad():
        mixer.query.copy_(mixer.memory[-1, :, :key_width].t())
    x = torch.randn(64, 10)
    chosen, _ = mixer.pick(x)
    assert chosen.reads is not None
    assert torch.equal(chosen.reads.argmax(1), chosen.index[:, 0])
    assert len(chosen.index.unique()) > 1
    torch.testing.assert_close(chosen.reads.sum(1), torch.ones(64))
