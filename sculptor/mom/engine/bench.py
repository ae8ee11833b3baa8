"""How fast the CPU runtime reads and writes, and what it holds in memory.

Wall and CPU seconds stand side by side: on a machine that others use, the wall clock measures
them too. Speed does not depend on what the weights say, so untrained ones will do.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from sculptor.mom.engine.arrays import Array
from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.weights import Dtype, Weights, pack_weights
from sculptor.mom.models.config import MomConfig

MODEL_B = MomConfig(
    vocab_size=4_096, d_model=384, layers=8, mlp_width=1_024, heads=6, key_dim=64, value_dim=64
)
"""The model meant to ship, without attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Tokens per second of wall time and of CPU time: median over ``runs`` runs, and best."""

    runs: int
    tokens_per_wall_s: float
    tokens_per_cpu_s: float
    best_tokens_per_wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthPoint:
    """After ``tokens`` tokens of one conversation: bytes of its state and of the process."""

    tokens: int
    state_bytes: int
    resident_bytes: int
    wall_s: float
    cpu_s: float


def random_weights(config: MomConfig, *, dtype: Dtype = "int8", seed: int = 0) -> Weights:
    """Return weights of an untrained model; torch is not needed."""
    draw = np.random.default_rng(seed)
    tensors = {
        name: _random_tensor(name, shape, draw) for name, shape in tensor_shapes(config).items()
    }
    return pack_weights(config, tensors, dtype=dtype)


def tensor_shapes(config: MomConfig) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of every tensor of a gated-delta model, by its name."""
    d, width = config.d_model, config.mlp_width
    shapes: dict[str, tuple[int, ...]] = {"model.embedding": (config.vocab_size, d)}
    if not config.tie_embeddings:
        shapes["head"] = (config.vocab_size, d)
    for i in range(config.layers):
        layer: dict[str, tuple[int, ...]] = {"mixer_norm.weight": (d,), "mlp_norm.weight": (d,)}
        layer |= {"mlp.up": (2 * width, d), "mlp.down": (d, width)}
        mixer = _attention_shapes(d) if i in config.attention_layers else _mixer_shapes(config)
        layer |= {f"mixer.{name}": shape for name, shape in mixer.items()}
        shapes |= {f"model.blocks.{i}.{name}": shape for name, shape in layer.items()}
    return shapes | {"model.norm.weight": (d,)}


def time_prefill(model: CpuModel, *, tokens: int, runs: int) -> Rate:
    """Time reading a prompt of ``tokens`` tokens from nothing."""
    ids = _random_ids(model, tokens)
    return _time(lambda: model.prefill(ids, model.new_state()), tokens=tokens, runs=runs)


def time_decode(model: CpuModel, *, batch: int, tokens: int, runs: int) -> Rate:
    """Time writing ``tokens`` greedy tokens in each of ``batch`` conversations."""
    states = [model.new_state() for _ in range(batch)]
    logits = np.stack([model.prefill(_random_ids(model, 64), state) for state in states])

    def write() -> None:
        row = logits
        for _ in range(tokens):
            row = model.step(row.argmax(axis=-1).tolist(), states)

    return _time(write, tokens=batch * tokens, runs=runs)


def measure_lengths(model: CpuModel, lengths: Sequence[int]) -> list[LengthPoint]:
    """Read one conversation to each of ``lengths`` tokens and note what memory is held."""
    state, points = model.new_state(), []
    wall, cpu = time.perf_counter(), time.process_time()
    for length in sorted(lengths):
        while state.tokens < length:
            model.prefill(_random_ids(model, min(4_096, length - state.tokens)), state)
        points.append(
            LengthPoint(
                tokens=length,
                state_bytes=state.nbytes,
                resident_bytes=resident_bytes(),
                wall_s=round(time.perf_counter() - wall, 3),
                cpu_s=round(time.process_time() - cpu, 3),
            )
        )
    return points


def resident_bytes() -> int:
    """Return the resident memory of this process; zero where the system does not tell."""
    path = Path("/proc/self/statm")
    if not path.exists():
        return 0
    return int(path.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _time(run: Callable[[], object], *, tokens: int, runs: int) -> Rate:
    run()
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Rate(
        runs=runs,
        tokens_per_wall_s=round(tokens / median(walls), 1),
        tokens_per_cpu_s=round(tokens / median(cpus), 1),
        best_tokens_per_wall_s=round(tokens / min(walls), 1),
    )


def _random_ids(model: CpuModel, count: int) -> list[int]:
    ids: list[int] = np.random.default_rng(count).integers(model.vocab_size, size=count).tolist()
    return ids


def _attention_shapes(d: int) -> dict[str, tuple[int, ...]]:
    return {"qkv": (3 * d, d), "out": (d, d)}


def _mixer_shapes(config: MomConfig) -> dict[str, tuple[int, ...]]:
    c = config.mixer
    channels = (c.d_model,) if c.conv == "before" else (c.key_width, c.key_width, c.value_width)
    return {
        "router": (c.memories, c.key_width if c.read == "keyed" else c.d_model),
        "query": (c.key_width, c.d_model),
        "memory": (c.groups, c.d_model, c.key_width + c.value_width + 2 * c.heads),
        "gate": (c.value_width, c.d_model),
        "out": (c.d_model, c.value_width),
        "norm": (c.value_dim,),
        "a_log": (c.heads,),
        "dt_bias": (c.heads,),
    } | {f"convs.{i}": (n, c.conv_width) for i, n in enumerate(channels)}


def _random_tensor(name: str, shape: tuple[int, ...], draw: np.random.Generator) -> Array:
    if name.endswith(("norm", "weight")):
        return np.ones(shape, np.float32)
    if name.endswith("dt_bias"):
        return draw.uniform(-6, -2, shape)
    if name.endswith("a_log"):
        return np.log(draw.uniform(0.1, 16, shape))
    return draw.standard_normal(shape) * 0.04
