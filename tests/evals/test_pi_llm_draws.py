from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.errors import EvalError
from sculptor.evals.pi_llm.draws import join_value, long_session, sessions
from sculptor.evals.pi_llm.options import Options

WORDS = {f"key {n}": [f"word {n} {m}" for m in range(12)] for n in range(6)}


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    tracked=st.integers(2, 4),
    untracked=st.integers(0, 2),
    updates=st.integers(1, 12),
)
def test_a_random_stream_never_repeats_a_key_and_uses_each_value_once(
    seed: int, tracked: int, untracked: int, updates: int
) -> None:
    options = Options(
        n_tracked_keys=tracked,
        n_untracked_keys=untracked,
        n_tracked_updates=updates,
        n_untracked_updates=min(updates, 3),
    )
    session = next(sessions(options, WORDS, seed=seed))
    keys = [key for key, _ in session.pairs]
    assert all(before != after for before, after in pairwise(keys))
    assert len(set(session.pairs)) == len(session.pairs)
    counts = Counter(keys)
    assert all(counts[key] == updates for key in session.tracked_keys)
    assert all(counts[key] == min(updates, 3) for key in session.untracked_keys)
    assert not set(session.tracked_keys) & set(session.untracked_keys)
    assert all(value in WORDS[key] for key, value in session.pairs)


def test_sequential_streams_put_untracked_blocks_first() -> None:
    options = Options(
        n_tracked_keys=2,
        n_untracked_keys=1,
        n_tracked_updates=3,
        n_untracked_updates=2,
        random_update=False,
    )
    session = next(sessions(options, WORDS, seed=5))
    blocks = [session.untracked_keys[0]] * 2
    blocks += [key for key in session.tracked_keys for _ in range(3)]
    assert [key for key, _ in session.pairs] == blocks


def test_later_sessions_prefer_what_earlier_ones_left_out() -> None:
    options = Options(n_tracked_keys=2, n_tracked_updates=2)
    drawn = list(islice(sessions(options, WORDS, seed=1), 60))
    counts = Counter(key for session in drawn for key in session.tracked_keys)
    assert max(counts.values()) - min(counts.values()) <= 10


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), updates=st.integers(2, 60))
def test_long_sessions_never_give_a_key_the_same_value_twice_running(
    seed: int, updates: int
) -> None:
    options = Options(n_tracked_keys=3, n_tracked_updates=updates)
    session = long_session(options, WORDS, seed=seed)
    for key in session.tracked_keys:
        values = [value for other, value in session.pairs if other == key]
        assert len(values) == updates
        assert all(before != after for before, after in pairwise(values))
        for start in range(0, updates - 11, 12):
            assert len(set(values[start : start + 12])) == 12
    assert all(before[0] != after[0] for before, after in pairwise(session.pairs))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(n_tracked_updates=13, n_tracked_keys=2), "pi-llm-long"),
        (Options(n_tracked_updates=2, n_tracked_keys=7), "7 keys asked for"),
        (Options(n_tracked_updates=2, n_tracked_keys=1), "at least two keys"),
    ],
)
def test_impossible_sessions_say_what_to_do(options: Options, words: str) -> None:
    with pytest.raises(EvalError, match=words):
        next(sessions(options, WORDS, seed=0))


@pytest.mark.parametrize(
    ("style", "joined"),
    [
        ("none", "red foxgrey owl"),
        ("strip", "redfoxgreyowl"),
        ("cap", "Red foxGrey owl"),
        ("cap-strip", "RedfoxGreyowl"),
        ("hyphen-strip", "redfox-greyowl"),
        ("underscore-cap-strip", "Redfox_Greyowl"),
    ],
)
def test_value_styles(style: str, joined: str) -> None:
    assert join_value(["red fox", "grey owl"], Options(len_item=2, len_item_style=style)) == joined
    assert join_value(["red fox"], Options(len_item=1, len_item_style=style)) == "red fox"
