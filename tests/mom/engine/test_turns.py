from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sculptor.mom.engine.turns import Moment, TurnStore


@dataclass
class Note:
    """A state that is its tokens."""

    read: list[int] = field(default_factory=list)
    nbytes: int = 100

    @property
    def tokens(self) -> int:
        return len(self.read)

    def copy(self) -> "Note":
        return Note(list(self.read))


def moment(tokens: list[int]) -> Moment[Note]:
    return Moment(state=Note(list(tokens)), logits=np.zeros(0))


TEXT = st.lists(st.integers(0, 2), max_size=6)


@given(st.lists(TEXT, max_size=8), TEXT)
def test_the_longest_kept_prefix_is_found(kept: list[list[int]], asked: list[int]) -> None:
    store: TurnStore[Note] = TurnStore(limit_bytes=10_000)
    for tokens in kept:
        store.put(tokens, moment(tokens))
    length, found = store.longest(asked)
    fitting = [tokens for tokens in kept if asked[: len(tokens)] == tokens]
    assert length == max(map(len, fitting), default=0)
    assert (found is None) == (not fitting)
    if found is not None:
        assert found.state.read == asked[:length]


def test_what_is_found_and_what_is_put_are_copies() -> None:
    store: TurnStore[Note] = TurnStore(limit_bytes=1_000)
    given_in = moment([1, 2])
    store.put([1, 2], given_in)
    given_in.state.read.append(9)
    for _ in range(2):
        _, found = store.longest([1, 2, 3])
        assert found is not None
        assert found.state.read == [1, 2]
        found.state.read.append(3)


def test_the_least_recently_used_goes_first() -> None:
    store: TurnStore[Note] = TurnStore(limit_bytes=250)
    store.put([1], moment([1]))
    store.put([2], moment([2]))
    store.put([2], moment([2]))
    assert store.longest([1, 5])[0] == 1
    store.put([3], moment([3]))
    assert [store.longest([i])[0] for i in (1, 2, 3)] == [1, 0, 1]
    assert (len(store), store.nbytes) == (2, 200)


def test_a_moment_over_the_bound_is_not_kept() -> None:
    store: TurnStore[Note] = TurnStore(limit_bytes=99)
    store.put([1], moment([1]))
    assert store.longest([1]) == (0, None)
    assert store.nbytes == 0


def test_owners_do_not_meet() -> None:
    store: TurnStore[Note] = TurnStore(limit_bytes=1_000)
    store.put([1], moment([1]), owner="ann")
    assert store.longest([1], owner="ben") == (0, None)
    assert store.longest([1]) == (0, None)
    assert store.longest([1], owner="ann")[0] == 1
