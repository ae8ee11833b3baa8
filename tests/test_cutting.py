import random
from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.cutting import Cut, cut, ends_of, is_border, snap, tail_start
from sculptor.tokens import TokenCounter

COUNTER = TokenCounter()

FAMILY, FLAGS, ACCENT, HANGUL = (
    "👨‍👩‍👧",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
    "e\u0301",
    "\u1112\u1161\u11ab",
)
KNOTS = [
    FAMILY,
    FLAGS,
    ACCENT,
    HANGUL,
    "\r\n",
    "क्षि",
    "\U0001f1e9",
    "\u0600",
    "👍🏽",
    "각",
    "กำ",
    "世界",
]
texts = st.lists(
    st.one_of(
        st.sampled_from([*KNOTS, " ", "\n", "a", "word", ". ", "; ", "。", "\u0301", "\u200d"])
    ),
    max_size=60,
).map("".join)


def borders_of(text: str) -> set[int]:
    return {0, *(match.end() for match in regex.finditer(r"\X", text))}


def pieces_of(text: str, cuts: list[Cut]) -> list[str]:
    return [text[piece.start : piece.end] for piece in cuts]


@given(texts, st.integers(1, 25))
@settings(max_examples=300, deadline=None)
def test_pieces_cover_the_text_and_tear_no_grapheme(text: str, pieces: int) -> None:
    cuts = cut(text, pieces=pieces, counter=COUNTER)
    assert "".join(pieces_of(text, cuts)) == text
    assert all(left.end == right.start for left, right in pairwise(cuts))
    assert all(piece.start < piece.end for piece in cuts)
    assert len(cuts) <= pieces
    assert {piece.start for piece in cuts} <= borders_of(text)
    assert sum(piece.tokens for piece in cuts) == len(COUNTER.offsets(text))


@given(texts, st.data())
@settings(max_examples=300, deadline=None)
def test_snap_finds_the_border_on_either_side(text: str, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(text)))
    borders = borders_of(text)
    floor = data.draw(st.sampled_from(sorted(border for border in borders if border <= index)))
    assert snap(text, index, up=False) == max(at for at in borders if at <= index)
    assert snap(text, index, up=True) == min(at for at in borders if at >= index)
    assert snap(text, index, up=True, floor=floor) == snap(text, index, up=True)
    assert is_border(text, index) == (index in borders)


def test_snap_stays_within_the_text() -> None:
    assert snap("abc", -5, up=False) == 0
    assert snap("abc", 99, up=True) == 3
    assert snap("", 0, up=True) == 0


@given(texts, st.data())
@settings(deadline=None)
def test_a_range_is_cut_and_nothing_else(text: str, data: st.DataObject) -> None:
    borders = sorted(borders_of(text))
    start = data.draw(st.sampled_from(borders))
    end = data.draw(st.sampled_from([border for border in borders if border >= start]))
    cuts = cut(text, start=start, end=end, pieces=4, counter=COUNTER)
    assert "".join(pieces_of(text, cuts)) == text[start:end]
    if cuts:
        assert (cuts[0].start, cuts[-1].end) == (start, end)


def test_records_stay_whole_and_shares_are_equal() -> None:
    source = random.Random(7)
    keys = [f"key {number}" for number in range(46)]
    text = "".join(f"{source.choice(keys)}: value {source.randrange(999)}; " for _ in range(2_000))
    cuts = cut(text, pieces=10, counter=COUNTER)
    assert len(cuts) == 10
    assert all(piece.endswith("; ") and piece.startswith("key ") for piece in pieces_of(text, cuts))
    share = COUNTER.count(text) / 10
    assert all(0.8 * share <= piece.tokens <= 1.2 * share for piece in cuts)


