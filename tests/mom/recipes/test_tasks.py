import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.recipes.tasks import Batch, Mqar, Overwrite, draw, task_from_dict


def _arrays(batch: Batch) -> tuple[np.ndarray, ...]:
    return batch.tokens, batch.targets, batch.weights


def _assignments(tokens: np.ndarray, count: int) -> dict[int, int]:
    """Read the leading pairs as a program would: the last value of a key stands."""
    return {int(tokens[2 * i]): int(tokens[2 * i + 1]) for i in range(count)}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 20), st.integers(0, 1000))
def test_mqar_asks_every_key_once_and_the_answer_is_in_the_context(pairs, extra, seed) -> None:
    task = Mqar(pairs=pairs, length=3 * pairs + extra, vocab_size=2 * pairs + 11)
    batch = draw(task, seed=seed, stream="train", index=3, examples=4)
    for tokens, targets, weights in zip(batch.tokens, batch.targets, batch.weights, strict=True):
        told = _assignments(tokens, pairs)
        at = np.flatnonzero(weights)
        assert len(told) == pairs
        assert at.min() >= 2 * pairs
        assert sorted(tokens[at]) == sorted(told)
        assert [told[int(t)] for t in tokens[at]] == targets[at].tolist()
        filler = np.setdiff1d(np.arange(2 * pairs, task.length), at)
        assert not tokens[filler].any()
        assert tokens.max() < task.vocab_size


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_mqar_grown_has_few_pairs_and_many_in_training_and_all_in_exams(pairs, least, seed) -> None:
    least = min(least, pairs)
    task = Mqar(pairs=pairs, length=3 * pairs + 2, vocab_size=2 * pairs + 11, least_pairs=least)
    for stream, fewest in (("train", least), ("eval", pairs)):
        batch = draw(task, seed=seed, stream=stream, index=3, examples=4)
        for tokens, targets, weights in zip(*_arrays(batch), strict=True):
            count = int((tokens[: 2 * pairs] > 0).sum()) // 2
            told = _assignments(tokens, count)
            at = np.flatnonzero(weights)
            assert fewest <= count <= pairs
            assert len(at) == pairs
            assert set(tokens[at].tolist()) == set(told)
            assert [told[int(t)] for t in tokens[at]] == targets[at].tolist()


def test_mqar_grown_has_few_pairs_as_often_as_many() -> None:
    task = Mqar(pairs=64, length=192, vocab_size=999, least_pairs=4)
    tokens = draw(task, seed=0, stream="train", index=0, examples=400).tokens[:, :128]
    few = ((tokens > 0).sum(1) // 2 < 16).mean()
    assert 0.4 < few < 0.6


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(0, 20), st.integers(0, 1000))
def test_overwrite_asks_for_the_last_value(keys, extra, seed) -> None:
    task = Overwrite(keys=keys, updates=keys + extra, vocab_size=31)
    batch = draw(task, seed=seed, stream="eval", index=0, examples=4)
    for tokens, targets, weights in zip(batch.tokens, batch.targets, batch.weights, strict=True):
        told = _assignments(tokens, task.updates)
        at = np.flatnonzero(weights)
        assert at.tolist() == list(range(2 * task.updates, task.length))
        assert sorted(tokens[at]) == sorted(told)
        assert [told[int(t)] for t in tokens[at]] == targets[at].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
def test_overwrite_grown_has_few_keys_and_many_in_training_and_all_in_exams(
    keys, least, seed
) -> None:
    least = min(least, keys)
    task = Overwrite(keys=keys, updates=keys + 5, vocab_size=31, least_keys=least)
    for stream, fewest in (("train", least), ("eval", keys)):
        batch = draw(task, seed=seed, stream=stream, index=1, examples=4)
        for tokens, targets, weights in zip(*_arrays(batch), strict=True):
            told = _assignments(tokens, task.updates)
            at = np.flatnonzero(weights)
            assert fewest <= len(told) <= keys
            assert set(tokens[at].tolist()) == set(told)
            assert [told[int(t)] for t in tokens[at]] == targets[at].tolist()


def test_a_batch_follows_from_its_numbers_alone_and_streams_differ() -> None:
    task = Mqar(pairs=3, length=12, vocab_size=21)
    one, two = (draw(task, seed=5, stream="train", index=9, examples=8) for _ in range(2))
    assert np.array_equal(one.tokens, two.tokens)
    for other in ({"seed": 6}, {"stream": "eval"}, {"index": 10}):
        named = {"seed": 5, "stream": "train", "index": 9} | other
        assert not np.array_equal(draw(task, **named, examples=8).tokens, one.tokens)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "chess"}, "known: language, mqar, overwrite"),
        ({"kind": "mqar", "pairs": 3}, "takes length, pairs, vocab_size, and may have least_pairs"),
        ({"kind": "mqar", "pairs": 4, "length": 11, "vocab_size": 99}, "at least 12"),
        ({"kind": "mqar", "pairs": 4, "length": 12, "vocab_size": 7}, "at least 9"),
        (
            {"kind": "mqar", "pairs": 4, "length": 12, "vocab_size": 9, "least_pairs": 5},
            "least_pairs=5 must lie between 0",
        ),
        ({"kind": "overwrite", "keys": 4, "updates": 3, "vocab_size": 99}, "at least 4"),
        ({"kind": "overwrite", "keys": 4, "updates": 5, "vocab_size": 7}, "at least 9"),
    ],
)
def test_a_senseless_task_is_refused(values, says) -> None:
    with pytest.raises(ValueError, match=says):
        task_from_dict(values)
