"""Orders of cuts: which messages are meant, and that an order given twice does nothing twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.context import Context
from sculptor.errors import InvalidMessage
from sculptor.messages import make_message
from sculptor.tokens import TokenCounter
from sculptor.tools.cuts import cuts_of, message_index, named_or_long, places

COUNTER = TokenCounter()
PROSE = "\n\n".join(f"Paragraph {i} tells of mill {i} on the river Tamm." for i in range(200))


def make_context() -> Context:
    context = Context(seed=b"cuts", counter=COUNTER)
    for role, text in (("user", PROSE), ("assistant", "ok"), ("user", "  "), ("user", "And?")):
        context.append(make_message(role, text))  # type: ignore[arg-type]
    return context


def test_messages_count_from_both_ends() -> None:
    context = make_context()
    assert [message_index(context, index) for index in (0, 3, -1, -4)] == [0, 3, 3, 0]
    assert places(context, (0, -4)) == (context.places[0],) * 2
    for wrong in (4, -5):
        with pytest.raises(InvalidMessage, match=r"has 4, counted from 0") as caught:
            message_index(context, wrong)
        assert caught.value.param == "messages"


def test_without_names_the_long_ones_are_meant() -> None:
    context = make_context()
    assert named_or_long(context, ()) == [0]
    assert named_or_long(context, (1, -3, 0)) == [1, 0]


@given(count=st.none() | st.integers(1, 9), size=st.none() | st.integers(50, 3_000))
def test_pieces_are_the_whole_text_and_cut_once(count: int | None, size: int | None) -> None:
    if count is not None and size is not None:
        size = None
    context = make_context()
    (made,) = cuts_of(context, 0, num_fragments=count, size_tokens=size)
    borders = [(piece.start, piece.end) for piece in made.pieces]
    assert "".join(PROSE[start:end] for start, end in borders) == PROSE
    assert count is None or len(borders) == count
    context.perform(made, author="user", reason="")
    assert not list(cuts_of(context, 0, num_fragments=count, size_tokens=size))


def test_blank_and_protected_text_is_left_alone() -> None:
    context = make_context()
    for index in (2, 3):
        assert not list(cuts_of(context, index, num_fragments=2, size_tokens=None))
