"""Average the weights of runs that share their beginning; the mean forgets less than the last.

``python evals/recipes/mom/average.py OUT 0.5=WEIGHTS 0.5=WEIGHTS --dtype int8`` takes folders that
`sculptor mom export` wrote, each with its share, and writes such a folder, named and served as the
first of them (Wortsman et al. 2022, "Model soups", arXiv 2203.05482).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sculptor.errors import SettingsError
from sculptor.mom.engine.weights import Weights, export_weights
from sculptor.server.mom.loading import describe_model, load_model


def main() -> None:
    """Write the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("parts", nargs="+", type=_part, help="SHARE=FOLDER; shares sum to 1")
    parser.add_argument("--dtype", choices=("int8", "float16"), default="int8")
    arguments = parser.parse_args()
    shares = [share for share, _ in arguments.parts]
    if abs(sum(shares) - 1) > 1e-6:
        parser.error(f"the shares sum to {sum(shares):g}, not to 1")
    try:
        models = [load_model(folder) for _, folder in arguments.parts]
    except SettingsError as problem:
        parser.error(str(problem))
    first, loaded = models[0], [model.weights for model in models]
    if any(weights.config != first.weights.config for weights in loaded):
        parser.error("the folders hold models of different shapes")
    mean = {name: _mean(name, shares, loaded) for name in first.weights.names()}
    export_weights(arguments.out, first.weights.config, mean, dtype=arguments.dtype)
    describe_model(
        arguments.out,
        tokenizer=first.tokenizer,
        name=first.name,
        window_tokens=first.window_tokens,
    )


def _mean(name: str, shares: Sequence[float], loaded: Sequence[Weights]) -> NDArray[Any]:
    tensors = [weights.tensor(name).astype(np.float32) for weights in loaded]
    return np.tensordot(np.asarray(shares, np.float32), np.stack(tensors), axes=1)


def _part(text: str) -> tuple[float, Path]:
    share, _, folder = text.partition("=")
    return float(share), Path(folder)


if __name__ == "__main__":
    main()
