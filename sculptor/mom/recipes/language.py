"""The language task: conversations of the corpus as packed tokens, loss on the model's own alone.

A row of ``length`` tokens is filled with whole documents, each one instance of a sample; what does
not fit a row is left out, so rows should be at least twice as long as what matters. Every token the
model wrote carries the same loss, once. Lengths and families follow stages by training step, so
that short conversations come first; evaluation draws from the last stage.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.template import render_training
from sculptor.mom.language.tokenizer import Tokenizer, load_tokenizer
from sculptor.mom.recipes.corpus import Mix, iter_samples
from sculptor.mom.recipes.tasks import Batch

TRIES = 4
"""How many documents in a row may not fit before a row ends: with eight it is fuller by a
fiftieth, and its data take 1.4 times as long to draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A mix, and the training step at which the next one takes over (None for the last)."""

    mix: Mix
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One instance as tokens; ``trained`` marks those the model wrote and is to learn."""

    tokens: NDArray[np.int64]
    trained: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Rows of packed conversations; one ends after ``tries`` documents that do not fit."""

    length: int
    stages: tuple[Stage, ...]
    tokenizer: Tokenizer
    tries: int = TRIES

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"tries is {self.tries}; a row takes at least 1.")
        if self.length < 64:
            raise ValueError(f"length is {self.length}; a row holds at least 64 tokens.")
        ends = [stage.until for stage in self.stages]
        if not ends or ends[-1] is not None or None in ends[:-1]:
            raise ValueError("Every stage but the last needs `until`, and the last has none.")
        if ends[:-1] != sorted(set(filter(None, ends))):
            raise ValueError(f"Stages end at {ends[:-1]}; each must end after the one before.")

    @property
    def vocab_size(self) -> int:
        """How many tokens the task uses."""
        return self.tokenizer.vocab_size

    def make(
        self,
        rng: np.random.Generator,
        *,
        examples: int,
        step: int | None = None,
        share: slice = slice(None),
    ) -> Batch:
        """Draw those in ``share`` of the rows of the stage in force at ``step``, or of the last."""
        stage = self._stage(step)
        seeds = [int(seed) for seed in rng.integers(2**62, size=examples)][share]
        shape = (len(seeds), self.length)
        tokens = np.full(shape, int(Protocol.PAD), dtype=np.int64)
        targets, weights = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
        starts, real = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
        for row, seed in enumerate(seeds):
            at = 0
            for document in self._row(stage.mix, seed=seed):
                size = len(document.tokens)
                tokens[row, at : at + size] = document.tokens
                targets[row, at : at + size - 1] = document.tokens[1:]
                weights[row, at : at + size - 1] = document.trained[1:]
                starts[row, at], real[row, at : at + size] = True, True
                at += size
        return Batch(tokens=tokens, targets=targets, weights=weights, starts=starts, real=real)

    def _stage(self, step: int | None) -> Stage:
        if step is None:
            return self.stages[-1]
        return next(s for s in self.stages if s.until is None or step < s.until)

    def _row(self, mix: Mix, *, seed: int) -> Iterator[Document]:
        """Yield documents that fit one row together."""
        room, misses = self.length, 0
        for document in iter_documents(seed, mix=mix, tokenizer=self.tokenizer):
            if len(document.tokens) <= room:
                room -= len(document.tokens)
                misses = 0
                yield document
            else:
                misses += 1
            if misses == self.tries or room < 64:
                return


def iter_documents(seed: int, *, mix: Mix, tokenizer: Tokenizer) -> Iterator[Document]:
    """Yield the instances of a seed's samples as tokens, without end."""
    for sample in iter_samples(seed, mix=mix):
        for instance in sample.instances:
            rendering = render_training(
                instance.messages,
                tools=instance.tools,
                trained=instance.trained,
                tokenizer=tokenizer,
            )
            yield Document(
                tokens=np.asarray(rendering.tokens, dtype=np.int64),
                trained=np.asarray(rendering.trained, dtype=np.bool_),
            )


def language_from_dict(values: Mapping[str, object]) -> Language:
    """Build the task from a recipe's table.

    ``length``, optional ``tries``, and ``stages``: tables with ``chars`` (lengths in
    characters with their shares), optional ``families``, ``tools``, ``folded`` and ``until``.
    """
    unknown = sorted(set(values) - {"length", "stages", "tries"})
    stages = values.get("stages")
    if unknown or not isinstance(stages, Sequence):
        raise ValueError(
            "The task language takes length, tries and a list of stages"
            + (f", not {', '.join(unknown)}." if unknown else ".")
        )
    return Language(
        length=int(str(values.get("length", 0))),
        tries=int(str(values.get("tries", TRIES))),
        stages=tuple(_stage_from_dict(stage) for stage in stages),
        tokenizer=load_tokenizer(),
    )


def _stage_from_dict(values: object) -> Stage:
    if not isinstance(values, Mapping):
        raise ValueError("A stage is a table with chars and, but for the last, until.")
    known = {"until", *(field.name for field in fields(Mix))}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"A stage takes {', '.join(sorted(known))}; not {', '.join(unknown)}.")
    given = {name: value for name, value in values.items() if name != "until"}
    if "chars" in given:
        given["chars"] = {int(length): float(share) for length, share in given["chars"].items()}
    return Stage(mix=Mix(**given), until=values.get("until"))
