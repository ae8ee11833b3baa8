"""Drawing PI-LLM sessions in the original program's order of random calls.

Two legacy generators are used as the original uses them: numpy's ``RandomState`` picks tracked
keys, untracked keys, tracked values, untracked values and, last, the keys to forget; Python's
``Random`` orders the stream. Keys and values used in earlier sessions get less weight, so session
``n`` of a seed needs all sessions before it. With the same seed in both generators a session
equals the original's, pair by pair.

``long`` draws are ours: values come in shuffled passes over the whole list, so that a key may have
more updates than values, and never the same value twice running.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sculptor.errors import EvalError
from sculptor.evals.pi_llm.forgetting import Forgetting
from sculptor.evals.pi_llm.options import Options
from sculptor.evals.types import derive_seed

Pair = tuple[str, str]
Vocabulary = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The outcome of all random choices of one PI-LLM session."""

    tracked_keys: tuple[str, ...]
    untracked_keys: tuple[str, ...]
    pairs: tuple[Pair, ...]
    forget_keys: tuple[str, ...]


@dataclass(slots=True)
class _Usage:
    """How often keys and values were drawn; tracked and untracked draws count apart."""

    keys: dict[str, int] = field(default_factory=dict)
    items: dict[str, dict[str, int]] = field(default_factory=dict)


def sessions(options: Options, vocabulary: Vocabulary, *, seed: int) -> Iterator[Session]:
    """Yield the sessions the original draws after both its generators were seeded with ``seed``."""
    _check_size(options, vocabulary)
    numbers, order = np.random.RandomState(seed), random.Random(seed)
    tracked_usage, untracked_usage = _Usage(), _Usage()
    while True:
        tracked = _draw_keys(numbers, options, vocabulary, options.n_tracked_keys, tracked_usage)
        rest = {key: values for key, values in vocabulary.items() if key not in tracked}
        untracked = _draw_keys(numbers, options, rest, options.n_untracked_keys, untracked_usage)
        own = _draw_pairs(
            numbers, options, vocabulary, tracked, options.n_tracked_updates, tracked_usage
        )
        others = _draw_pairs(
            numbers, options, vocabulary, untracked, options.n_untracked_updates, untracked_usage
        )
        pairs = _shuffle(order, own + others) if options.random_update else others + own
        yield Session(
            tracked_keys=tracked,
            untracked_keys=untracked,
            pairs=tuple(pairs),
            forget_keys=_draw_forgotten(numbers, options, tracked),
        )


def long_session(options: Options, vocabulary: Vocabulary, *, seed: int) -> Session:
    """Return one session whose values are drawn in passes; the order is the original's kind."""
    rng = random.Random(derive_seed("pi-llm-long", seed))
    keys = list(vocabulary)
    if not 2 <= options.n_tracked_keys <= len(keys):
        raise EvalError(f"n_tracked_keys must lie between 2 and {len(keys)}.")
    tracked = rng.sample(keys, options.n_tracked_keys)
    pairs = [
        (key, value)
        for key in tracked
        for value in _passes(rng, vocabulary[key], options.n_tracked_updates)
    ]
    order = _shuffle(rng, pairs) if options.random_update else pairs
    return Session(
        tracked_keys=tuple(tracked),
        untracked_keys=(),
        pairs=tuple(_keep_value_order(order, pairs)),
        forget_keys=(),
    )


def _passes(rng: random.Random, values: Sequence[str], count: int) -> list[str]:
    if len(values) < 2:
        raise EvalError("A key needs at least two values.")
    drawn: list[str] = []
    while len(drawn) < count:
        one_pass = rng.sample(list(values), len(values))
        if drawn and one_pass[0] == drawn[-1]:
            one_pass.append(one_pass.pop(0))
        drawn += one_pass
    return drawn[:count]


def _keep_value_order(shuffled: Sequence[Pair], drawn: Sequence[Pair]) -> Iterator[Pair]:
    """Yield the shuffled keys with each key's values in the order of its passes.

    Shuffling moves equal values next to each other in a key's own history; a pass must not.
    """
    by_key: dict[str, list[str]] = {}
    for key, value in drawn:
        by_key.setdefault(key, []).append(value)
    queues = {key: iter(values) for key, values in by_key.items()}
    for key, _ in shuffled:
        yield key, next(queues[key])


def _check_size(options: Options, vocabulary: Vocabulary) -> None:
    needed = options.n_tracked_keys + options.n_untracked_keys
    if needed > len(vocabulary):
        raise EvalError(f"{needed} keys asked for; the dictionary has {len(vocabulary)}.")
    most = max(options.n_tracked_updates, options.n_untracked_updates)
    fewest = min(len(values) for values in vocabulary.values())
    if most > fewest and not options.sample_replacement:
        raise EvalError(
            f"{most} updates a key asked for, but values are drawn without replacement from "
            f"{fewest}. Use the task pi-llm-long past that."
        )


