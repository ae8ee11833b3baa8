"""Everything a GPU has to show about the mixer, in one command: right first, then fast.

``python evals/recipes/mom/card.py --out card.jsonl [--quick]`` compares every kernel path with the
fp64 oracle form at the tolerances of the specification, times forward and backward beside the
floor of the card, decodes under a CUDA graph, and reads a long text at constant memory. Each
figure is printed and written the moment it is there, so a run that is cut loses nothing before.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import torch

from sculptor.mom.engine.graph import StepGraph
from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.recipes.measure import time_runs

CARD_FLOPS, CARD_BYTES = 780e12, 4.3e12
"""Measured on an H200: bf16 matrix products per second, bytes copied per second."""

SHAPES = {
    "d1024": MixerConfig(d_model=1024, heads=4, key_dim=256, value_dim=256, conv="memory"),
    "d512": MixerConfig(d_model=512, heads=4, key_dim=128, value_dim=128, conv="memory"),
    "d384": MixerConfig(d_model=384, heads=6, key_dim=64, value_dim=64, conv="memory"),
}


def main() -> None:
    """Run all parts in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="one small shape per part")
    arguments = parser.parse_args()
    with arguments.out.open("a", encoding="utf-8") as out:
        tell(out, part="card", name=torch.cuda.get_device_name(), torch=torch.__version__)
        check_gradients(out, quick=arguments.quick)
        time_layers(out, quick=arguments.quick)
        time_decode(out, quick=arguments.quick)
        read_long(out, tokens=32_768 if arguments.quick else 1_048_576)


def tell(out: TextIO, **figures: object) -> None:
    """Print a line of figures and write it at once."""
    line = json.dumps(figures)
    print(line, flush=True)
    out.write(line + "\n")
    out.flush()


def check_gradients(out: TextIO, *, quick: bool) -> None:
    """Compare the bf16 and fp32 kernel paths with the plain form in fp64, every gradient."""
    lengths = [700, 0, 65, 1, 258]
    for name, shape in list(SHAPES.items())[-1 if quick else 0 :]:
        for conv in ("memory", "before"):
            for dtype in (torch.float32, torch.bfloat16):
                errors = compare(replace(shape, conv=conv), lengths, dtype)
                tell(out, part="gradients", shape=name, conv=conv, dtype=str(dtype), **errors)


def compare(config: MixerConfig, lengths: list[int], dtype: torch.dtype) -> dict[str, float]:
    """Return the relative error of output, state and every gradient of the kernel path."""
    torch.manual_seed(0)
    kernels, plain = Mixer(config).cuda(), Mixer(config).cuda().double()
    plain.load_state_dict(kernels.state_dict())
    plain.backend = "torch"
    cu = torch.tensor([0, *lengths], device="cuda").cumsum(0)
    x = torch.randn(sum(lengths), config.d_model, device="cuda")
    results: list[dict[str, torch.Tensor]] = []
    for mixer, kind in ((plain, torch.float64), (kernels, dtype)):
        rows = x.to(kind).requires_grad_(True)
        y, after, _ = mixer(rows, cu_seqlens=cu, state=mixer.new_state(len(lengths)))
        probe = torch.linspace(-1, 1, y.numel(), device="cuda", dtype=torch.float64).view_as(y)
        total = (y.double() * probe).sum() + after.memories.double().square().sum()
        wrt = {"x": rows} | {n: p for n, p in mixer.named_parameters() if p.numel()}
        found = torch.autograd.grad(total, list(wrt.values()))
        named = {f"d_{n}": g for n, g in zip(wrt, found, strict=True)}
        results.append({"y": y.detach(), "state": after.memories.detach()} | named)
    want, got = results
    return {
        n: float(f"{float((got[n].double() - want[n]).norm() / want[n].norm()):.2e}") for n in want
    }


