"""Synthetic recall tasks whose every batch follows from ``(seed, index)`` alone.

The same numbers give the same batch on any machine and in any process, so a run can be cut and
resumed anywhere. Evaluation draws from another stream of the same seed and never meets training.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]
Stream = Literal["train", "eval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``tokens targets [B, T]`` and ``weights [B, T]``, above zero where an answer is wanted.

    Rows that hold several documents say where each begins (``starts [B, T]``) and which tokens are
    no padding (``real [B, T]``); without these a row is one document.
    """

    tokens: Tokens
    targets: Tokens
    weights: NDArray[np.float32]
    starts: NDArray[np.bool_] | None = None
    real: NDArray[np.bool_] | None = None


class Task(Protocol):
    """What can be trained on and scored by exact match of the answers."""

    @property
    def vocab_size(self) -> int:
        """How many tokens the task uses."""
        ...

    @property
    def length(self) -> int:
        """Tokens per example."""
        ...

    def make(
        self,
        rng: np.random.Generator,
        *,
        examples: int,
        step: int | None = None,
        share: slice = slice(None),
    ) -> Batch:
        """Draw a batch and return its examples in ``share``.

        ``step`` is that of training, None in evaluation.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqar:
    """Multi-query associative recall (arXiv 2312.04927).

    ``pairs`` keys with their values stand first; then, at random places among filler, every key
    stands once more and its value is to be told. Token 0 is filler; keys are the lower half of
    the rest, values the upper. Where ``least_pairs`` is given, training examples have from so many
    pairs up to all, few as likely as many by their order of magnitude, and ask for each again and
    again: recall begins on few. Exams have all.
    """

    pairs: int
    length: int
    vocab_size: int
    least_pairs: int = 0

    def __post_init__(self) -> None:
        if self.length < 3 * self.pairs:
            raise ValueError(
                f"length={self.length} is too short for pairs={self.pairs}; "
                f"give at least {3 * self.pairs}."
            )
        if (self.vocab_size - 1) // 2 < self.pairs:
            raise ValueError(
                f"vocab_size={self.vocab_size} holds too few keys for pairs={self.pairs}; "
                f"give at least {2 * self.pairs + 1}."
            )
        if not 0 <= self.least_pairs <= self.pairs:
            raise ValueError(
                f"least_pairs={self.least_pairs} must lie between 0 (always all) and "
                f"pairs={self.pairs}."
            )

    def make(
        self,
        rng: np.random.Generator,
        *,
        examples: int,
        step: int | None = None,
        share: slice = slice(None),
    ) -> Batch:
        """Draw ``examples`` sequences and return those in ``share``."""
        half = (self.vocab_size - 1) // 2
        keys = 1 + _distinct(rng, examples, choices=half, take=self.pairs)
        values = 1 + half + rng.integers(half, size=(examples, self.pairs))
        counts = _counts(rng, examples, least=self.least_pairs, most=self.pairs, step=step)
        table = np.arange(self.pairs) < counts
        tokens = np.zeros((examples, self.length), dtype=np.int64)
        tokens[:, 0 : 2 * self.pairs : 2] = keys * table
        tokens[:, 1 : 2 * self.pairs : 2] = values * table
        room = self.length - 2 * self.pairs
        asked = 2 * self.pairs + _distinct(rng, examples, choices=room, take=self.pairs)
        row, which = np.arange(examples)[:, None], np.arange(self.pairs) % counts
        ask, answers = keys[row, which], values[row, which]
        return _with_answers(tokens[share], at=asked[share], ask=ask[share], answers=answers[share])


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwrite:
    """Keys are assigned values again and again; the last value is to be told.

    ``keys`` live keys, ``updates`` assignments in all (every key at least once), then every key is
    asked for once, in random order, at the end. Where ``least_keys`` is given, training examples
    have from so many keys up to all, as `Mqar` has pairs, with as many assignments and questions.
    """

    keys: int
    updates: int
    vocab_size: int
    least_keys: int = 0

    def __post_init__(self) -> None:
        if self.updates < self.keys:
            raise ValueError(
                f"updates={self.updates} leaves keys without a value; give at least {self.keys}."
            )
        if (self.vocab_size - 1) // 2 < self.keys:
            raise ValueError(
                f"vocab_size={self.vocab_size} holds too few keys; "
                f"give at least {2 * self.keys + 1}."
            )
        if not 0 <= self.least_keys <= self.keys:
            raise ValueError(
                f"least_keys={self.least_keys} must lie between 0 (always all) and "
                f"keys={self.keys}."
            )

    @property
    def length(self) -> int:
        """Tokens per example: two for an assignment, one for a question."""
        return 2 * self.updates + self.keys

    def make(
        self,
        rng: np.random.Generator,
        *,
        examples: int,
        step: int | None = None,
        share: slice = slice(None),
    ) -> Batch:
        """Draw ``examples`` sequences and return those in ``share``."""
        half = (self.vocab_size - 1) // 2
        counts = _counts(rng, examples, least=self.least_keys, most=self.keys, step=step)
        names = 1 + _distinct(rng, examples, choices=half, take=self.keys)
        which = rng.integers(counts, size=(examples, self.updates))
        which[:, : self.keys] = np.arange(self.keys) % counts
        which = rng.permuted(which, axis=1)
        values = 1 + half + rng.integers(half, size=(examples, self.updates))
        tokens = np.zeros((examples, self.length), dtype=np.int64)
        row = np.arange(examples)[:, None]
        tokens[:, 0 : 2 * self.updates : 2] = names[row, which]
        tokens[:, 1 : 2 * self.updates : 2] = values
        last = np.zeros((examples, self.keys), dtype=np.int64)
        for i in range(self.updates):
            last[np.arange(examples), which[:, i]] = values[:, i]
        order = _distinct(rng, examples, choices=self.keys, take=self.keys) % counts
        asked = np.broadcast_to(2 * self.updates + np.arange(self.keys), order.shape)
        ask, answers = names[row, order], last[row, order]
        return _with_answers(tokens[share], at=asked[share], ask=ask[share], answers=answers[share])


def draw(
    task: Task,
    *,
    seed: int,
    stream: Stream,
    index: int,
    examples: int,
    share: slice = slice(None),
) -> Batch:
    """Return what is in ``share`` of batch ``index`` of a stream: the same everywhere, for ever."""
    rng = np.random.default_rng([seed, {"train": 0, "eval": 1}[stream], index])
    step = index if stream == "train" else None
    return task.make(rng, examples=examples, step=step, share=share)


def task_from_dict(values: Mapping[str, object]) -> Task:
    """Build the task that ``values["kind"]`` names from the rest of ``values``."""
    kinds: dict[str, type[Mqar] | type[Overwrite]] = {"mqar": Mqar, "overwrite": Overwrite}
    given = {name: value for name, value in values.items() if name != "kind"}
    if values.get("kind") == "language":
        from sculptor.mom.recipes.language import language_from_dict

        return language_from_dict(given)
    kind = kinds.get(str(values.get("kind")))
    if kind is None:
        raise ValueError(
            f"Unknown task kind {values.get('kind')!r}; known: language, mqar, overwrite."
        )
    known = {f.name: f.default is not MISSING for f in fields(kind)}
    needed = {name for name, has_default in known.items() if not has_default}
    if not needed <= set(given) <= set(known):
        may = "".join(f", and may have {name}" for name in sorted(set(known) - needed))
        raise ValueError(f"Task {values['kind']!r} takes {', '.join(sorted(needed))}{may}.")
    return kind(**{name: int(str(value)) for name, value in given.items()})


def _distinct(rng: np.random.Generator, examples: int, *, choices: int, take: int) -> Tokens:
    return rng.random((examples, choices)).argsort(axis=1)[:, :take].astype(np.int64)


def _counts(
    rng: np.random.Generator, examples: int, *, least: int, most: int, step: int | None
) -> Tokens:
    """Return how much each example has ``[examples, 1]``: ``most``, but in training that grows."""
    if step is None or not least:
        return np.full((examples, 1), most)
    drawn = least * (most / least) ** rng.random((examples, 1))
    return drawn.round().astype(np.int64)


def _with_answers(tokens: Tokens, *, at: Tokens, ask: Tokens, answers: Tokens) -> Batch:
    row = np.arange(tokens.shape[0])[:, None]
    targets = np.zeros_like(tokens)
    weights = np.zeros(tokens.shape, dtype=np.float32)
    tokens[row, at], targets[row, at], weights[row, at] = ask, answers, 1.0
    return Batch(tokens=tokens, targets=targets, weights=weights)
