"""Every kernel against the plain form it stands for, forward and backward, in the interpreter."""

import pytest
import torch

from sculptor.mom.ops import block as plain_block
from sculptor.mom.ops import chunk as plain_delta
from sculptor.mom.ops import conv as plain_conv
from sculptor.mom.ops import grouped as plain_grouped
from sculptor.mom.ops import mix as plain_mix
from sculptor.mom.ops.heads import make_heads
from sculptor.mom.ops.kernels import (
    block,
    conv,
    delta,
    grouped,
    heads,
    linear,
    mix,
    routing,
    step,
    sums,
)
from sculptor.mom.ops.kernels.launches import MEASURED, Case, Setting
from sculptor.mom.ops.kernels.pieces import piece_rows
from sculptor.mom.ops.naive import naive_step
from sculptor.mom.ops.routing import RowPlan, plan_rows
from tests.mom.helpers import offsets, relative


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


def _gradients(outputs, inputs):
    total = sum((o * torch.linspace(-1, 1, o.numel()).view_as(o)).sum() for o in outputs)
    return [*(o.detach() for o in outputs), *torch.autograd.grad(total, list(inputs))]


def _close(got, want, *, bound=2e-6) -> None:
    assert len(got) == len(want)
    for one, two in zip(got, want, strict=True):
        assert relative(one, two) < bound


@pytest.mark.parametrize(
    ("lengths", "chunk", "key_dim", "value_dim", "gated"),
    [
        ([37, 0, 16, 1], 16, 16, 32, True),
        ([70, 5], 32, 32, 16, False),
        ([67, 0, 3], 64, 128, 16, True),
        ([1], 64, 64, 64, True),
        ([65, 30], 64, 16, 128, True),
    ],
)
def test_delta_rule(lengths, chunk, key_dim, value_dim, gated) -> None:
    rows, heads = sum(lengths), 2
    inputs = {
        "q": torch.randn(rows, heads, key_dim),
        "k": torch.nn.functional.normalize(torch.randn(rows, heads, key_dim), dim=-1),
        "v": torch.randn(rows, heads, value_dim),
        "beta": torch.rand(rows, heads) * 1.5,
        "initial_state": torch.randn(len(lengths), heads, key_dim, value_dim),
    }
    if gated:
        inputs["g"] = -torch.rand(rows, heads)
    for x in inputs.values():
        x.requires_grad_(True)
    how = {"g": None} | inputs | {"cu_seqlens": offsets(lengths), "scale": 0.3}
    want = _gradients(plain_delta.chunk_delta_rule(**how, erase=True), inputs.values())
    got = _gradients(delta.chunk_delta_rule(**how, chunk=chunk), inputs.values())
    _close(got, want)


def test_fast_decay_before_the_end_of_a_part_filled_chunk_gives_numbers() -> None:
    """Places behind a chunk's last row must not undo its decay: ``exp`` of that is infinite."""
    lengths = [50, 3]
    inputs = {
        "q": torch.randn(53, 1, 16),
        "k": torch.nn.functional.normalize(torch.randn(53, 1, 16), dim=-1),
        "v": torch.randn(53, 1, 16),
        "g": -8 * torch.rand(53, 1),
        "beta": torch.rand(53, 1),
        "initial_state": torch.randn(2, 1, 16, 16),
    }
    for x in inputs.values():
        x.requires_grad_(True)
    how = inputs | {"cu_seqlens": offsets(lengths), "scale": 0.3}
    want = _gradients(plain_delta.chunk_delta_rule(**how, erase=True), inputs.values())
    got = _gradients(delta.chunk_delta_rule(**how, chunk=64), inputs.values())
    _close(got, want, bound=5e-6)


def test_delta_rule_in_pieces() -> None:
    lengths = [75, 0, 32, 0]
    inputs = {
        "q": torch.randn(107, 1, 16),
        "k": torch.nn.functional.normalize(torch.randn(107, 1, 16), dim=-1),
        "v": torch.randn(107, 1, 32),
        "g": -torch.rand(107, 1),
        "beta": torch.rand(107, 1),
        "initial_state": torch.randn(4, 1, 16, 32),
    }
    for x in inputs.values():
        x.requires_grad_(True)
    how = inputs | {"cu_seqlens": offsets(lengths), "scale": 0.3, "chunk": 16, "max_seqlen": 75}
    want = _gradients(delta.chunk_delta_rule(**how, piece=0), inputs.values())
    got = _gradients(delta.chunk_delta_rule(**how, piece=32), inputs.values())
    _close(got, want, bound=4e-6)
    state = inputs["initial_state"]
    assert torch.equal(got[1][[1, 3]], state[[1, 3]])


