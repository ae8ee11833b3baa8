"""Our layer beside flash-linear-attention's MoM layer: same weights, same shapes, same run.

``python evals/recipes/mom/beside_fla.py --out beside.jsonl --seconds 540`` on the card, with
``flash-linear-attention`` 0.6 and ``fla-core`` installed; where they cannot be imported a line says
so and nothing is measured. Its check against Triton 3.4 to 3.7.0 on Hopper is passed by, since no
wrong gradient was found there; both layers are compared with the fp64 form in this very run. Its
kernels are tuned at their first call for each shape, which takes minutes: done shapes are kept in
the file, so call it again.
"""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from figures import DEVICE, Figures, capture, kernel_time, peak_gib, relative, time_ms
from speed import SHAPES, WORKS, Work, floor_ms, layer_step

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.layers.step import step_mixer


def main() -> None:
    """Compare outputs, then time layers and a decode step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=540)
    arguments = parser.parse_args()
    compare_with_fla(Figures(arguments.out, seconds=arguments.seconds))


def compare_with_fla(figures: Figures) -> None:
    """Do all of it, or say why not."""
    try:
        library = import_module("fla.layers.mom")
        checked = import_module("fla.ops.common.chunk_o")
    except ImportError as error:
        figures.add("beside", "absent", why=f"flash-linear-attention is not here: {error}")
        return
    if DEVICE.type == "cpu":
        figures.add("beside", "absent", why="flash-linear-attention needs a GPU.")
        return
    checked.TRITON_ABOVE_3_7_1 = True  # type: ignore[attr-defined]
    for name in ("d1024", "d512"):
        ours, theirs = make_pair(SHAPES[name], library)
        _compare_outputs(figures, name, ours, theirs)
        _time_decode(figures, name, ours, theirs)
        for work in WORKS:
            _time_layers(figures, name, ours, theirs, work)


def make_pair(config: MixerConfig, library: Any) -> tuple[Mixer, torch.nn.Module]:
    """Return our layer and theirs with the same weights, theirs in bf16 as it is trained."""
    theirs = library.MomAttention(
        hidden_size=config.d_model, head_dim=config.key_dim, num_heads=config.heads, expand_v=1,
        num_memories=config.memories, topk=config.top_k, shared_mem=config.shared,
        norm_eps=config.norm_eps, layer_idx=0,
    ).to(DEVICE, torch.bfloat16)  # fmt: skip
    ours = Mixer(config).to(DEVICE)
    with torch.no_grad():
        for group in range(config.groups):
            ours.memory[group].copy_(_columns(theirs, group, config))
        pairs = {
            "router": theirs.gate, "query": theirs.q_proj, "gate": theirs.g_proj,
            "out": theirs.o_proj, "norm": theirs.o_norm,
        }  # fmt: skip
        for name, module in pairs.items():
            getattr(ours, name).copy_(module.weight)
        ours.a_log.copy_(theirs.A_log)
        ours.dt_bias.copy_(theirs.dt_bias)
        convs = (theirs.q_conv1d, theirs.k_conv1d, theirs.v_conv1d)
        for mine, other in zip(ours.convs, convs, strict=True):
            mine.copy_(other.weight.squeeze(1))
        for weight in (ours.memory, ours.query, ours.gate, ours.out):
            weight.data = weight.data.bfloat16()
    return ours, theirs


def _columns(theirs: Any, group: int, config: MixerConfig) -> torch.Tensor:
    """Return ``[d, K + V + 2H]``: k, v, beta and decay of one memory, the shared one last."""
    if group == config.memories:
        parts = (theirs.shared_k, theirs.shared_v, theirs.shared_b, theirs.shared_a)
    else:
        lists = (theirs.k_proj, theirs.v_proj, theirs.b_proj, theirs.a_proj)
        parts = tuple(modules[group] for modules in lists)
    return torch.cat([part.weight for part in parts]).T


def _compare_outputs(figures: Figures, name: str, ours: Mixer, theirs: torch.nn.Module) -> None:
    """Compare both layers, theirs in eval and training mode, with ours in fp64."""
    if not figures.wants("beside outputs", name):
        return
    x = torch.randn(1, 1000, ours.config.d_model, device=DEVICE).bfloat16()
    plain = Mixer(ours.config).to(DEVICE).double()
    plain.load_state_dict(ours.state_dict())
    plain.backend = "torch"
    cu = torch.tensor([0, 1000], device=DEVICE)
    with torch.no_grad():
        want, _, _ = plain(x[0].double(), cu_seqlens=cu, state=plain.new_state(1))
        mine, _, _ = ours(x[0], cu_seqlens=cu, state=ours.new_state(1))
        told = {
            f"theirs_{'training' if training else 'eval'}": relative(
                theirs.train(training)(x)[0][0], want
            )
            for training in (False, True)
        }
    figures.add("beside outputs", name, ours=relative(mine, want), **told)


def _time_layers(
    figures: Figures, name: str, ours: Mixer, theirs: torch.nn.Module, work: Work
) -> None:
    """Time forward and backward of both: wall clock, kernels alone, peak memory."""
    item = f"{name} {work.sequences}x{work.length}"
    if not figures.wants("beside layer", item):
        return
    theirs.train()
    x = torch.randn(work.sequences, work.length, ours.config.d_model, device=DEVICE).bfloat16()
    x.requires_grad_(True)
    dy = torch.randn_like(x)

    def other() -> None:
        x.grad = None
        theirs.zero_grad()
        theirs(x)[0].backward(dy)

    mine = layer_step(ours, work)
    told: dict[str, Any] = {"floor_ms": floor_ms(ours.config, work.tokens, figures)}
    for who, step in (("theirs", other), ("ours", mine)):
        step()
        told |= {
            f"{who}_{k}": v for k, v in {**time_ms(step, runs=10), **kernel_time(step)}.items()
        }
        told[f"{who}_peak_gib"] = peak_gib(step)
    told["ours_graph_ms"] = time_ms(capture(mine), runs=10)["median_ms"]
    figures.add(
        "beside layer", item,
        kernel_ratio=told["theirs_kernel_ms"] / told["ours_kernel_ms"],
        wall_ratio=told["theirs_median_ms"] / told["ours_median_ms"],
        memory_ratio=told["ours_peak_gib"] / told["theirs_peak_gib"],
        share_of_floor=told["floor_ms"] / told["ours_kernel_ms"], **told,
    )  # fmt: skip


def _time_decode(figures: Figures, name: str, ours: Mixer, theirs: torch.nn.Module) -> None:
    """Time one token through one layer at batch 1: theirs as it is called, ours as a graph."""
    if not figures.wants("beside decode", name):
        return
    theirs.eval()
    cache = import_module("fla.models.utils").Cache()
    x = torch.randn(1, 128, ours.config.d_model, device=DEVICE).bfloat16()
    state = ours.new_state(1)
    with torch.no_grad():
        theirs(x, past_key_values=cache, use_cache=True)
        other = time_ms(lambda: theirs(x[:, :1], past_key_values=cache, use_cache=True), runs=50)
        mine = time_ms(capture(lambda: step_mixer(ours, x[0, :1], state=state)), runs=50)
    figures.add(
        "beside decode", name, ratio=other["median_ms"] / mine["median_ms"],
        **{f"theirs_{k}": v for k, v in other.items()},
        **{f"ours_{k}": v for k, v in mine.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
