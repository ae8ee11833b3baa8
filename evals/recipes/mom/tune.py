"""Times every tuned kernel under other launch settings, each checked against the present one.

``python evals/recipes/mom/tune.py --out FOLDER --seconds 540`` on the card. A layer's forward and
backward pass is run once for each kernel to take hold of what it is launched with; then each
candidate is launched alone, over and over in one CUDA graph. A candidate whose outputs differ by
more than bf16 rounding, or that does not compile or fit, is a line too. Lines of
``FOLDER/tune.jsonl`` are kept, so the same command goes on where it was cut; a table of the best
settings so far ends it. What is worth having goes into `launches.MEASURED`, and another call then
tries from there. ``--kernels`` and ``--shapes`` name some; ``--quick`` runs it small on a CPU.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from candidates import Setting, candidates, described
from figures import DEVICE, Figures, capture, relative, time_ms
from speed import SHAPES, Work, layer_step
from tuned import print_table

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer

ORDER = (
    "erase_gradient_kernel", "key_gradient_kernel", "grouped_weight_kernel",
    "grouped_linear_kernel", "state_gradient_kernel", "met_states_kernel", "chunk_states_kernel",
    "heads_gradient_kernel", "chunk_uw_kernel", "invert_blocks_kernel", "chunk_gram_kernel",
    "chunk_output_kernel", "local_gradient_kernel", "heads_kernel", "sum_rows_kernel",
)  # fmt: skip
"""Costliest first, by what a training step of a card showed."""

WORKS = [Work(sequences=32, length=2048), Work(sequences=4, length=2048)]
BOUND = 8e-3
LAUNCHES, RUNS = (8, 5) if DEVICE.type == "cuda" else (1, 1)


def main() -> None:
    """Try every kernel, shape and candidate that is still to do, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=540, help="time for this slice")
    parser.add_argument("--kernels", default=",".join(ORDER), help="comma-separated")
    parser.add_argument("--shapes", default="", help="comma-separated; default: all")
    parser.add_argument("--quick", action="store_true", help="one small shape, few candidates")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    shapes, works = dict(reversed(SHAPES.items())), WORKS
    if arguments.quick:
        from sculptor.mom.ops.kernels.interpreter import switch_on

        switch_on()
        torch.set_num_threads(1)
        shapes = {"tiny": MixerConfig(d_model=32, heads=1, key_dim=16, value_dim=16, conv="memory")}
        works = [Work(sequences=1, length=16)]
    names = arguments.kernels.split(",")
    unknown = sorted(set(names) - set(ORDER))
    if unknown:
        parser.error(f"no kernel {', '.join(unknown)}; there are {', '.join(ORDER)}")
    if arguments.shapes:
        shapes = {n: shapes[n] for n in arguments.shapes.split(",")}
    figures = Figures(arguments.out / "tune.jsonl", seconds=arguments.seconds)
    for work in works:
        for name, shape in shapes.items():
            tune_shape(figures, f"{name} {work.tokens}", shape, work, names, arguments.quick)
    print_table(figures, ORDER)
    print(f"{figures.left:.0f} s left", flush=True)


