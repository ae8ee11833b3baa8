"""What decides between two tokens that are nearly as likely: rounding, or the marks of a view.

``python evals/recipes/mom/rounding.py WEIGHTS VIEWS --out FILE --sample 9 --before "climate is
climate"`` takes a sample's request from a folder that `same_views.py` recorded, up to those words
of its answer. It reads them in pieces of several lengths, in fp32 and fp64, and compares logits and
the routers' picks with one reading; then it draws other marks for the view's fragments and tells
how far apart the two likeliest next tokens are with each.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from kept_views import read_samples
from origin import origin

from sculptor.mom.engine import cpu
from sculptor.mom.engine.arrays import Array
from sculptor.mom.engine.mixer import CpuMixer
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.server.mom.asking import AskReader
from sculptor.server.mom.loading import load_model

PIECES = (256, 100, 64, 2_048)
DTYPES: tuple[type[np.floating], ...] = (np.float64, np.float32)
_MARK = re.compile(r"(?<=⟦)[0-9a-f]{6}\b")
"""A fragment's mark where a marker of a view begins."""


def main() -> None:
    """Read, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("views", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cell", default="pi-llm-sculptor:sculptor")
    parser.add_argument("--sample", type=int, default=9)
    parser.add_argument("--before", default="climate is climate", help="words of the answer")
    parser.add_argument("--marks", type=int, default=64, help="how many draws")
    arguments = parser.parse_args()
    place = (arguments.cell, arguments.sample)
    kept = [s for s in read_samples(arguments.views) if (s["cell"], s["index"]) == place]
    if not kept:
        parser.error(f"{arguments.views} has no sample {arguments.sample} of {arguments.cell}.")
    found = [a for a in kept[0]["asked"] if arguments.before in (a["told"]["content"] or "")]
    if not found:
        parser.error(f"No answer of that sample says {arguments.before!r}.")
    study = Study(arguments.weights, found[0], before=arguments.before)
    value = {
        **origin(),
        "weights": study.fingerprint,
        "sample": arguments.sample,
        "tokens": len(study.tokens(study.body)),
        "two_likeliest": study.likeliest(),
        "readings": list(study.iter_readings()),
        "marks": _told(list(study.iter_gaps(arguments.marks))),
    }
    arguments.out.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _told(gaps: Sequence[float]) -> dict[str, object]:
    if not gaps:
        return {"n": 0}  # the view names no fragment
    return {
        "n": len(gaps),
        "overtaken": sum(gap < 0 for gap in gaps),
        "least": min(gaps),
        "median": float(np.median(gaps)),
        "most": max(gaps),
        "gaps": [round(gap, 4) for gap in gaps],
    }


class Study:
    """One request up to some words of its answer."""

    def __init__(self, weights: Path, asked: Mapping[str, Any], *, before: str) -> None:
        loaded = load_model(weights)
        self.fingerprint, self._weights = loaded.fingerprint, loaded.weights
        self.body: str = asked["body"]
        said: str = asked["told"]["content"]
        self._said = said[: said.index(before) + len(before)]
        self._tokenizer = load_tokenizer()
        self._reader = AskReader(self._tokenizer, window_tokens=loaded.window_tokens)
        self._model = cpu.CpuModel(self._weights)
        first = self._read(self._model, self.body)
        self._pair = [int(token) for token in np.argsort(-first)[:2]]

    def tokens(self, body: str) -> list[int]:
        """Return what the model has read when it chooses."""
        prompt = self._reader.read(body.encode(), hidden=True).request.tokens
        return [*prompt, *self._tokenizer.encode(self._said)]

    def likeliest(self) -> list[str]:
        """Return the two likeliest next tokens."""
        return [self._tokenizer.decode([token]) for token in self._pair]

    def iter_readings(self) -> Iterator[dict[str, object]]:
        """Read in every dtype and piece; compare each with the first."""
        whole: tuple[Array, Array] | None = None
        for dtype in DTYPES:
            model = cpu.CpuModel(self._weights, dtype=dtype)
            for piece in PIECES:
                with watched_races() as races, patch.object(cpu, "PIECE", piece):
                    logits = self._read(model, self.body)
                picks, margins = by_layer(races)
                whole = whole or (logits, picks)
                yield {
                    "dtype": dtype.__name__,
                    "piece": piece,
                    "gap": float(logits[self._pair[0]] - logits[self._pair[1]]),
                    "logits_apart": float(np.abs(logits - whole[0]).max()),
                    "races": margins.size,
                    "races_settled_otherwise": int((picks != whole[1]).any(axis=-1).sum()),
                    "closest_race": float(margins.min()),
                }

    def iter_gaps(self, draws: int) -> Iterator[float]:
        """Yield how far the likeliest token is ahead of the second, with other marks."""
        rng, marks = random.Random(0), sorted(set(_MARK.findall(self.body)))
        anywhere = re.compile("|".join(marks))  # in markers, in calls and in what these returned
        for _ in range(draws if marks else 0):
            new = {mark: f"{rng.getrandbits(24):06x}" for mark in marks}
            logits = self._read(self._model, anywhere.sub(lambda m, new=new: new[m[0]], self.body))
            yield float(logits[self._pair[0]] - logits[self._pair[1]])

    def _read(self, model: cpu.CpuModel, body: str) -> Array:
        return model.prefill(self.tokens(body), model.new_state())


Race = tuple[int, Array, Array]
"""A layer, what its router picked for some rows, and by how much each last pick won."""


@contextmanager
def watched_races() -> Iterator[list[Race]]:
    """Keep the races of all routers while the block runs."""
    original, races = CpuMixer._choose, list[Race]()

    def choose(self: CpuMixer, logits: Array) -> Any:
        choice = original(self, logits)
        top, ordered = choice.picked.shape[1], np.sort(logits, axis=1)
        won_by = ordered[:, -top] - ordered[:, -top - 1]
        races.append((id(self), np.sort(choice.picked, axis=1), won_by))
        return choice

    with patch.object(CpuMixer, "_choose", choose):
        yield races


def by_layer(races: Sequence[Race]) -> tuple[Array, Array]:
    """Return ``picks [layers, tokens, top_k]`` and ``won by [layers, tokens]``."""
    layers = list(dict.fromkeys(layer for layer, *_ in races))
    parts = [[race[1:] for race in races if race[0] == layer] for layer in layers]
    picks, won_by = ([np.concatenate([p[i] for p in part]) for part in parts] for i in range(2))
    return np.stack(picks), np.stack(won_by)


if __name__ == "__main__":
    main()
