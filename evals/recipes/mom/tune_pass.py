"""Times launch settings where they are used: within a layer's pass, one of every kernel at a time.

``python evals/recipes/mom/tune_pass.py --out FOLDER`` on the card. The settings of
``tune_pass.toml`` (or of ``--settings FILE``), by shape and kernel, are words such as ``w8 s3 BM64
BN128``: warps, stages, tiles, ``r168`` for a bound of registers. They are compiled by as many
processes as there are cores; then pass i of a layer takes the i-th setting of every kernel, and the
profiler tells what each kernel took in all its launches: 150 settings in a minute, the caches as
they are in use. A setting that cannot be had is a line that says why. What the outputs are under
a setting is for ``card.py --stages correctness`` to say, or for ``tune.py``, which launches each
alone. ``--quick`` runs it small on a CPU, by the host's clock.
"""

import argparse
import multiprocessing
import os
import re
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from candidates import Setting
from figures import DEVICE, Figures, wait
from speed import SHAPES, Work, layer_step

from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer

HERE = Path(__file__).parent
WORKS = [Work(sequences=2, length=4096), Work(sequences=16, length=4096)]
TINY = MixerConfig(d_model=16, heads=1, key_dim=16, value_dim=16, memories=1, top_k=1)
Wanted = Mapping[str, Sequence[str]]
"""Settings in words, by kernel."""


def main() -> None:
    """Compile, then time every setting at every shape and work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--settings", type=Path, default=HERE / "tune_pass.toml")
    parser.add_argument("--seconds", type=float, default=540, help="time for this slice")
    parser.add_argument("--quick", action="store_true", help="one small shape")
    arguments = parser.parse_args()
    wanted: dict[str, Wanted] = tomllib.loads(arguments.settings.read_text(encoding="utf-8"))
    shapes, works = SHAPES, WORKS
    if arguments.quick:
        from sculptor.mom.ops.kernels.interpreter import switch_on

        switch_on()
        torch.set_num_threads(1)
        shapes, works = {"tiny": TINY}, [Work(sequences=1, length=4)]
    if unknown := sorted(set(wanted) - set(shapes)):
        parser.error(f"no shape {', '.join(unknown)}; there are {', '.join(shapes)}")
    figures = Figures(arguments.out / "tune_pass.jsonl", seconds=arguments.seconds)
    if DEVICE.type == "cuda":
        _compile(wanted)
    for shape, kernels in wanted.items():
        for work in works:
            time_settings(figures, shape, shapes[shape], work, kernels)
    print(f"{figures.left:.0f} s left", flush=True)


def time_settings(
    figures: Figures, name: str, shape: MixerConfig, work: Work, wanted: Wanted
) -> None:
    """Write a line for every setting of every kernel at a shape, the present one first."""
    mixer = Mixer(shape).to(DEVICE)
    mixer.backend = "triton"
    step = layer_step(mixer, work)
    for turn in _turns(wanted):
        told = {kernel: _word(words, turn) for kernel, words in wanted.items()}
        label = {k: f"{name} {work.sequences}x{work.length} {w}" for k, w in told.items() if w}
        if not any(figures.wants(kernel, item) for kernel, item in label.items()):
            continue
        with taking(wanted, turn) as seen:
            _timed(step, seen)
        for kernel, item in label.items():
            failed = {"failed": seen.failed[kernel]} if kernel in seen.failed else {}
            figures.add(kernel, item, us=seen.times[kernel], **failed)


class Seen:
    """What a pass showed: microseconds and failures, by kernel."""

    def __init__(self) -> None:
        self.times: dict[str, float] = defaultdict(float)
        self.failed: dict[str, str] = {}


@contextmanager
def taking(wanted: Wanted, turn: int | None) -> Iterator[Seen]:
    """Let every kernel be launched by its setting of this turn, None: by its present one."""
    from sculptor.mom.ops.kernels import delta, grouped, heads, launches, walk

    seen, original = Seen(), launches.setting

    def setting(kernel: str, case: Any) -> Setting:
        word = _word(wanted.get(kernel, ()), turn)
        if turn is None or not word or kernel in seen.failed:
            return original(kernel, case)
        return read_setting(word)

    def launch(kernel: Any, grid: Any, *arguments: Any, case: Any, **constants: Any) -> None:
        name, began = kernel.__name__, time.perf_counter()
        try:
            kernel[grid](*arguments, **constants, **setting(name, case).options())
        except Exception as problem:
            # Whatever a compiler or a driver throws is what this setting has to show.
            if setting(name, case) == original(name, case):
                raise
            seen.failed[name] = f"{type(problem).__name__}: {problem}"[:200]
            kernel[grid](*arguments, **constants, **original(name, case).options())
        if DEVICE.type == "cpu":
            seen.times[name] += (time.perf_counter() - began) * 1e6

    with ExitStack() as stack:
        for module in (delta, grouped, heads, walk):
            stack.enter_context(patch.object(module, "launch", launch))
            if hasattr(module, "setting"):
                stack.enter_context(patch.object(module, "setting", setting))
        yield seen


def read_setting(words: str) -> Setting:
    """Return the setting that words such as ``w8 s3 r168 BM64 BN128`` name."""
    from sculptor.mom.ops.kernels import launches

    parts = dict(re.findall(r"([A-Za-z]+)(\d+)", words))
    named = {
        name: int(parts.pop(name, default)) for name, default in (("w", 4), ("s", 3), ("r", 0))
    }
    return launches.Setting(
        warps=named["w"], stages=named["s"], registers=named["r"],
        tiles={tile: int(size) for tile, size in parts.items()},
    )  # fmt: skip


def _timed(step: Any, seen: Seen, *, runs: int = 2) -> None:
    """Let a pass run once to compile, or to be timed by the host; then under the profiler."""
    step()
    if DEVICE.type == "cpu":
        return
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as rows:
        for _ in range(runs):
            step()
        wait()
    for row in rows.key_averages():
        seen.times[row.key] += row.self_device_time_total / runs


def _turns(wanted: Wanted) -> list[int | None]:
    return [None, *range(max(map(len, wanted.values()), default=0))]


def _word(words: Sequence[str], turn: int | None) -> str:
    """Return the setting of a turn in words, nothing where there is none left."""
    if turn is None:
        return "present"
    return words[turn] if turn < len(words) else ""


def _compile(wanted: Mapping[str, Wanted]) -> None:
    jobs = [(name, wanted[name], turn) for name in wanted for turn in _turns(wanted[name])]
    with multiprocessing.get_context("spawn").Pool(min(len(jobs), os.cpu_count() or 1)) as pool:
        pool.starmap(_compile_turn, jobs, chunksize=1)


def _compile_turn(name: str, wanted: Wanted, turn: int | None) -> None:
    """Run a turn once at every work: what is compiled lies in Triton's cache then."""
    with taking(wanted, turn):
        for work in WORKS:
            layer_step(Mixer(SHAPES[name]).to(DEVICE), work)()
            wait()


if __name__ == "__main__":
    main()