def time_layers(out: TextIO, *, quick: bool) -> None:
    """Time a layer forward and backward at 8k and 64k tokens beside its floor."""
    for name, shape in list(SHAPES.items())[-1 if quick else 0 :]:
        for sequences, length in ((2, 4096), (16, 4096), (1, 65_536)):
            mixer, tokens = Mixer(shape).cuda(), sequences * length
            x = torch.randn(tokens, shape.d_model, device="cuda", dtype=torch.bfloat16)
            x.requires_grad_(True)
            cu = torch.arange(sequences + 1, device="cuda") * length

            def step(
                mixer: Mixer = mixer, x: torch.Tensor = x, cu: torch.Tensor = cu,
                sequences: int = sequences, length: int = length,
            ) -> None:  # fmt: skip
                state = mixer.new_state(sequences)
                y, _, _ = mixer(x, cu_seqlens=cu, state=state, max_seqlen=length)
                y.sum().backward()

            torch.cuda.reset_peak_memory_stats()
            timing = time_runs(step, runs=10)
            kernel_s, launches = kernel_time(step)
            floor = floor_s(shape, tokens)
            tell(
                out, part="layer", shape=name, sequences=sequences, length=length,
                median_ms=timing.median_s * 1e3, fastest_ms=timing.fastest_s * 1e3,
                slowest_ms=timing.slowest_s * 1e3, runs=timing.runs, kernel_ms=kernel_s * 1e3,
                launches=launches, floor_ms=floor * 1e3, share_of_floor=floor / kernel_s,
                peak_gib=torch.cuda.max_memory_allocated() / 2**30,
            )  # fmt: skip


def kernel_time(step: object) -> tuple[float, int]:
    """Return the summed GPU time of one call's kernels and how many there were."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step()  # type: ignore[operator]
        torch.cuda.synchronize()
    rows = seen.key_averages()
    return sum(r.self_device_time_total for r in rows) / 1e6, sum(r.count for r in rows)


def floor_s(c: MixerConfig, tokens: int) -> float:
    """Return the larger of the arithmetic and the byte floor of a forward and backward pass."""
    active, chunk = c.slots, 64
    dk, dv, key, value = c.key_dim, c.value_dim, c.key_width, c.value_width
    rule = 6 * chunk * dk + 4 * chunk * dv + 6 * dk * dv + 2 * chunk * chunk / 3
    rule *= c.heads * active
    project = 2 * c.d_model * (key + 2 * value) + 2 * c.d_model * c.memories
    project += active * 2 * c.d_model * (key + value + 2 * c.heads)
    rows = 2 * c.d_model + 2 * key + active * (2 * (key + value) + value) + 2 * value
    rows += active * 2 * c.heads * dk * dv / chunk
    return max(3 * tokens * (rule + project) / CARD_FLOPS, 3 * 2 * tokens * rows / CARD_BYTES)


def time_decode(out: TextIO, *, quick: bool) -> None:
    """Time a layer-step at batch 1 under a CUDA graph, and compare it with the plain step."""
    for name, shape in list(SHAPES.items())[-1 if quick else 0 :]:
        layers = 8
        config = MomConfig(
            vocab_size=2048, d_model=shape.d_model, layers=layers, mlp_width=1408, conv="before",
            heads=shape.heads, key_dim=shape.key_dim, value_dim=shape.value_dim,
        )  # fmt: skip
        model = MomForCausalLM(config, compute_dtype=torch.bfloat16).cuda().eval()
        graph = StepGraph(model)
        state = model.new_state(1)
        worst = 0.0
        for token in range(20):
            tokens = torch.tensor([token], device="cuda")
            want = model.step(tokens, state=state)
            worst = max(worst, float((graph.step(tokens) - want).norm() / want.norm()))
        fixed = torch.zeros(1, dtype=torch.int64, device="cuda")

        def steps(graph: StepGraph = graph, fixed: torch.Tensor = fixed) -> None:
            for _ in range(100):
                graph.step(fixed)

        timing = time_runs(steps, runs=10)
        tell(
            out, part="decode", shape=name, layers=layers, graph_error=worst,
            token_us=timing.median_s * 1e4, layer_step_us=timing.median_s * 1e4 / layers,
        )  # fmt: skip


def read_long(out: TextIO, *, tokens: int) -> None:
    """Read a long text in pieces and show that neither state nor memory grows."""
    config = MomConfig(
        vocab_size=2048, d_model=512, layers=8, mlp_width=1408, heads=4, key_dim=128, value_dim=128
    )
    model = MomForCausalLM(config, compute_dtype=torch.bfloat16).cuda().eval()
    from sculptor.mom.models.packing import pack_batch

    state, piece, done = model.new_state(1), 8192, 0
    torch.cuda.synchronize()
    began = time.perf_counter()
    marks = {1_024, 32_768, tokens}
    with torch.inference_mode():
        while done < tokens:
            count = min(piece, min(m for m in marks if m > done) - done)
            draw = torch.randint(2048, (1, count), device="cuda")
            state = model.model(pack_batch(draw), state=state).state
            done += count
            if done in marks:
                torch.cuda.synchronize()
                tell(
                    out, part="length", tokens=done, state_bytes=state.nbytes,
                    tokens_per_s=done / (time.perf_counter() - began),
                    allocated_gib=torch.cuda.memory_allocated() / 2**30,
                )  # fmt: skip


if __name__ == "__main__":
    main()
