"""The state at 1k, 32k and 131k tokens on one CPU core; it takes no arguments.

Prints a line of JSON per length: bytes of the state, tokens read per second, peak resident size.
"""

import argparse
import json
import resource
from dataclasses import asdict

import torch

from sculptor.mom.models.config import MomConfig
from sculptor.mom.recipes.measure import measure_lengths, time_decode

CONFIG = MomConfig(
    vocab_size=2048,
    d_model=256,
    layers=4,
    mlp_width=704,
    heads=4,
    key_dim=64,
    value_dim=64,
    chunk=32,
)


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    for length in (1_024, 32_768, 131_072):
        (point,) = measure_lengths(CONFIG, lengths=(length,), piece=1_024)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(asdict(point) | {"peak_resident_mib": round(peak)}), flush=True)
    decode = time_decode(CONFIG, tokens=64, runs=5)
    print(json.dumps({"decode_tokens_per_s": round(64 / decode.median_s, 1)}))


if __name__ == "__main__":
    main()