def test_heads_that_go_one_after_the_other_give_the_same_bits(monkeypatch) -> None:
    inputs = [torch.randn(20, 3, 16) for _ in range(3)]
    inputs += [-torch.rand(20, 3), torch.rand(20, 3), torch.randn(1, 3, 16, 16)]
    q, k, v, g, beta, state = (x.requires_grad_(True) for x in inputs)
    results = []
    one_head = 2 * 16 * 16 * 4
    for at_once, limit in ((3, 2**29), (2, 2 * one_head), (1, 0)):
        monkeypatch.setattr(delta, "STATES_BYTES", limit)
        plan = delta.make_plan(q, v, segments=1, longest=20, chunk=16, piece=None)
        assert plan.heads_at_once == at_once
        outputs = delta.chunk_delta_rule(
            q=q, k=k * 0.2, v=v, g=g, beta=beta, scale=0.3, chunk=16, cu_seqlens=offsets([20]),
            initial_state=state,
        )  # fmt: skip
        results.append(_gradients(outputs, inputs))
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


@pytest.mark.parametrize("piece", [0, 32])
def test_an_empty_state_need_not_be_there_and_none_need_be_written(piece: int) -> None:
    lengths = [40, 0, 70]
    inputs = {
        "q": torch.randn(110, 1, 16),
        "k": torch.nn.functional.normalize(torch.randn(110, 1, 16), dim=-1),
        "v": torch.randn(110, 1, 16),
        "g": -torch.rand(110, 1),
        "beta": torch.rand(110, 1),
    }
    for x in inputs.values():
        x.requires_grad_(True)
    how = inputs | {"cu_seqlens": offsets(lengths), "scale": 0.3, "chunk": 16, "piece": piece}
    zero = torch.zeros(3, 1, 16, 16)
    o, final = delta.chunk_delta_rule(**how, initial_state=zero)
    want = _gradients([o], inputs.values())
    again, same = delta.chunk_delta_rule(**how, initial_state=None)
    assert torch.equal(same, final)
    o, nothing = delta.chunk_delta_rule(**how, initial_state=None, carries=False)
    assert nothing is None
    got = _gradients([o], inputs.values())
    assert all(torch.equal(a, b) for a, b in zip([again, *got], [o, *want], strict=True))


def test_the_state_alone_has_gradients_too() -> None:
    inputs = [torch.randn(20, 1, 16, requires_grad=True) for _ in range(3)]
    how = dict(zip("qkv", inputs, strict=True)) | {
        "g": None, "beta": torch.rand(20, 1), "cu_seqlens": offsets([20]), "scale": 0.3,
        "initial_state": torch.randn(1, 1, 16, 16, requires_grad=True),
    }  # fmt: skip
    wrt = [*inputs[1:], how["initial_state"]]
    _, want = plain_delta.chunk_delta_rule(**how, erase=True)
    _, got = delta.chunk_delta_rule(**how)
    _close(_gradients([got], wrt), _gradients([want], wrt))


@pytest.mark.parametrize("key_dim", [16, 64, 128])
def test_delta_rule_of_bf16_rows(key_dim: int) -> None:
    """Within the bounds of the specification: bf16 products, sums in fp32."""
    lengths = [70, 0, 9]
    inputs = {
        "q": torch.nn.functional.normalize(torch.randn(79, 1, key_dim), dim=-1).bfloat16(),
        "k": torch.nn.functional.normalize(torch.randn(79, 1, key_dim), dim=-1).bfloat16(),
        "v": torch.randn(79, 1, 64).bfloat16(),
        "g": -torch.rand(79, 1) * 0.2,
        "beta": torch.rand(79, 1),
        "initial_state": torch.randn(3, 1, key_dim, 64) * 0.3,
    }
    for x in inputs.values():
        x.requires_grad_(True)
    exact = {n: x.detach().double().requires_grad_(True) for n, x in inputs.items()}
    how = {"cu_seqlens": offsets(lengths), "scale": key_dim**-0.5}
    want = _gradients(plain_delta.chunk_delta_rule(**exact, **how, erase=True), exact.values())
    got = _gradients(delta.chunk_delta_rule(**inputs, **how), inputs.values())
    _close(got, want, bound=8e-3)


