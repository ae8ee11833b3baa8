"""How fast the shipped model's CPU runtime is, and that its memory does not grow.

``python evals/recipes/mom/engine.py --out engine.json [--model FOLDER] [--tokens 1000000]`` times
reading and writing, reads one conversation to ``--tokens`` tokens in a process of its own size,
and writes the figures with the machine they were taken on. Without ``--model`` the weights are
untrained ones of the size meant to ship. Needs no torch.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sculptor.mom.engine.bench import (
    MODEL_B,
    measure_lengths,
    random_weights,
    resident_bytes,
    time_decode,
    time_prefill,
)
from sculptor.mom.engine.cpu import CpuModel
from sculptor.mom.engine.weights import load_weights

BATCHES = (1, 2, 4, 8)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="a weights folder; default: untrained weights")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="of the longest conversation")
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    weights = load_weights(asked.model) if asked.model else random_weights(MODEL_B)
    began = time.perf_counter()
    model = CpuModel(weights)
    figures: dict[str, object] = {
        "machine": machine(),
        "model": weights.config.to_dict(),
        "dtype": weights.dtype,
        "weight_bytes": weights.nbytes,
        "load_s": round(time.perf_counter() - began, 3),
        "resident_bytes_at_start": resident_bytes(),
        "prefill": {
            str(tokens): asdict(time_prefill(model, tokens=tokens, runs=asked.runs))
            for tokens in (256, 1_024, 4_096)
        },
        "decode": {
            str(batch): asdict(time_decode(model, batch=batch, tokens=64, runs=asked.runs))
            for batch in BATCHES
        },
    }
    lengths = [n for n in (1_000, 10_000, 100_000, 1_000_000) if n < asked.tokens] + [asked.tokens]
    figures["lengths"] = [asdict(point) for point in measure_lengths(model, lengths)]
    asked.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


def machine() -> dict[str, object]:
    """Return what the figures were taken on, and how busy it was."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


if __name__ == "__main__":
    main()