def _weights(
    names: Sequence[str], counts: Mapping[str, int], options: Options
) -> NDArray[np.float64] | None:
    """Return normalized weights 1 / (count + 1), or ``None`` where all are to be alike."""
    if not options.balanced_sample:
        return None
    if not counts:
        return np.ones(len(names)) / float(len(names))
    weights = [1.0 / (counts.get(name, 0) + 1) for name in names]
    return np.array(weights) / sum(weights)


def _draw_keys(
    numbers: np.random.RandomState,
    options: Options,
    vocabulary: Vocabulary,
    count: int,
    used: _Usage,
) -> tuple[str, ...]:
    keys = list(vocabulary)
    if not keys:
        return ()
    weights = _weights(keys, used.keys, options)
    chosen = numbers.choice(keys, size=min(count, len(keys)), replace=False, p=weights).tolist()
    for key in chosen:
        used.keys[key] = used.keys.get(key, 0) + 1
    return tuple(chosen)


def _draw_pairs(
    numbers: np.random.RandomState,
    options: Options,
    vocabulary: Vocabulary,
    keys: Sequence[str],
    updates: int,
    used: _Usage,
) -> list[Pair]:
    slots: dict[str, list[list[str]]] = {key: [[] for _ in range(updates)] for key in keys}
    for _ in range(options.len_item):
        for key in keys:
            for slot, item in zip(
                slots[key],
                _draw_items(numbers, options, key, vocabulary[key], updates, used),
                strict=True,
            ):
                slot.append(item)
    return [(key, join_value(items, options)) for key in keys for items in slots[key]]


def _draw_items(
    numbers: np.random.RandomState,
    options: Options,
    key: str,
    values: Sequence[str],
    count: int,
    used: _Usage,
) -> list[str]:
    counts = used.items.setdefault(key, {})
    weights = _weights(values, counts, options)
    picked: list[int] = numbers.choice(
        range(len(values)), size=count, replace=options.sample_replacement, p=weights
    ).tolist()
    items = [values[index] for index in picked]
    for item in items:
        counts[item] = counts.get(item, 0) + 1
    return items


def join_value(items: Sequence[str], options: Options) -> str:
    """Return the value made of a slot's items; with one round the item is used untouched."""
    if options.len_item == 1:
        return items[0]
    style = options.len_item_style
    if "strip" in style:
        items = [item.replace(" ", "") for item in items]
    if "cap" in style:
        items = [item[:1].upper() + item[1:] for item in items]
    glue = "-" if "hyphen" in style else "_" if "underscore" in style else ""
    return glue.join(items)


def _draw_forgotten(
    numbers: np.random.RandomState, options: Options, tracked: Sequence[str]
) -> tuple[str, ...]:
    """Draw the keys to forget; the original draws even none, which moves its generator on."""
    count = Forgetting.parse(options.prompt_forgetting).count(len(tracked))
    chosen: list[str] = numbers.choice(list(tracked), size=count, replace=False).tolist()
    return tuple(chosen)


def _shuffle(rng: random.Random, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs in a random order in which no key follows itself.

    The law is the original's: shuffle, pop the last to open the stream, then pick uniformly among
    the remaining pairs of another key, and start afresh where none is left.
    """
    if not pairs:
        return []
    _check_solvable(pairs)
    while True:
        remaining = list(pairs)
        rng.shuffle(remaining)
        result = _try_order(rng, remaining)
        if result is not None:
            return result


def _check_solvable(pairs: Sequence[Pair]) -> None:
    counts: dict[str, int] = {}
    for key, _ in pairs:
        counts[key] = counts.get(key, 0) + 1
    if max(counts.values()) > (len(pairs) + 1) // 2:
        raise EvalError("No order keeps a key from following itself; use at least two keys.")


def _try_order(rng: random.Random, remaining: list[Pair]) -> list[Pair] | None:
    numbers = {key: number for number, key in enumerate(dict.fromkeys(key for key, _ in remaining))}
    ids = np.array([numbers[key] for key, _ in remaining], dtype=np.int32)
    counts = np.bincount(ids).tolist()
    result = [remaining.pop()]
    last, size = int(ids[-1]), len(ids) - 1
    counts[last] -= 1
    while size:
        allowed = size - counts[last]
        if not allowed:
            return None
        place = int(np.flatnonzero(ids[:size] != last)[rng.choice(range(allowed))])
        last = int(ids[place])
        ids[place : size - 1] = ids[place + 1 : size]
        counts[last] -= 1
        size -= 1
        result.append(remaining.pop(place))
    return result
