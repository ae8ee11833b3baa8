"""The diff says of every stretch what it was and what it is; nothing is left over."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.context import Context
from sculptor.cutting import snap
from sculptor.messages import make_message, parse_message
from sculptor.operations import Cut, Fold, Piece, Range, Summarize
from sculptor.server.diff import diff_of
from sculptor.state import FragmentId, SummaryText
from sculptor.tokens import TokenCounter
from sculptor.tools.api_answers import DiffRow

COUNTER = TokenCounter()
TEXTS = st.lists(
    st.sampled_from(["whale ", "⟦f12345 folded⟧", "⟦", "f12345⟧ ", "鲸鱼", "🐋", "e\u0301 ", "\n"]),
    min_size=1,
    max_size=30,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    cuts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200), st.integers(0, 200))),
    hidden=st.lists(st.sampled_from(["no", "fold", "summary"]), min_size=12, max_size=12),
    inline=st.booleans(),
)
def test_stretches_join_to_both_texts(
    texts: list[str], cuts: list[tuple[int, int, int]], hidden: list[str], inline: bool
) -> None:
    context = Context(seed=b"s", counter=COUNTER, inline=inline)
    context.extend(make_message("user", text) for text in texts)
    context.append(make_message("user", "the newest is protected"))
    _cut_and_hide(context, texts, cuts, hidden)
    rows = {row.index: row for row in diff_of(context)}
    for index, message in enumerate(context.messages):
        shown = context.rendered(index).wire
        assert (index in rows) == (shown != message.wire)
        if index in rows:
            assert rows[index].original == message.text
            assert rows[index].rendered == parse_message(shown).text
            _check_stretches(rows[index])


def test_stretches_name_their_fragments() -> None:
    context = Context(seed=b"s", counter=COUNTER)
    text = "one two three four five six. " * 20
    context.extend([make_message("user", text), make_message("user", "next")])
    places = context.places[0]
    pieces = (Piece(0, 58, 14), Piece(58, 290, 60), Piece(290, len(text), 70))
    context.perform(Cut(Range(places, 0, 0, len(text)), pieces), author="user")
    first, second, third = (leaf.id for leaf in context.fragments())
    summary = SummaryText(text="It counts.", focus="counting", tokens=3, model="m")
    context.perform(Fold((first,)), Summarize(((third, summary),)), author="user")
    (row,) = diff_of(context)
    assert [(s.kind, s.fragment) for s in row.stretches] == [
        ("folded", first),
        ("same", None),
        ("summarized", third),
    ]
    assert "It counts." in row.stretches[2].rendered
    assert row.stretches[1].original == text[58:290]
    assert row.tokens_after < row.tokens_before
    assert second not in {s.fragment for s in row.stretches}


def test_forged_markers_are_shown_as_doubled() -> None:
    context = Context(seed=b"s", counter=COUNTER)
    forged, long = "See ⟦f12345 folded⟧.", "word " * 100
    context.extend(make_message("user", text) for text in (forged, long, "next"))
    assert diff_of(context) == []
    where = Range(context.places[1], 0, 0, len(long))
    context.perform(Cut(where, (Piece(0, len(long), 100),)), author="user")
    context.perform(Fold(tuple(leaf.id for leaf in context.fragments())), author="user")
    first, second = diff_of(context)
    (stretch,) = first.stretches
    assert (stretch.kind, stretch.fragment) == ("marked", None)
    assert stretch.rendered == "See ⟦⟦f12345 folded⟧."
    assert second.stretches[0].kind == "folded"


def _cut_and_hide(
    context: Context, texts: list[str], cuts: list[tuple[int, int, int]], hidden: list[str]
) -> None:
    for index, one, other in cuts:
        text = texts[index] if index < len(texts) else ""
        ends = sorted(snap(text, min(at, len(text)), up=False) for at in (one, other))
        if index >= len(texts) or ends[0] == ends[1]:
            continue
        free = any(
            where.start <= ends[0] and ends[1] <= where.end for where in context.free_ranges(index)
        )
        if free:
            tokens = COUNTER.count(text[slice(*ends)])
            where = Range(context.places[index], 0, *ends)
            context.perform(Cut(where, (Piece(*ends, tokens),)), author="user")
    for leaf, how in zip(list(context.fragments()), hidden, strict=False):
        if how == "fold":
            context.perform(Fold((leaf.id,)), author="user")
        elif how == "summary":
            text = SummaryText(text="⟦f12345⟧ short", focus="x", tokens=3, model="m")
            context.perform(Summarize(((FragmentId(leaf.id), text),)), author="user")


def _check_stretches(row: DiffRow) -> None:
    originals, shown = defaultdict(str), defaultdict(str)
    for stretch in row.stretches:
        originals[stretch.part] += stretch.original
        shown[stretch.part] += stretch.rendered
        assert (stretch.kind == "same") == (stretch.original == stretch.rendered)
    assert "\n".join(originals.values()) == row.original
    assert "\n".join(shown.values()) == row.rendered
