"""A view that is too long is folded from its oldest text on; nothing is cut."""

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.loop import fold_to_fit
from sculptor.messages import Message
from sculptor.operations import Fold, Pin

from .scripted import FILLER, context_of, message


def long_context(turns: int = 8) -> list[Message]:
    listed = [message("system", "Rules. " + FILLER * 20)]
    for turn in range(turns):
        listed.append(message("user", f"question {turn}: " + FILLER * 40))
        listed.append(message("assistant", f"answer {turn}: " + FILLER * 40))
    return [*listed, message("user", "What now?")]


def test_a_view_that_fits_is_left_alone() -> None:
    context = context_of(long_context())
    assert fold_to_fit(context, context.tokens) == []
    assert context.depth == 0


def test_the_oldest_goes_first_and_the_view_fits() -> None:
    context = context_of(long_context())
    limit = context.tokens // 2
    receipts = fold_to_fit(context, limit)
    assert context.tokens <= limit
    assert receipts[-1].tokens_after == context.tokens
    hidden = [leaf.status == "folded" for leaf in context.fragments()]
    assert hidden == sorted(hidden, reverse=True)
    assert {context.log.get(at).author for at in range(1, context.depth + 1)} == {"policy"}


def test_markers_of_a_very_long_text_do_not_fill_the_window() -> None:
    """At 2,000 tokens a fragment they alone would be twice as long as the window."""
    context = context_of([message("user", FILLER * 20_000), message("user", "What now?")])
    fold_to_fit(context, 2_000)
    assert context.total_tokens > 250_000
    assert context.tokens <= 2_000
    assert sum(leaf.tokens for leaf in context.fragments()) > 250_000


def test_system_text_pins_and_the_last_question_are_kept() -> None:
    context = context_of(long_context())
    context.perform(Pin(places=(context.places[1],)), author="user")
    fold_to_fit(context, 0)
    view = context.view().messages
    kept = (0, 1, len(view) - 1)
    assert all(view[index] == context.messages[index].wire for index in kept)
    assert all(b"folded" in view[index] for index in range(2, len(view) - 1))


def test_a_long_last_question_gives_way_at_its_beginning() -> None:
    context = context_of([message("user", FILLER * 400 + "What is the port?")])
    fold_to_fit(context, 1_500)
    (shown,) = context.view().messages
    assert context.tokens <= 1_500
    assert orjson.loads(shown)["content"].endswith("What is the port?")


def test_what_was_folded_is_not_folded_again() -> None:
    context = context_of(long_context())
    fold_to_fit(context, context.tokens // 2)
    depth = context.depth
    fold_to_fit(context, context.tokens)
    assert context.depth == depth
    first = next(context.fragments())
    context.perform(Fold((first.id,)), author="model")
    assert context.depth == depth


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.floats(0.1, 1.2))
def test_the_view_fits_or_all_that_is_left_is_protected(turns: int, share: float) -> None:
    context = context_of(long_context(turns))
    limit = int(context.tokens * share)
    originals = [m.wire for m in context.messages]
    fold_to_fit(context, limit)
    if context.tokens > limit:
        open_leaves = [
            leaf
            for leaf in context.fragments()
            if leaf.status == "visible" and leaf.tokens > 30 and not context.why_protected(leaf)
        ]
        assert not open_leaves
    assert len(context.view().messages) == len(originals)
    assert [m.wire for m in context.messages] == originals