def tune_shape(
    figures: Figures, label: str, shape: MixerConfig, work: Work, names: list[str], quick: bool
) -> None:
    """Try the candidates of each kernel at one shape."""
    for name in names:
        if figures.left <= 0:
            return
        for call in record(name, shape, work):
            for setting in candidates(name, call.present, call.case, quick=quick):
                item = f"{label} {call.variant} {described(setting)}"
                if figures.wants(name, item):
                    told = try_setting(call, setting)
                    figures.add(
                        name, item, shape=label, variant=call.variant, setting=described(setting),
                        present=setting == call.present, first=call.case.first,
                        second=call.case.second, few=call.case.few, **told,
                    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One launch that a pass made: its arguments as they were before it, and its setting."""

    kernel: Any
    grid: Any
    arguments: tuple[Any, ...]
    case: Any
    constants: dict[str, Any]
    present: Setting

    @property
    def variant(self) -> str:
        """What sets it apart from other launches of the kernel in a pass."""
        named = ("KIND", "SLOTS")
        kept = {k: v for k, v in self.constants.items() if isinstance(v, bool) or k in named}
        return " ".join(f"{k}={v}" for k, v in sorted(kept.items())) or "all"

    def copies(self) -> tuple[Any, ...]:
        """Return arguments of its own for one trial."""
        return tuple(_copy(x) if torch.is_tensor(x) else x for x in self.arguments)

    def run(self, arguments: tuple[Any, ...], setting: Setting) -> None:
        """Launch with a setting."""
        self.kernel[self.grid](*arguments, **self.constants, **setting.options())


def record(name: str, shape: MixerConfig, work: Work) -> list[Call]:
    """Return the launches of a kernel in one pass over a layer, one for each variant."""
    mixer = Mixer(shape).to(DEVICE)
    mixer.backend = "triton"
    calls: dict[str, Call] = {}
    with _watching(name, calls):
        layer_step(mixer, work)()
    return list(calls.values())


@contextmanager
def _watching(name: str, calls: dict[str, Call]) -> Iterator[None]:
    from sculptor.mom.ops.kernels import delta, grouped, heads, launches, walk

    original = launches.launch

    def launch(kernel: Any, grid: Any, *arguments: Any, case: Any, **constants: Any) -> None:
        if kernel.__name__ == name:
            present = launches.setting(name, case)
            call = Call(
                kernel=kernel, grid=grid, arguments=arguments, case=case, constants=constants,
                present=present,
            )  # fmt: skip
            if call.variant not in calls:
                calls[call.variant] = replace(call, arguments=_numbers(call.copies()))
        original(kernel, grid, *arguments, case=case, **constants)

    with ExitStack() as stack:
        for module in (delta, grouped, heads, walk):
            stack.enter_context(patch.object(module, "launch", launch))
        yield


def _copy(x: torch.Tensor) -> torch.Tensor:
    """Return a copy with the strides of ``x``, which are arguments of their own."""
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).copy_(x)


def _numbers(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments with numbers where nothing was written yet, so that they compare."""
    for x in arguments:
        if torch.is_tensor(x) and x.is_floating_point():
            x.nan_to_num_(0.0, 0.0, 0.0)
    return arguments


def try_setting(call: Call, setting: Setting) -> dict[str, object]:
    """Return time and error of a setting, or why it cannot be had."""
    want = _outcome(call, call.present)
    try:
        error = _worst(call, _outcome(call, setting), want)
        arguments = call.copies()
        many = capture(_repeated(call, arguments, setting))
        times = time_ms(many, runs=RUNS, warm=RUNS // 2)
    except Exception as problem:
        # Whatever a compiler or a driver throws is what this candidate has to show.
        return {"ok": False, "failed": f"{type(problem).__name__}: {problem}"[:300]}
    return {
        "ok": error <= BOUND, "error": error, "ms": times["median_ms"] / LAUNCHES,
        "fastest_ms": times["fastest_ms"] / LAUNCHES,
    }  # fmt: skip


def _repeated(call: Call, arguments: tuple[Any, ...], setting: Setting) -> Callable[[], None]:
    def run() -> None:
        for _ in range(LAUNCHES):
            call.run(arguments, setting)

    return run


def _outcome(call: Call, setting: Setting) -> tuple[Any, ...]:
    arguments = call.copies()
    call.run(arguments, setting)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return arguments


def _worst(call: Call, got: tuple[Any, ...], want: tuple[Any, ...]) -> float:
    """Return the largest relative error of any argument, where either launch changed it."""
    worst = 0.0
    for before, one, two in zip(call.arguments, got, want, strict=True):
        if torch.is_tensor(before) and not torch.equal(one, two):
            changed = (one != before) | (two != before)
            error = relative(one * changed, two * changed)
            worst = max(worst, error) if math.isfinite(error) else math.inf
    return worst


if __name__ == "__main__":
    main()
