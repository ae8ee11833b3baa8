"""How fast and how large: the mixer, the model's steps, and the state at any length."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from sculptor.mom.engine.engine import Engine
from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of ``runs`` repetitions: median, fastest and slowest."""

    runs: int
    median_s: float
    fastest_s: float
    slowest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthPoint:
    """After ``tokens`` tokens: bytes of the state, and the rate over those tokens."""

    tokens: int
    state_bytes: int
    tokens_per_s: float


def time_mixer(
    config: MixerConfig, *, sequences: int, length: int, dtype: torch.dtype, runs: int
) -> Timing:
    """Time one forward and backward pass of a mixer over ``sequences`` of ``length`` tokens."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mixer = Mixer(config).to(device)
    x = torch.randn(sequences * length, config.d_model, device=device, dtype=dtype)
    x.requires_grad_(True)
    cu = torch.arange(sequences + 1, device=device) * length

    def step() -> None:
        y, _, _ = mixer(x, cu_seqlens=cu, state=mixer.new_state(sequences), max_seqlen=length)
        torch.autograd.backward(y.float().square().mean())

    return time_runs(step, runs=runs)


def time_decode(config: MomConfig, *, tokens: int, runs: int) -> Timing:
    """Time ``tokens`` greedy steps of one conversation."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    talk = Engine(MomForCausalLM(config).to(device)).start()
    talk.feed([0])
    return time_runs(lambda: list(talk.generate(limit=tokens)), runs=runs)


def measure_lengths(
    config: MomConfig, *, lengths: tuple[int, ...], piece: int
) -> list[LengthPoint]:
    """Read random tokens, ``piece`` at a time, and note the state's size at each of ``lengths``."""
    talk = Engine(MomForCausalLM(config)).start()
    points = []
    began = time.perf_counter()
    for length in sorted(lengths):
        while talk.tokens < length:
            count = min(piece, length - talk.tokens)
            talk.feed(torch.randint(config.vocab_size, (count,)).tolist())
        elapsed = time.perf_counter() - began
        points.append(
            LengthPoint(
                tokens=length,
                state_bytes=talk.state_bytes,
                tokens_per_s=round(length / elapsed, 1),
            )
        )
    return points


def time_runs(run: Callable[[], object], *, runs: int) -> Timing:
    """Time ``run`` after one warm-up, waiting for the device around each repetition."""
    run()
    seconds = []
    for _ in range(runs):
        _wait()
        began = time.perf_counter()
        run()
        _wait()
        seconds.append(time.perf_counter() - began)
    return Timing(
        runs=runs,
        median_s=statistics.median(seconds),
        fastest_s=min(seconds),
        slowest_s=max(seconds),
    )


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
