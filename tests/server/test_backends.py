"""Deltas that came together leave together, and nothing of them is lost."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.chat import Delta, TextDelta, ToolCallDelta
from sculptor.errors import UpstreamBroken
from sculptor.server.backends import joined

TEXT = st.builds(TextDelta, text=st.text(max_size=3))
MARKED = st.builds(TextDelta, text=st.text(max_size=3), choice=st.just({"logprobs": {}}))
CALL = st.builds(ToolCallDelta, index=st.integers(0, 2), arguments=st.text(max_size=3))


def is_plain(delta: Delta) -> bool:
    return isinstance(delta, TextDelta) and delta.choice is None


def texts(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def failing(deltas: Sequence[Delta]) -> Iterator[Delta]:
    yield from deltas
    raise UpstreamBroken("cut")


@given(st.lists(TEXT | MARKED | CALL, max_size=12))
def test_only_neighbouring_plain_texts_are_joined(came: list[Delta]) -> None:
    left = list(joined(iter(came)))
    assert texts(left) == texts(came)
    assert [d for d in left if not is_plain(d)] == [d for d in came if not is_plain(d)]
    assert not any(is_plain(one) and is_plain(other) for one, other in pairwise(left))
    assert list(joined(iter(left))) == left


def test_texts_keep_their_place_among_calls() -> None:
    a, b, c = (TextDelta(text=letter) for letter in "abc")
    call = ToolCallDelta(index=0, id="c1", name="f")
    assert list(joined(iter([a, b, call, c]))) == [TextDelta(text="ab"), call, c]


@given(st.lists(TEXT | CALL, max_size=6))
def test_what_came_before_an_error_leaves_before_it(came: list[Delta]) -> None:
    left: list[Delta] = []

    def take() -> None:
        for delta in joined(failing(came)):
            left.append(delta)  # what came before the error stays

    with pytest.raises(UpstreamBroken):
        take()
    assert left == list(joined(iter(came)))
