"""The router and the gates over kernels against their plain forms, in the interpreter."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sculptor.mom.layers import gates as plain_gates
from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.ops import routing
from sculptor.mom.ops.kernels import gate_kernels, route_kernels
from sculptor.mom.ops.kernels.gates import head_gates
from sculptor.mom.ops.kernels.route import MOST_MEMORIES, route
from tests.mom.helpers import offsets, relative

BOUNDS = {torch.float32: 2e-6, torch.bfloat16: 4e-3}


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)


def _probe(x: Tensor) -> Tensor:
    """Weigh neighbours differently: of equal ones the gradient of a softmax is mere rounding."""
    return (x.float() * torch.arange(1.0, x.numel() + 1).sin().view_as(x)).sum()


def _close(got: Tensor, want: Tensor, bound: float = 2e-6) -> None:
    assert got.dtype == want.dtype
    assert relative(got.detach().float(), want.detach().float()) < bound


def _leaves(*tensors: Tensor) -> list[Tensor]:
    return [x.detach().clone().requires_grad_(True) for x in tensors]


def _tokens(rows: int, width: int, memories: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, width).to(dtype), torch.randn(memories, width) * 3 * width**-0.5


def _route_plainly(x: Tensor, **how) -> tuple[routing.Route, Tensor]:
    return routing.route(x, **how), x


@pytest.mark.parametrize("dtype", list(BOUNDS), ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    ("rows", "width", "memories", "top_k"),
    [
        (23, 20, 4, 2),
        (1, 20, 1, 1),
        (5, 384, 4, 4),
        (9, 33, 5, 3),
        (3, 2050, 3, 1),
        (17, 8, 16, 16),
    ],
)
def test_router(dtype, rows, width, memories, top_k) -> None:
    x, weight = _tokens(rows, width, memories, dtype)
    results = []
    for form in (_route_plainly, route):
        inputs = _leaves(x, weight)
        chosen, passed = form(inputs[0], weight=inputs[1], top_k=top_k)
        total = _probe(chosen.probabilities) + _probe(chosen.weights) + _probe(passed)
        results.append((chosen, passed, torch.autograd.grad(total, inputs)))
    (want, x, back), (got, passed, returned) = results
    assert torch.equal(got.index, want.index)
    assert not got.index.requires_grad
    assert torch.equal(passed, x)
    _close(got.probabilities, want.probabilities)
    _close(got.weights, want.weights)
    _close(returned[0], back[0], BOUNDS[dtype])
    _close(returned[1], back[1])


def test_few_programs_take_the_tiles_of_the_routers_gradient_in_turn(monkeypatch) -> None:
    monkeypatch.setattr("sculptor.mom.ops.kernels.route._WARPS", 2)
    x, weight = _tokens(40, 384, 3, torch.float32)
    results = []
    for form in (_route_plainly, route):
        inputs = _leaves(x, weight)
        chosen, _ = form(inputs[0], weight=inputs[1], top_k=2)
        total = _probe(chosen.probabilities) + _probe(chosen.weights)
        results.append(torch.autograd.grad(total, inputs))
    for got, want in zip(*reversed(results), strict=True):
        _close(got, want)


@pytest.mark.parametrize("used", ["probabilities", "weights", "x", "probabilities x", "weights x"])
def test_router_where_some_outputs_have_no_gradient(used) -> None:
    x, weight = _tokens(19, 20, 4, torch.float32)
    results = []
    for form in (_route_plainly, route):
        inputs = _leaves(x, weight)
        chosen, passed = form(inputs[0], weight=inputs[1], top_k=2)
        outputs = {"probabilities": chosen.probabilities, "weights": chosen.weights, "x": passed}
        total = sum(_probe(outputs[name]) for name in used.split())
        results.append(torch.autograd.grad(total, inputs, allow_unused=True))
    for want, got in zip(*results, strict=True):
        assert (got is None) == (want is None)
        if want is not None:
            _close(got, want)


def test_what_later_users_give_is_added_to_the_routers_own_gradient() -> None:
    x, weight = _leaves(*_tokens(11, 20, 4, torch.bfloat16))
    chosen, passed = route(x, weight=weight, top_k=2)
    later = torch.randn(11, 20).to(x.dtype)
    (own,) = torch.autograd.grad(_probe(chosen.weights), x, retain_graph=True)
    (both,) = torch.autograd.grad(_probe(chosen.weights) + (passed * later).sum(), x)
    assert own.float().norm() > 0
    _close(both, own + later, BOUNDS[torch.bfloat16])


def test_of_equal_probabilities_the_first_memories_are_picked() -> None:
    weight = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0]])
    chosen, _ = route(torch.tensor([[1.0], [0.0], [-1.0]]), weight=weight, top_k=4)
    assert chosen.index.tolist() == [[1, 2, 4, 0], [0, 1, 2, 3], [0, 3, 1, 2]]
    torch.testing.assert_close(chosen.weights.sum(1), torch.ones(3))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_no_number_still_goes_to_memories_that_there_are() -> None:
    x, weight = _tokens(9, 20, 5, torch.float32)
    x[3] = torch.nan
    chosen, _ = route(x, weight=weight, top_k=3)
    want = routing.route(x, weight=weight, top_k=3)
    assert chosen.index[3].tolist() == [0, 1, 2]
    assert chosen.weights[3].isnan().all()
    others = torch.arange(9) != 3
    assert torch.equal(chosen.index[others], want.index[others])


def test_of_a_sure_choice_gradients_are_numbers() -> None:
    x, weight = _leaves(torch.full((2, 4), 50.0), torch.eye(4) * torch.arange(4.0))
    chosen, _ = route(x, weight=weight, top_k=4)
    assert (chosen.probabilities == 0).any()
    gradients = torch.autograd.grad(_probe(chosen.weights) + _probe(chosen.probabilities), weight)
    assert gradients[0].isfinite().all()


@pytest.mark.parametrize(
    ("rows", "memories", "top_k", "dtype"),
    [
        (4, MOST_MEMORIES + 1, 2, torch.float32),
        (4, 0, 0, torch.float32),
        (4, 3, 0, torch.float32),
        (0, 4, 2, torch.float32),
        (4, 4, 2, torch.float64),
    ],
)
def test_what_no_kernel_is_for_is_routed_plainly(rows, memories, top_k, dtype, monkeypatch) -> None:
    monkeypatch.delattr(route_kernels, "route_kernel")
    x, weight = _tokens(rows, 20, memories, dtype)
    chosen, passed = route(x, weight=weight, top_k=top_k)
    want = routing.route(x, weight=weight, top_k=top_k)
    assert passed is x
    for name in ("probabilities", "index", "weights"):
        assert torch.equal(getattr(chosen, name), getattr(want, name))


def _plain_gates(rest, *, a_log, dt_bias, beta_max, writes):
    heads = a_log.numel()
    config = MixerConfig(d_model=8, heads=heads, key_dim=4, value_dim=4, beta_max=beta_max)
    g = plain_gates.head_decay(rest[:, heads:], a_log=a_log, dt_bias=dt_bias)
    beta = plain_gates.write_strength(config, rest[:, :heads], rows=rest)
    return (g, beta) if writes is None else (g * writes[:, None], beta * writes[:, None])


def _gate_weights(heads: int) -> tuple[Tensor, Tensor]:
    a_log, dt_bias = torch.empty(heads), torch.empty(heads)
    plain_gates.draw_head_decay(a_log, dt_bias)
    return a_log, dt_bias


@pytest.mark.parametrize("dtype", list(BOUNDS), ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    ("rows", "heads", "beta_max", "some_read", "used"),
    [
        (23, 2, 1.0, False, "g beta"),
        (600, 4, 2.0, True, "g beta"),
        (7, 3, 1, True, "g"),
        (1, 1, 2, False, "beta"),
    ],
)
def test_gates(dtype, rows, heads, beta_max, some_read, used) -> None:
    rest = (4 * torch.randn(rows, 2 * heads)).to(dtype)
    writes = (torch.rand(rows) < 0.6).float() if some_read else None
    weights = _gate_weights(heads)
    results = []
    for form in (_plain_gates, head_gates):
        inputs = _leaves(rest, *weights)
        how = {"a_log": inputs[1], "dt_bias": inputs[2], "beta_max": beta_max, "writes": writes}
        outputs = dict(zip(("g", "beta"), form(inputs[0], **how), strict=True))
        total = sum(_probe(outputs[name]) for name in used.split())
        gradients = torch.autograd.grad(total, inputs, materialize_grads=True)
        results.append((*outputs.values(), *gradients))
    for i, (want, got) in enumerate(zip(*results, strict=True)):
        _close(got, want, BOUNDS[dtype] if i == 2 else 2e-6)


@pytest.mark.parametrize("cut", [lambda x: x[:, 5:11], lambda x: x.t()[:, 5:11]])
def test_gates_of_columns_cut_out_of_wider_rows(cut) -> None:
    whole = torch.randn(20, 20)
    a_log, dt_bias = _gate_weights(3)
    how = {"a_log": a_log, "dt_bias": dt_bias, "beta_max": 1.0, "writes": None}
    results = []
    for form in (_plain_gates, head_gates):
        (x,) = _leaves(whole)
        g, beta = form(cut(x), **how)
        results.append((g, beta, *torch.autograd.grad(_probe(g) + _probe(beta), x)))
    assert g.is_contiguous()
    assert beta.is_contiguous()
    for want, got in zip(*results, strict=True):
        _close(got, want)


@pytest.mark.parametrize("middle", [-40.0, -12.0, 0.0, 12.0, 40.0])
def test_decay_keeps_every_bit_of_small_and_great_steps(middle) -> None:
    gate = middle + torch.linspace(-3, 3, 64)
    one = torch.zeros(1)
    g, _ = head_gates(torch.stack([gate] * 2, 1), a_log=one, dt_bias=one, beta_max=1.0, writes=None)
    want = -torch.nn.functional.softplus(gate.double(), threshold=100)
    assert ((g[:, 0].double() - want) / want).abs().max() < 1e-6


def _count(monkeypatch, module, name: str) -> list[int]:
    calls, kernel = [], getattr(module, name)

    class Counted:
        def __getitem__(self, grid):
            calls.append(grid[0])
            return kernel[grid]

    monkeypatch.setattr(module, name, Counted())
    return calls


@pytest.mark.parametrize(
    ("change", "routes", "gates"),
    [
        ({}, 1, 1),
        ({"read": "dense"}, 1, 1),
        ({"read": "keyed"}, 0, 1),
        ({"rule": "delta"}, 1, 0),
        ({"rule": "gla"}, 1, 0),
    ],
)
def test_a_mixer_runs_the_kernels_that_its_config_has(change, routes, gates, monkeypatch) -> None:
    config = MixerConfig(d_model=20, heads=1, key_dim=16, value_dim=16)
    if "rule" in change:
        change = {"rule": type(config.rule)(change["rule"])}
    mixer = Mixer(replace(config, **change))
    mixer.backend = "triton"
    routed = _count(monkeypatch, route_kernels, "route_kernel")
    gated = _count(monkeypatch, gate_kernels, "head_gates_kernel")
    for rows in (5, 0):
        x = torch.randn(rows, 20)
        mixer(x, cu_seqlens=offsets([rows]), state=mixer.new_state(1), carries=False)
    assert (len(routed), len(gated)) == (routes, gates)
