"""Whether every kernel path computes the layer: against plain PyTorch in fp64, every gradient.

Fresh random inputs, odd lengths, empty and short sequences, head widths 64, 128 and 256. The
bounds are those of the specification for bf16 rows; the same pass twice must give the same bits,
since an error that moves is a race.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from figures import DEVICE, Figures, relative

from sculptor.mom.engine.graph import StepGraph
from sculptor.mom.layers import mixer as mixer_module
from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.ops.routing import Route

BOUNDS = {"y": 5e-3, "state": 5e-3, "d_a_log": 2e-2, "d_dt_bias": 2e-2, "d_router": 2e-2}
"""Bounds by name; 8e-3 for every other gradient, all doubled for a layer's sum of roundings."""


def check_layers(figures: Figures, shapes: dict[str, MixerConfig], *, lengths: list[int]) -> None:
    """Compare output, state and every gradient of the layer with the fp64 form."""
    for name, shape in shapes.items():
        for conv in ("memory", "before"):
            for dtype in (torch.float32, torch.bfloat16):
                item = f"{name} {conv} {str(dtype)[6:]}"
                if figures.wants("correctness", item):
                    errors, same = compare(replace(shape, conv=conv), lengths, dtype)
                    over = {n: e for n, e in errors.items() if not e <= _bound(n, dtype)}
                    figures.add(
                        "correctness", item, ok=not over and same, over=over, same_bits=same,
                        errors=errors,
                    )  # fmt: skip


def compare(
    config: MixerConfig, lengths: list[int], dtype: torch.dtype
) -> tuple[dict[str, float], bool]:
    """Return the relative errors of one layer in ``dtype``, and if a second pass is the same."""
    fast, plain = Mixer(config).to(DEVICE), Mixer(config).to(DEVICE).double()
    plain.load_state_dict(fast.state_dict())
    plain.backend = "torch"
    x = torch.randn(sum(lengths), config.d_model, device=DEVICE).to(dtype)
    got, chosen = _pass(fast, x, lengths)
    again, _ = _pass(fast, x, lengths)
    with _picking(chosen.index):
        want, _ = _pass(plain, x.double(), lengths)
    errors = {n: relative(got[n], want[n]) for n in want}
    return errors, all(torch.equal(got[n], again[n]) for n in got)


@contextmanager
def _picking(index: torch.Tensor) -> Iterator[None]:
    """Make a pass pick these memories: two precisions may settle a close race differently."""

    def forced(x: torch.Tensor, *, weight: torch.Tensor, top_k: int) -> Route:
        probabilities = (x @ weight.to(x.dtype).T).softmax(-1)
        best = probabilities.gather(1, index)
        weights = best / best.sum(-1, keepdim=True)
        return Route(probabilities=probabilities, index=index, weights=weights)

    original, mixer_module.route = mixer_module.route, forced
    try:
        yield
    finally:
        mixer_module.route = original


def _pass(
    mixer: Mixer, x: torch.Tensor, lengths: list[int]
) -> tuple[dict[str, torch.Tensor], Route]:
    cu = torch.tensor([0, *lengths], device=DEVICE).cumsum(0)
    rows = x.detach().clone().requires_grad_(True)
    y, after, chosen = mixer(rows, cu_seqlens=cu, state=mixer.new_state(len(lengths)))
    probe = torch.linspace(-1, 1, y.numel(), device=DEVICE, dtype=torch.float64).view_as(y)
    total = (y.double() * probe).sum() + after.memories.double().square().sum()
    wrt = {"x": rows} | {n: p for n, p in mixer.named_parameters() if p.numel()}
    found = torch.autograd.grad(total, list(wrt.values()))
    named = {f"d_{n}": g for n, g in zip(wrt, found, strict=True)}
    return {"y": y.detach(), "state": after.memories.detach()} | named, chosen


def _bound(name: str, dtype: torch.dtype) -> float:
    return 1e-3 if dtype == torch.float32 else 2 * BOUNDS.get(name, 8e-3)


def check_pieces(figures: Figures, shapes: dict[str, MixerConfig], *, length: int) -> None:
    """Compare a long sequence cut into pieces with the same in whole, outputs and gradients."""
    if DEVICE.type == "cpu":
        return
    from sculptor.mom.ops.kernels import delta

    for name, shape in shapes.items():
        if not figures.wants("pieces", name):
            continue
        size = (length, shape.heads, shape.key_dim)
        q, k, v = (torch.randn(size, device=DEVICE).bfloat16() for _ in range(3))
        k = torch.nn.functional.normalize(k.float(), dim=-1).bfloat16()
        g, beta = -torch.rand(size[:2], device=DEVICE) * 0.1, torch.rand(size[:2], device=DEVICE)
        state = torch.randn(1, *size[1:], shape.value_dim, device=DEVICE)
        inputs = [x.requires_grad_(True) for x in (q, k, v, g, beta, state)]
        cu, results = torch.tensor([0, length], device=DEVICE), []
        for piece in (0, 2048):
            o, end = delta.chunk_delta_rule(
                q=q, k=k, v=v, g=g, beta=beta, initial_state=state, cu_seqlens=cu,
                scale=shape.key_dim**-0.5, piece=piece,
            )  # fmt: skip
            probe = torch.linspace(-1, 1, o.numel(), device=DEVICE).view_as(o)
            total = (o.float() * probe).sum() + end.square().sum()
            results.append([o.detach(), end.detach(), *torch.autograd.grad(total, inputs)])
        names = ("o", "end", "dq", "dk", "dv", "dg", "dbeta", "dstate")
        errors = {n: relative(b, a) for n, a, b in zip(names, *results, strict=True)}
        figures.add("pieces", name, ok=all(e < 2e-2 for e in errors.values()), errors=errors)


def check_steps(figures: Figures, shapes: dict[str, MixerConfig]) -> None:
    """Compare decoding under a CUDA graph, and plain steps, with one pass over the same tokens."""
    from sculptor.mom.models.packing import pack_batch

    for name, shape in shapes.items():
        for conv in ("memory", "before"):
            if not figures.wants("steps", f"{name} {conv}"):
                continue
            config = MomConfig(
                vocab_size=257, d_model=shape.d_model, layers=2, mlp_width=64, conv=conv,
                heads=shape.heads, key_dim=shape.key_dim, value_dim=shape.value_dim,
            )  # fmt: skip
            model = MomForCausalLM(config).to(DEVICE).eval()
            tokens = torch.randint(257, (1, 70), device=DEVICE)
            with torch.inference_mode():
                want, _ = model(pack_batch(tokens))
            state, steps = model.new_state(1), []
            for token in tokens[0]:
                steps.append(model.step(token.view(1), state=state))
            told = {"step_error": relative(torch.cat(steps), want)}
            if DEVICE.type == "cuda":
                graph = StepGraph(model)
                replayed = [graph.step(token.view(1)).clone() for token in tokens[0]]
                told["graph_error"] = relative(torch.cat(replayed), want)
            good = all(e < 5e-3 for e in told.values())
            figures.add("steps", f"{name} {conv}", ok=good, **told)
