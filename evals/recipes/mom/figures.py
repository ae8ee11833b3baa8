"""Figures as JSON lines, written one by one, so that a study can be cut anywhere and resumed."""

import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Figures:
    """A file of JSON lines, each named by ``part`` and ``item``, and the time left to add more."""

    def __init__(self, path: Path, *, seconds: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._until = path, time.monotonic() + seconds
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._rows: list[dict[str, object]] = [json.loads(line) for line in lines]

    @property
    def left(self) -> float:
        """Seconds left of the budget."""
        return self._until - time.monotonic()

    def find(self, part: str) -> list[dict[str, object]]:
        """Return the lines of a part that are there already."""
        return [row for row in self._rows if row["part"] == part]

    def wants(self, part: str, item: str) -> bool:
        """Whether a figure is still to be made, and there is time to begin it."""
        made = any((row["part"], row["item"]) == (part, item) for row in self._rows)
        return not made and self.left > 0

    def add(self, part: str, item: str, **figures: object) -> None:
        """Write a line at once."""
        row = {"part": part, "item": item} | {k: _short(v) for k, v in figures.items()}
        self._rows.append(row)
        print(json.dumps(row), flush=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def wait() -> None:
    """Wait for the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def time_ms(run: Callable[[], object], *, runs: int, warm: int = 3) -> dict[str, float]:
    """Time ``run`` by device events (a host clock on a CPU): median, fastest and slowest."""
    for _ in range(warm):
        run()
    times = [_once_ms(run) for _ in range(runs)]
    return {
        "median_ms": statistics.median(times),
        "fastest_ms": min(times),
        "slowest_ms": max(times),
        "runs": runs,
    }


def capture(run: Callable[[], object]) -> Callable[[], object]:
    """Return a replay of ``run`` as one CUDA graph; ``run`` itself on a CPU."""
    if DEVICE.type == "cpu":
        return run
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def kernel_time(run: Callable[[], object], *, runs: int = 3) -> dict[str, object]:
    """Return the summed GPU time of one call, its launches, and the five costliest kernels."""
    if DEVICE.type == "cpu":
        return {}
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(runs):
            run()
        torch.cuda.synchronize()
    rows = sorted(seen.key_averages(), key=lambda r: -r.self_device_time_total)
    return {
        "kernel_ms": sum(r.self_device_time_total for r in rows) / 1e3 / runs,
        # Calls of the driver are rows as well; they take no time of the device.
        "launches": sum(r.count for r in rows if r.self_device_time_total > 0) / runs,
        "costliest": {r.key[:60]: r.self_device_time_total / 1e3 / runs for r in rows[:8]},
    }


def peak_gib(run: Callable[[], object]) -> float:
    """Return the most memory allocated during one call above what was there before."""
    if DEVICE.type == "cpu":
        return math.nan
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    """Return the relative root-mean-square error; NaN where ``got`` has one."""
    one, two = got.detach().double(), want.detach().double()
    return float((one - two).norm() / two.norm().clamp(min=1e-30))


def _once_ms(run: Callable[[], object]) -> float:
    if DEVICE.type == "cpu":
        began = time.perf_counter()
        run()
        return (time.perf_counter() - began) * 1e3
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _short(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    return value