def test_only_a_few_long_segments_are_cut_into_pieces() -> None:
    assert piece_rows(rows=65_536 * 3, longest=65_536, programs=160, chunk=64) == 4096
    assert piece_rows(rows=65_536 * 3, longest=65_536, programs=2560, chunk=64) == 0
    assert piece_rows(rows=8192, longest=2048, programs=160, chunk=64) == 0
    with pytest.raises(ValueError, match="multiple of chunk=32"):
        delta.chunk_delta_rule(
            q=torch.zeros(1, 1, 16), k=torch.zeros(1, 1, 16), v=torch.zeros(1, 1, 16), g=None,
            beta=torch.zeros(1, 1), cu_seqlens=offsets([1]), scale=1.0, piece=65,
            initial_state=torch.zeros(1, 1, 16, 16),
        )  # fmt: skip


def test_chains_are_few_below_one_for_each_multiprocessor_and_where_nothing_is_cut() -> None:
    rows = torch.zeros(8192, 4, 128, dtype=torch.bfloat16)
    how = {"longest": 4096, "chunk": 64}
    plans = [
        delta.make_plan(rows, rows, segments=count, piece=piece, **how)
        for count, piece in ((16, 0), (17, 0), (16, 4096))
    ]
    assert [plan.few for plan in plans] == [True, False, False]  # two tiles, four heads: 128, 136
    assert plans[0].walk_case(128) == Case(128, 128, True, few=True)
    assert plans[0].case == Case(128, 128, True)


