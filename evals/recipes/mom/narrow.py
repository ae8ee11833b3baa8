"""Whether the kernels are right on a card at heads narrower than 64.

``python evals/recipes/mom/narrow.py --out FOLDER`` compares the layers of the recall studies and
other narrow heads with the fp64 form, forward and backward, pieces and decode steps: a line of
``FOLDER/narrow.jsonl`` each, ``ok`` or what is over its bound. To be run before a new width joins
`PROVEN_WIDTHS`, and after the assembler changed.
"""

import argparse
from pathlib import Path

import torch
from correctness import check_layers, check_pieces, check_steps
from figures import Figures

from sculptor.mom.layers.config import MixerConfig

RECALL = {
    "recall": MixerConfig(d_model=128, heads=2, key_dim=32, value_dim=32),
    "recall wide": MixerConfig(d_model=128, heads=5, key_dim=32, value_dim=64, memories=0, top_k=0),
    "recall wide keys": MixerConfig(
        d_model=128, heads=5, key_dim=64, value_dim=32, memories=0, top_k=0
    ),
}
OTHERS = {
    "16": MixerConfig(d_model=64, heads=4, key_dim=16, value_dim=16),
    "32 to 128": MixerConfig(d_model=128, heads=2, key_dim=32, value_dim=128),
    "64 to 32": MixerConfig(d_model=128, heads=2, key_dim=64, value_dim=32),
}
"""Keys of 64 and more keep wgmma in the passes over the states: less sure than the others."""


def main() -> int:
    """Check what the time allows, in order of worth; return 1 if something is not right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300, help="time for this slice")
    parser.add_argument("--quick", action="store_true", help="the smallest alone")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    figures = Figures(arguments.out / "narrow.jsonl", seconds=arguments.seconds)
    if arguments.quick:
        check_layers(figures, {"16": OTHERS["16"]}, lengths=[20, 0, 1])
    else:
        check_layers(figures, RECALL, lengths=[700, 0, 65, 1, 258])
        # As many texts of a study's batch as the fp64 form holds in memory.
        whole = {f"{name}, many texts": shape for name, shape in RECALL.items()}
        check_layers(figures, whole, lengths=[256] * 16)
        check_steps(figures, RECALL)
        check_pieces(figures, {"recall": RECALL["recall"]}, length=20_000)
        check_layers(figures, OTHERS, lengths=[700, 0, 65, 1, 258])
    rows = [row for part in ("correctness", "steps", "pieces") for row in figures.find(part)]
    return int(not all(row["ok"] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
