"""Kernels touch what they were given alone, and rely on nothing that was never written."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpreterError

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.layers.step import step_mixer
from sculptor.mom.ops import kernels
from sculptor.mom.ops.kernels import block, delta
from sculptor.mom.ops.kernels.launches import DEFAULTS, Setting
from tests.mom.helpers import offsets, random_state
from tests.mom.kernels.bounds import GARBAGE_INDEX, checked


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


@triton.jit
def take_kernel(x, index, y, rows, limit, W: tl.constexpr, BT: tl.constexpr):
    """``y[n] = x[index[n]]`` for rows of ``W``, those from ``limit`` on left out."""
    at = tl.arange(0, BT)
    column = tl.arange(0, W)
    taken = tl.load(index + at, mask=at < rows, other=0)
    mask = (at < limit)[:, None] & (column >= 0)[None, :]
    found = tl.load(x + taken[:, None] * W + column[None, :], mask=mask, other=0.0)
    tl.store(y + at[:, None] * W + column[None, :], found, mask=mask)


def _take(x: torch.Tensor, index: torch.Tensor, *, rows: int, limit: int) -> torch.Tensor:
    y = torch.empty(rows, 4)
    take_kernel[(1,)](x, index, y, rows, limit, W=4, BT=8)
    return y


def test_what_is_masked_may_lie_anywhere() -> None:
    index = torch.tensor([2, 0, GARBAGE_INDEX])
    with checked() as seen:
        y = _take(torch.arange(12.0).view(3, 4), index, rows=3, limit=2)
    assert y[:2].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert seen.launches == {"take_kernel": 1}
    assert seen.places == 3 + 2 * 8


def test_a_place_behind_the_end_is_told_with_kernel_argument_offset_and_line() -> None:
    line = Path(__file__).read_text().splitlines().index(
        "    found = tl.load(x + taken[:, None] * W + column[None, :], mask=mask, other=0.0)"
    )  # fmt: skip
    told = rf"take_kernel reads x\[12\] of 12 .*4 such places of 8.*test_bounds.py:{line + 1},"
    whole = torch.zeros(4, 4)  # memory that is there, but not the tensor's
    with checked(), pytest.raises(InterpreterError, match=told):
        _take(whole[:3], torch.tensor([2, 3]), rows=2, limit=2)
    with checked(), pytest.raises(InterpreterError, match=r"take_kernel writes y\[12\] of 12"):
        _take(whole, torch.zeros(4, dtype=torch.int64), rows=3, limit=4)


def test_a_view_does_not_own_what_lies_between_its_rows() -> None:
    cut = torch.zeros(3, 6)[:, :4]
    with checked(), pytest.raises(InterpreterError, match=r"reads x\[4\] of 12 elements within 16"):
        _take(cut, torch.tensor([0, 1]), rows=2, limit=2)


def test_an_index_that_was_never_written_leads_out_of_bounds() -> None:
    x = torch.zeros(3, 4)
    with checked(), pytest.raises(InterpreterError, match=rf"reads x\[{4 * GARBAGE_INDEX}\]"):
        _take(x, torch.empty(2, dtype=torch.int64), rows=2, limit=2)
    with checked():
        assert _take(torch.empty(3, 4), torch.tensor([1]), rows=1, limit=1).isnan().all()


class _Fresh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        return x.new_empty(3)

    @staticmethod
    def backward(ctx, dy: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(dy)


def test_memory_is_full_of_garbage_on_the_way_back_too() -> None:
    x = torch.zeros(3, requires_grad=True)
    with checked():
        y = _Fresh.apply(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.stack([y, gradient]).isnan().all()


RECALL = MixerConfig(d_model=8, heads=2, key_dim=32, value_dim=32, memories=2, top_k=1)
"""The layer of the recall study, of fewer channels and memories."""

LAYERS = [
    (RECALL, torch.bfloat16, [33], True),
    (replace(RECALL, memories=0, top_k=0, heads=5, value_dim=64), torch.bfloat16, [1, 0], True),
    (replace(RECALL, conv="memory", heads=1), torch.float32, [3, 0, 2], False),
    (replace(RECALL, key_dim=64, value_dim=16, shared=False), torch.float32, [4], False),
    (replace(RECALL, key_dim=256, heads=1, read="dense"), torch.bfloat16, [2], False),
]


def _run_layer(config: MixerConfig, dtype: torch.dtype, lengths: list[int], fresh: bool) -> None:
    """Pass there and back, and step; ``fresh`` neither begins at a state nor goes on."""
    mixer = Mixer(config)
    mixer.backend = "triton"
    state = mixer.new_state(len(lengths)) if fresh else random_state(mixer, len(lengths))
    x = torch.randn(sum(lengths), config.d_model, dtype=dtype, requires_grad=True)
    y, after, _ = mixer(
        x, cu_seqlens=offsets(lengths), state=state, max_seqlen=max(lengths), fresh=fresh,
        carries=not fresh,
    )  # fmt: skip
    total = y.float().square().sum() + (0 if fresh else after.memories.square().sum())
    wrt = [x, *(p for p in mixer.parameters() if p.numel())]
    gradients = torch.autograd.grad(total, wrt, allow_unused=True)
    z = step_mixer(mixer, torch.randn(len(lengths), config.d_model, dtype=dtype), state=state)
    made = [y, z, *gradients, *after.tensors(), *state.tensors()]
    assert all(torch.isfinite(m).all() for m in made if m is not None)


def _run_pieces() -> None:
    q, k, v = torch.randn(3, 40, 3, 16).requires_grad_(True)
    o, final = delta.chunk_delta_rule(
        q=q, k=k * 0.2, v=v, g=None, beta=torch.rand(40, 3), cu_seqlens=offsets([35, 0, 5, 0]),
        initial_state=torch.randn(4, 3, 16, 16), scale=0.3, chunk=16, piece=16, max_seqlen=35,
    )  # fmt: skip
    made = [o, final, *torch.autograd.grad(o.sum() + final.sum(), [q, k, v])]
    assert all(torch.isfinite(m).all() for m in made)


def _run_block() -> None:
    x, weight, wide = torch.randn(9, 20), torch.rand(20), torch.randn(9, 40)
    inputs = [t.requires_grad_(True) for t in (x, weight, wide)]
    y = block.rms_norm(x, weight=weight, eps=1e-6) + block.swiglu(wide)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(y.sum(), inputs))


def test_every_kernel_keeps_within_its_arguments_and_reads_nothing_unwritten(monkeypatch) -> None:
    short = {"BT": 4, "TILES": 2, "AHEAD": 2}  # the interpreter is slow at runs of 64 rows
    for name in ("heads_kernel", "heads_gradient_kernel"):
        monkeypatch.setitem(DEFAULTS, name, lambda case: Setting(tiles=short))
    with checked() as seen:
        for layer in LAYERS:
            _run_layer(*layer)
        _run_block()
        monkeypatch.setattr(delta, "STATES_BYTES", 0)  # one head after the other
        _run_pieces()
    modules = [
        import_module(f"{kernels.__name__}.{m.name}") for m in iter_modules(kernels.__path__)
    ]
    names = {name for m in modules for name in vars(m) if name.endswith("_kernel")}
    assert names - set(seen.launches) == set()