def test_delta_rule_stays_exact_when_one_key_comes_again_and_again() -> None:
    """The worst case of a triangular inverse by powers: all keys equal, full strength."""
    k = torch.nn.functional.normalize(torch.ones(64, 1, 16), dim=-1)
    v = torch.randn(64, 1, 16)
    o, final = delta.chunk_delta_rule(
        q=k, k=k, v=v, g=None, beta=torch.ones(64, 1), cu_seqlens=offsets([64]),
        initial_state=torch.zeros(1, 1, 16, 16), scale=1.0,
    )  # fmt: skip
    torch.testing.assert_close(o, v, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(k[0] @ final[0], v[-1:], rtol=1e-5, atol=1e-5)


def test_an_empty_segment_keeps_its_state_bit_for_bit() -> None:
    q, k, v = torch.randn(3, 5, 1, 16).unbind()
    state = torch.randn(3, 1, 16, 16)
    _, final = delta.chunk_delta_rule(
        q=q, k=k, v=v, g=None, beta=torch.rand(5, 1), cu_seqlens=offsets([0, 5, 0]),
        initial_state=state, scale=1.0,
    )  # fmt: skip
    assert torch.equal(final[[0, 2]], state[[0, 2]])


def test_what_the_kernels_cannot_take_is_refused() -> None:
    assert delta.fits(key_dim=64, value_dim=256)
    assert not delta.fits(key_dim=96, value_dim=64)
    q = torch.randn(4, 1, 16)
    how = {"q": q, "k": q, "v": q, "beta": torch.rand(4, 1), "cu_seqlens": offsets([4]),
           "initial_state": torch.zeros(1, 1, 16, 16), "scale": 1.0}  # fmt: skip
    with pytest.raises(ValueError, match="16, 32 or 64"):
        delta.chunk_delta_rule(**how, g=None, chunk=48)
    with pytest.raises(ValueError, match="one decay per head"):
        delta.chunk_delta_rule(**how, g=q)


@pytest.mark.parametrize("lengths", [[70, 0, 2, 1, 5], [3], [0, 130]])
@pytest.mark.parametrize(("channels", "width"), [(5, 4), (70, 2)])
def test_short_conv(lengths, channels, width) -> None:
    inputs = {
        "x": torch.randn(sum(lengths), channels),
        "weight": torch.randn(channels, width),
        "tails": torch.randn(len(lengths), width - 1, channels),
    }
    for x in inputs.values():
        x.requires_grad_(True)
    cu = offsets(lengths)
    want = _gradients(plain_conv.short_conv(**inputs, cu_seqlens=cu), inputs.values())
    got = _gradients(conv.short_conv(**inputs, cu_seqlens=cu), inputs.values())
    _close(got, want)


@pytest.mark.parametrize("lengths", [[5], [3, 0, 9, 0], [0, 600, 31], [512, 512, 0]])
@pytest.mark.parametrize(("memories", "top_k"), [(4, 2), (1, 1), (3, 3)])
@pytest.mark.parametrize("shared", [True, False])
def test_row_plan(lengths, memories, top_k, shared) -> None:
    tokens = sum(lengths)
    index = torch.rand(tokens, memories).argsort(1)[:, :top_k]
    how = {"cu_seqlens": offsets(lengths), "memories": memories, "shared": shared}
    want, got = plan_rows(index, **how), routing.plan_rows(index, **how)
    for name in ("row", "token", "memory", "offsets", "cu_rows"):
        assert getattr(got, name).tolist() == getattr(want, name).tolist(), name


@pytest.mark.parametrize(("inner", "wide", "columns"), [(24, 32, 37), (130, 150, 150)])
@pytest.mark.parametrize("least_rows", [4096, 16])
def test_grouped_linear(inner, wide, columns, least_rows: int, monkeypatch) -> None:
    monkeypatch.setattr(grouped, "_LEAST_ROWS", least_rows)  # 16: parts of a group are summed
    index = torch.stack([torch.randperm(4)[:2] for _ in range(33)])
    plan = plan_rows(index, cu_seqlens=offsets([20, 13]), memories=5, shared=True)
    x = torch.randn(33, inner, requires_grad=True)
    weight = torch.randn(6, inner, columns, requires_grad=True)
    want = _gradients([plain_grouped.grouped_linear(x, weight=weight, plan=plan)], (x, weight))
    rows, rest = grouped.grouped_linear(x, weight=weight, plan=plan, wide=wide)
    assert rows.shape == (99, wide)
    got = _gradients([torch.cat([rows, rest], dim=1)], (x, weight))
    _close(got[:2], want[:2])
    _close([got[2][:4], got[2][5]], [want[2][:4], want[2][5]])
    assert got[2][4].abs().max() == 0  # memory 4 got no row, so its weights get no gradient


@pytest.mark.parametrize("convolves", [True, False])
@pytest.mark.parametrize(("key_dim", "value_dim"), [(16, 32), (64, 16)])
def test_make_heads(convolves: bool, key_dim: int, value_dim: int) -> None:
    """Empty buckets, buckets shorter than the convolution, tails."""
    lengths, size, slots = [36, 2, 0], 2, 3
    index = torch.stack([torch.randperm(4)[:2] for _ in range(38)])
    plan = plan_rows(index, cu_seqlens=offsets(lengths), memories=4, shared=True)
    widths = [size * key_dim, size * key_dim, size * value_dim]
    buckets = plan.cu_rows.numel() - 1
    rows = torch.randn(38 * slots, sum(widths[1:]), requires_grad=True)
    tokens = torch.randn(38, widths[0], requires_grad=True)
    convs = [torch.randn(w, 4, requires_grad=True) for w in widths] if convolves else []
    tails = [torch.randn(buckets, 3, len(w), requires_grad=True) for w in convs]
    results = []
    for make in (make_heads, heads.make_heads):
        made = make(
            rows, tokens=tokens, plan=plan, convs=convs, tails=tails,
            heads=size, key_dim=key_dim, value_dim=value_dim,
        )  # fmt: skip
        outputs = [made.q, made.k, made.v, *made.tails]
        results.append(_gradients(outputs, [rows, tokens, *convs, *tails]))
    _close(results[1], results[0])


@pytest.mark.parametrize(
    ("width", "tiles", "lengths"),
    [
        (4, {"BT": 2, "TILES": 4, "AHEAD": 2}, [19, 0, 1, 6]),
        (4, {"BT": 1, "TILES": 1, "AHEAD": 1}, [5, 2]),
        (2, {"BT": 4, "TILES": 3, "AHEAD": 3}, [23, 3]),
        (3, {"BT": 2, "TILES": 8, "AHEAD": 4}, [0, 31]),
        (5, {"BT": 8, "TILES": 2, "AHEAD": 1}, [3, 20]),
    ],
)
def test_buckets_begin_anywhere_in_the_runs_of_a_program(
    width: int, tiles: dict[str, int], lengths: list[int], monkeypatch
) -> None:
    """Within a run, at its first rows, and where a program with others of one bucket meets it."""
    index = torch.stack([torch.randperm(3)[:1] for _ in range(sum(lengths))])
    plan = plan_rows(index, cu_seqlens=offsets(lengths), memories=3, shared=True)
    _launch_heads(tiles, width, monkeypatch)
    inputs = _one_head(plan, width=width)
    want = _heads_gradients(make_heads, plan, inputs)
    _close(_heads_gradients(heads.make_heads, plan, inputs), want)


@pytest.mark.parametrize("behind", [0, 1, 2])
def test_a_bucket_that_begins_behind_a_run_takes_nothing_from_its_rows(
    behind: int, monkeypatch
) -> None:
    """The second program sees it in none of its own rows, but in those it goes on for."""
    plan = _two_buckets(8 + behind, 2)
    _launch_heads({"BT": 1, "TILES": 4, "AHEAD": 2}, 4, monkeypatch)
    inputs = _one_head(plan, width=4)
    want = _heads_gradients(make_heads, plan, inputs)
    _close(_heads_gradients(heads.make_heads, plan, inputs), want)


def test_tails_without_a_gradient_leave_all_other_gradients_as_they_are(monkeypatch) -> None:
    plan = _two_buckets(7, 5)
    _launch_heads({"BT": 2, "TILES": 4, "AHEAD": 1}, 4, monkeypatch)
    inputs = _one_head(plan, width=4)
    with_tails = _heads_gradients(heads.make_heads, plan, inputs)
    fixed = [*inputs[:5], *(x.detach() for x in inputs[5:])]
    without = _heads_gradients(heads.make_heads, plan, fixed)
    assert len(with_tails) == len(without) + 3
    assert all(torch.equal(a, b) for a, b in zip(with_tails, without, strict=False))


def _launch_heads(tiles: dict[str, int], width: int, monkeypatch) -> None:
    for name in ("heads_kernel", "heads_gradient_kernel"):
        monkeypatch.setitem(MEASURED, (name, Case(16, width, False)), Setting(tiles=tiles))


def _two_buckets(*lengths: int) -> RowPlan:
    index = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)).unsqueeze(1)
    return plan_rows(index, cu_seqlens=offsets([sum(lengths)]), memories=2, shared=False)