def test_size_gives_as_many_pieces_as_the_text_needs() -> None:
    text = "One short sentence stands here. " * 500
    cuts = cut(text, size_tokens=400, counter=COUNTER)
    assert len(cuts) == -(-COUNTER.count(text) // 400)
    assert all(piece.tokens <= 440 for piece in cuts)
    assert all(piece.endswith(". ") for piece in pieces_of(text, cuts))
    double = cut(text, size_tokens=400, counter=COUNTER.with_factor(2.0))
    assert len(double) in (2 * len(cuts), 2 * len(cuts) - 1)


@pytest.mark.parametrize(
    ("unit", "ends"),
    [
        ("A line of plain text without a full stop\n", "\n"),
        ("A line with a carriage return\r\n", "\r\n"),
        ("这是一个没有空格的句子。", "。"),
        ("真的吗？“是的！”", "！”"),
        ("键：值；", "；"),
        ("He said so. ", ". "),
        ("Is it (really?) ", ") "),
    ],
)
def test_cuts_go_to_natural_boundaries(unit: str, ends: str) -> None:
    text = unit * 200
    cuts = cut(text, pieces=6, counter=COUNTER)
    assert len(cuts) == 6
    for piece in pieces_of(text, cuts):
        assert piece.endswith((ends, "？"))


def test_a_blank_line_is_not_cut_in_two() -> None:
    text = ("word " * 30 + "\n \n\n") * 40
    for piece in pieces_of(text, cut(text, pieces=7, counter=COUNTER))[:-1]:
        assert piece.endswith("\n \n\n")


def test_words_stay_whole_where_there_is_no_boundary() -> None:
    text = "alpha beta gamma_delta épsilon " * 300
    for piece in pieces_of(text, cut(text, pieces=9, counter=COUNTER)):
        assert piece.split()[0] in {"alpha", "beta", "gamma_delta", "épsilon"}
        assert piece.endswith(" ")


def test_short_texts_make_fewer_pieces() -> None:
    assert pieces_of("hello world", cut("hello world", pieces=20, counter=COUNTER)) == [
        "hello ",
        "world",
    ]
    assert cut("", pieces=5, counter=COUNTER) == []
    assert cut("abc", start=2, end=2, pieces=5, counter=COUNTER) == []
    assert len(cut(FAMILY, pieces=5, counter=COUNTER)) == 1
    assert pieces_of("界" * 3, cut("界" * 3, pieces=9, counter=COUNTER)) == ["界"] * 3


@pytest.mark.parametrize(
    "arguments", [{}, {"pieces": 2, "size_tokens": 9}, {"pieces": 0}, {"size_tokens": -1}]
)
def test_wrong_arguments_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="either pieces or size_tokens"):
        cut("text", counter=COUNTER, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "a" * 60_000,
        "a" + "\u0301" * 60_000,
        FLAGS * 5_000,
        FAMILY * 10_000,
        "क्षि" * 15_000,
        "क्षि\n" * 15_000,
        "\r\n" * 30_000,
        " " * 60_000,
        "\n\u0301" * 30_000,
    ],
    ids=["letter", "marks", "flags", "families", "conjuncts", "lines", "crlf", "spaces", "torn"],
)
def test_hostile_texts_are_cut_on_borders(text: str) -> None:
    cuts = cut(text, size_tokens=500, counter=COUNTER)
    assert "".join(pieces_of(text, cuts)) == text
    # Around each cut only: \X over a whole row of flags is quadratic.
    assert all(is_border(text, piece.start) for piece in cuts)
    start = tail_start(text, 600, COUNTER)
    assert is_border(text, start)
    assert COUNTER.count(text[start:]) >= min(600, COUNTER.count(text)) - 1


def test_the_tail_holds_its_tokens_and_begins_naturally() -> None:
    text = "A sentence with seven words in it. " * 2_000
    start = tail_start(text, 600, COUNTER)
    assert text[start - 2 : start] == ". "
    assert 600 <= COUNTER.count(text[start:]) <= 640


def test_the_tail_of_a_short_text_is_all_of_it() -> None:
    assert tail_start("short. text", 600, COUNTER) == 0
    assert tail_start("", 600, COUNTER) == 0
    assert tail_start("some text", 0, COUNTER) == len("some text")


def test_a_tail_without_boundary_begins_at_a_word() -> None:
    text = "word " * 5_000
    start = tail_start(text, 600, COUNTER)
    assert text[start:].startswith("word")
    assert 600 <= COUNTER.count(text[start:]) <= 603


def test_the_tail_widens_at_most_to_double() -> None:
    text = "First. " + "word " * 5_000
    start = tail_start(text, 100, COUNTER)
    assert 100 <= COUNTER.count(text[start:]) <= 200


def test_the_factor_counts_in_the_tail() -> None:
    text = "A sentence with seven words in it. " * 2_000
    double = COUNTER.with_factor(2.0)
    assert 600 <= double.count(text[tail_start(text, 600, double) :]) <= 640


@given(texts, st.integers(1, 40))
@settings(deadline=None)
def test_the_tail_never_tears_a_grapheme(text: str, tokens: int) -> None:
    start = tail_start(text, tokens, COUNTER)
    assert start in borders_of(text)
    assert len(COUNTER.offsets(text[start:])) >= min(tokens, len(COUNTER.offsets(text))) - 2


@given(texts, st.integers(1, 40))
def test_the_ends_of_a_text_are_whole_graphemes(text: str, chars: int) -> None:
    first, last = ends_of(text, chars)
    assert text.startswith(first)
    assert text.endswith(last)
    assert max(len(first), len(last)) <= chars
    assert is_border(text, len(first))
    assert is_border(text, len(text) - len(last))
