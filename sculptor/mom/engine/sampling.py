"""Choosing a token from logits: repeatable by seed, and of one conversation alone.

Every conversation draws from a generator of its own, one number for each token, so what it writes
does not depend on who else is being served.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sculptor.mom.engine.face import Logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose. ``temperature`` 0 takes the likeliest token; ``top`` asks for that many
    likeliest tokens beside the chosen one."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    top: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}; give 0 or more.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; give more than 0 and at most 1.")
        if self.seed < 0 or self.top < 0:
            raise ValueError(f"seed is {self.seed}, top is {self.top}; neither may be negative.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A token, its log-probability, and the likeliest tokens with theirs, best first.

    Log-probabilities are the model's own among the tokens that were allowed, before temperature
    and ``top_p``.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Draws the tokens of one conversation."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.Generator(np.random.PCG64(sampling.seed))

    def sample(self, logits: Logits, mask: NDArray[np.bool_] | None = None) -> Choice:
        """Choose one of the allowed tokens; that none is allowed is a ValueError."""
        logprobs = _log_softmax(logits, mask)
        asked = self._sampling
        token = int(logprobs.argmax())
        if asked.temperature > 0:
            token = self._draw(logprobs / asked.temperature)
        best = np.argsort(-logprobs, kind="stable")[: asked.top] if asked.top else ()
        top = tuple((int(i), float(logprobs[i])) for i in best if logprobs[i] > -np.inf)
        return Choice(token=token, logprob=float(logprobs[token]), top=top)

    def _draw(self, scaled: NDArray[np.float64]) -> int:
        weights = np.exp(scaled - scaled.max())
        order = np.argsort(-weights, kind="stable")
        rising = np.cumsum(weights[order])
        kept = rising[: int(np.searchsorted(rising, self._sampling.top_p * rising[-1])) + 1]
        place = np.searchsorted(kept, self._random.random() * kept[-1], side="right")
        return int(order[min(int(place), len(kept) - 1)])


def _log_softmax(logits: Logits, mask: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    if mask is not None:
        if not mask.any():
            raise ValueError("The grammar allows no token here; it must always allow one.")
        wide[~mask] = -np.inf
    wide -= wide.max()
    wide -= np.log(np.exp(wide).sum())
    return wide