def _one_head(plan: RowPlan, *, width: int) -> list[torch.Tensor]:
    """Return rows, tokens, three weights and three tails of a head with 16 channels."""
    buckets = plan.cu_rows.numel() - 1
    sizes = [(plan.token.numel(), 32), (plan.row.shape[0], 16)]
    sizes += [(16, width)] * 3 + [(buckets, width - 1, 16)] * 3
    return [torch.randn(*size, requires_grad=True) for size in sizes]


def _heads_gradients(make, plan: RowPlan, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the outputs, then the gradients of those ``inputs`` that need one."""
    rows, tokens, *others = inputs
    made = make(
        rows, tokens=tokens, plan=plan, convs=others[:3], tails=others[3:], heads=1, key_dim=16,
        value_dim=16,
    )  # fmt: skip
    outputs = [made.q, made.k, made.v, *made.tails]
    return _gradients(outputs, [x for x in inputs if x.requires_grad])


@pytest.mark.parametrize("used", [(True, True, True), (True, False, True), (True, True, False)])
def test_linear_maps_of_the_same_rows_add_up_their_gradients(used) -> None:
    """Twice over one graph, for gradients are added in place."""
    x = torch.randn(9, 5, requires_grad=True)
    weights = [torch.randn(n, 5, requires_grad=True) for n in (4, 3)]
    one, kept = linear.linear(x, weight=weights[0])
    two, last = linear.linear(kept, weight=weights[1])
    want = [x @ w.t() for w in weights] + [x]
    inputs = [x, *weights]
    totals = [
        sum(
            (out * out.detach().sin()).sum()
            for out, is_used in zip(outs, used, strict=True)
            if is_used
        )
        for outs in ((one, two, last), want)
    ]
    how = {"allow_unused": True, "retain_graph": True}
    mine = [torch.autograd.grad(totals[0], inputs, **how) for _ in range(2)]
    theirs = torch.autograd.grad(totals[1], inputs, allow_unused=True)
    for first, second, plain in zip(*mine, theirs, strict=True):
        assert (first is None) == (plain is None)
        if plain is not None:
            assert torch.equal(first, second)
            assert relative(first, plain) < 2e-6


def test_within_autocast_products_keep_the_dtype_of_their_rows() -> None:
    index = torch.stack([torch.randperm(3)[:2] for _ in range(9)])
    plan = plan_rows(index, cu_seqlens=offsets([9]), memories=3, shared=True)
    x = torch.randn(9, 24, requires_grad=True)
    weights = torch.randn(4, 24, 37, requires_grad=True), torch.randn(5, 24, requires_grad=True)
    results = []
    for on in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
            y, handed = linear.linear(x, weight=weights[1])
            outputs = (y, *grouped.grouped_linear(handed, weight=weights[0], plan=plan, wide=32))
        results.append(_gradients(outputs, (x, *weights)))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize("shape", [(1, 3), (257, 2, 9), (2049, 1), (0, 4)])
def test_parts_are_added_up(shape: tuple[int, ...]) -> None:
    parts = torch.randn(shape)
    got = sums.sum_parts(parts)
    assert got.shape == shape[1:]
    assert torch.allclose(got, parts.double().sum(0).float(), atol=1e-4)


@pytest.mark.parametrize("gate", ["swish", "sigmoid"])
def test_mix_norm(gate: str) -> None:
    index = torch.stack([torch.randperm(3)[:2] for _ in range(37)])
    plan = plan_rows(index, cu_seqlens=offsets([37]), memories=3, shared=True)
    o, z = torch.randn(111, 2, 64), torch.randn(37, 2, 64)
    weights, norm = torch.rand(37, 3), torch.rand(64)
    inputs = [x.requires_grad_(True) for x in (o, weights, z, norm)]
    mixed = plain_mix.mix_rows(o, weights=weights, plan=plan)
    want = plain_mix.gated_norm(mixed, z=z, weight=norm, eps=1e-6, gate=gate)
    got = mix.mix_norm(o, weights=weights, row=plan.row, z=z, norm=norm, eps=1e-6, gate=gate)
    _close(_gradients([got], inputs), _gradients([want], inputs))


@pytest.mark.parametrize("width", [20, 48])
def test_norm_and_gate_of_a_block(width: int) -> None:
    x, weight, wide = torch.randn(37, width), torch.rand(width), torch.randn(37, 2 * width)
    inputs = [tensor.requires_grad_(True) for tensor in (x, weight, wide)]
    results = [
        _gradients([form.rms_norm(x, weight=weight, eps=1e-6), form.swiglu(wide)], inputs)
        for form in (block, plain_block)
    ]
    _close(*results)


def test_decode_step_touches_the_picked_states_only() -> None:
    memory = torch.tensor([[2, 4], [0, 4], [3, 4]])
    x, weight = torch.randn(3, 40), torch.randn(5, 40, 70)
    got = step.picked_linear(x, weight=weight, memory=memory)
    _close([got], [torch.einsum("sd,spdc->spc", x, weight[memory]).flatten(0, 1)])
    state = torch.randn(3, 5, 2, 16, 32)
    before = state.clone()
    q, k, v = torch.randn(6, 2, 16), torch.randn(6, 2, 16) * 0.2, torch.randn(6, 2, 32)
    g, beta = -torch.rand(6, 2), torch.rand(6, 2)
    o = step.state_step(state, q=q, k=k, v=v, g=g, beta=beta, memory=memory, scale=0.5)
    sequence = torch.arange(3).repeat_interleave(2)
    want, after = naive_step(
        before[sequence, memory.flatten()], q=q, k=k, v=v, g=g, beta=beta, scale=0.5, erase=True,
    )  # fmt: skip
    _close([o, state[sequence, memory.flatten()]], [want, after])
    idle = torch.ones(3, 5, dtype=torch.bool).scatter(1, memory, False)
    assert torch.equal(state[idle], before[idle])
