import math
import random
from itertools import pairwise
from types import SimpleNamespace

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor import _patterns, search
from sculptor._caseless import caseless
from sculptor._patterns import MAX_PATTERN_CHARS
from sculptor.errors import ToolError
from sculptor.search import (
    Embedder,
    Match,
    Mode,
    Window,
    cosine_ranking,
    count,
    excerpt,
    find,
    merge_windows,
    nearest,
    reciprocal_rank_fusion,
    terms,
)

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "北京大学在北京。Straße und STRASSE; İstanbul ﬁne",
    "👨‍👩‍👧 family; e\u0301clair; error 404: not found\nerror 500: server\n",
]
MODES: tuple[Mode, ...] = ("exact", "ignore_case", "regex", "fuzzy")


def spans(texts: list[str], query: str, mode: Mode = "exact") -> list[tuple[int, str]]:
    found = find(texts, query, mode=mode)
    return [(match.index, texts[match.index][match.start : match.end]) for match in found]


words = st.text(alphabet="abAB ß世\u0301İ", max_size=30)


@given(st.lists(words, max_size=5), st.text(alphabet="abAB ß世\u0301İ", min_size=1, max_size=3))
@settings(deadline=None)
def test_exact_finds_what_str_count_counts(texts: list[str], query: str) -> None:
    found = find(texts, query)
    assert all(texts[match.index][match.start : match.end] == query for match in found)
    assert len(found) == count(texts, query) == sum(text.count(query) for text in texts)


@given(st.lists(words, max_size=5), st.text(alphabet="abAB ß世\u0301İ", min_size=1, max_size=3))
@settings(deadline=None)
def test_ignore_case_matches_what_folds_alike(texts: list[str], query: str) -> None:
    found = find(texts, query, mode="ignore_case")
    for match in found:
        stretch = texts[match.index][match.start : match.end]
        assert query.casefold() in stretch.casefold()
    assert len(found) == count(texts, query, mode="ignore_case")
    assert {match.index for match in found} == {
        index for index, text in enumerate(texts) if query.casefold() in text.casefold()
    }


@given(words)
@settings(deadline=None)
def test_case_folding_knows_the_way_back(text: str) -> None:
    folded = caseless(text)
    for at in range(len(folded.text)):
        start, end = folded.span(at, at + 1)
        assert end == start + 1
        assert folded.text[at] in text[start:end].casefold()


def test_ignore_case_finds_expanded_letters() -> None:
    assert spans(TEXTS, "strasse", "ignore_case") == [(1, "Straße"), (1, "STRASSE")]
    assert spans(TEXTS, "STRAẞE", "ignore_case") == [(1, "Straße"), (1, "STRASSE")]
    assert spans(TEXTS, "i̇STANBUL", "ignore_case") == [(1, "İstanbul")]
    assert spans(TEXTS, "the", "ignore_case") == [(0, "The"), (0, "the")]
    assert spans(["ßß"], "s", "ignore_case") == [(0, "ß"), (0, "ß")]


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_query_matches_nothing(mode: Mode) -> None:
    assert find(TEXTS, "", mode=mode) == []
    assert count(TEXTS, "", mode=mode) == 0
    assert nearest(TEXTS, " ") == []


@pytest.mark.parametrize("mode", MODES)
def test_last_is_first_turned_round(mode: Mode) -> None:
    texts = [f"record {number}: record; " * 3 for number in range(50)]
    first = find(texts, "record", mode=mode)
    assert find(texts, "record", mode=mode, order="last") == first[::-1]
    assert find(texts, "record", mode=mode, order="last", limit=4) == first[:-5:-1]
    assert find(texts, "record", mode=mode, limit=4) == first[:4]
    assert find(texts, "record", mode=mode, limit=0) == []
    assert count(texts, "record", mode=mode) == len(first)


def test_overlapping_matches_are_taken_from_the_start() -> None:
    assert [(match.start, match.end) for match in find(["aaaaa"], "aa", order="last")] == [
        (2, 4),
        (0, 2),
    ]


def test_regex_offsets_are_code_points() -> None:
    assert spans(TEXTS, r"error (\d+)", "regex") == [(2, "error 404"), (2, "error 500")]
    assert spans(TEXTS, "大学|Stra.e", "regex") == [(1, "大学"), (1, "Straße")]
    assert spans(TEXTS, "(?i)straße", "regex") == [(1, "Straße")]
    assert spans(["a\ud800世b"], "b", "regex") == [(0, "b")]


def test_regex_lines_are_those_of_grep() -> None:
    assert spans(TEXTS, r"^error.*$", "regex") == [(2, "error 500: server")]
    assert find(["aaa", ""], "b*", mode="regex") == []


@pytest.mark.parametrize(
    "pattern", ["(", "a(?=b)", r"(a)\1", "*", "a{2000}", "x" * (MAX_PATTERN_CHARS + 1)]
)
def test_a_bad_pattern_is_explained_to_the_model(pattern: str) -> None:
    with pytest.raises(ToolError, match=r"RE2.*mode \"exact\"") as refused:
        find(TEXTS, pattern, mode="regex")
    assert refused.value.code == "BAD_PATTERN"


def test_a_pattern_that_would_explode_elsewhere_stays_linear() -> None:
    text = "a" * 200_000
    assert find([text], "(a+)+$b", mode="regex") == []


def test_a_pattern_too_large_for_the_text_is_refused() -> None:
    with pytest.raises(ToolError, match="Use fewer or smaller repetitions") as refused:
        find(["a" * 3_000_000], r"[^;]{1,80}: .{1,80};", mode="regex")
    assert refused.value.code == "PATTERN_TOO_COSTLY"


def test_a_search_past_its_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 100.0])
    monkeypatch.setattr(_patterns, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(ToolError, match="PATTERN_TOO_COSTLY"):
        find(["one", "two"], "x", mode="regex")


def test_counting_patterns_is_bounded() -> None:
    assert count(["a" * 50_000], "a", mode="regex") == search.COUNT_LIMIT
    assert count(["a" * 50_000], "a") == 50_000


def test_fuzzy_finds_misspelt_words_with_a_score() -> None:
    found = find(TEXTS, "quikc brwn fox", mode="fuzzy")
    assert [match.index for match in found] == [0]
    assert "brown fox" in TEXTS[0][found[0].start : found[0].end]
    assert 0.8 <= found[0].score < 1
    assert find(TEXTS, "The quick brown fox", mode="fuzzy")[0].score == 1
    assert find(TEXTS, "nothing of this kind", mode="fuzzy") == []


def test_fuzzy_does_not_take_a_short_text_for_a_match() -> None:
    assert find(["fox", "o", ""], "the quick brown fox", mode="fuzzy") == []
    assert spans(["quick brown fo"], "quick brown fox", "fuzzy") == [(0, "quick brown fo")]


def test_fuzzy_finds_every_place_of_a_long_text() -> None:
    filler = "some other words of no interest at all to anybody here " * 12
    text = filler.join(["", "database migraton", "datbase migration", ""])
    found = spans([text], "database migration", "fuzzy")
    assert len(found) == 2
    assert all("migrat" in stretch for _, stretch in found)


def test_fuzzy_compares_long_queries_as_a_whole() -> None:
    source = random.Random(5)
    letters = "abcdefghij klmnop qrstuv wxyz"
    texts = ["".join(source.choices(letters, k=2_000)) for _ in range(20)]
    query = list(texts[13][500:900])
    for at in source.sample(range(400), 12):
        query[at] = "#"
    found = find(texts, "".join(query), mode="fuzzy")
    assert [(match.index, match.start, match.end) for match in found] == [(13, 500, 900)]
    near = nearest(texts, "".join(query))
    assert (near[0].index, near[0].start) == (13, 500)
    beginning_lost = "#" * 70 + texts[13][570:900]
    assert nearest(texts, beginning_lost)[0].index == 13


def test_too_long_a_fuzzy_query_is_explained() -> None:
    with pytest.raises(ToolError, match="shorter, telling part") as refused:
        find(TEXTS, "x" * 3_000, mode="fuzzy")
    assert refused.value.code == "QUERY_TOO_LONG"
    assert nearest(TEXTS, "x" * 3_000) == []


def test_nearest_names_what_the_model_meant() -> None:
    near = nearest(TEXTS, "the QUICK brown foxes")
    assert near[0].index == 0
    assert near[0].score > 0.85
    assert nearest(TEXTS, "error 404 - not found")[0].index == 2
    assert nearest(TEXTS, "zzzzzz qqqqqq") == []
    assert nearest([], "anything") == []


def test_nearest_is_bounded_and_distinct() -> None:
    texts = ["key one: alpha; key two: beta; " * 200, "key one: alpha; key six: gamma; "]
    near = nearest(texts, "key onx: alpha;", limit=2)
    assert 1 <= len(near) <= 2
    stretches = [texts[match.index][match.start : match.end] for match in near]
    assert len(set(stretches)) == len(stretches)
    assert near == sorted(near, key=lambda match: -match.score)


def test_nearest_tears_no_grapheme() -> None:
    text = "intro 👨‍👩‍👧‍👦 family meeting e\u0301clair"
    borders = {0, *(piece.end() for piece in regex.finditer(r"\X", text))}
    for match in nearest([text], "👨 family meating e"):
        assert {match.start, match.end} <= borders


@given(st.text(alphabet="a\u0301👨\u200d👩\r\n 世\U0001f1e9", max_size=40), st.data())
@settings(deadline=None)
def test_excerpts_hold_the_match_and_whole_graphemes(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    size = data.draw(st.integers(0, 10))
    window = excerpt(text, start, end, context_size=size)
    borders = {0, *(piece.end() for piece in regex.finditer(r"\X", text))}
    assert {window.start, window.end} <= borders
    assert window.start <= max(0, start - size)
    assert window.end >= min(len(text), end + size)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=20))
@settings(deadline=None)
def test_merged_windows_cover_the_same_and_stand_apart(sizes: list[tuple[int, int]]) -> None:
    windows = [(start, start + size) for start, size in sizes]
    merged = merge_windows(windows)
    assert all(left.end < right.start for left, right in pairwise(merged))
    covered = {at for start, end in windows for at in range(start, end)}
    assert covered == {at for window in merged for at in range(window.start, window.end)}


def test_touching_windows_are_one() -> None:
    assert merge_windows([(5, 9), (0, 5), (20, 21)]) == [Window(0, 9), Window(20, 21)]


def test_fusion_is_the_sum_of_reciprocal_ranks() -> None:
    fused = reciprocal_rank_fusion([["a", "b"], ["b", "c"], ["b"]])
    assert [item for item, _ in fused] == ["b", "a", "c"]
    assert fused[0][1] == pytest.approx(1 / 62 + 2 / 61)
    assert reciprocal_rank_fusion([]) == []
    assert reciprocal_rank_fusion([["a", "a"]]) == [("a", pytest.approx(1 / 61))]


def test_terms_of_every_script() -> None:
    assert terms("The Fox_Trot HTTPServer v2 don't") == [
        *("the", "fox_trot", "fox", "trot", "httpserver", "http", "server", "v2", "don", "t"),
    ]
    assert terms("北京大学 Straße １２") == ["北京", "京大", "大学", "学", "strasse", "12"]
    assert terms("हिन्दी") == ["हिन्दी"]
    assert terms("GPT模型") == ["gpt", "模型", "型"]
    assert terms("⟦f1a2b3⟧ — !?") == ["f1a2b3"]
    assert terms("__init__ ___") == ["init"]
    assert terms("x" * 200) == ["x" * 64]


@given(st.text(max_size=60))
@settings(deadline=None)
def test_terms_are_words_of_bounded_length(text: str) -> None:
    for term in terms(text):
        assert 0 < len(term) <= 3 * 64
        assert not any(character.isspace() or character in '"*()^' for character in term)


class LetterCounts:
    name = "letters"

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [[float(text.count(letter)) for letter in "abc"] for text in texts]


def test_cosine_ranks_what_an_embedder_gives() -> None:
    embedder: Embedder = LetterCounts()  # type: ignore[assignment]
    vectors = embedder.embed(["aaa", "abab", "ccc", "", "ab"])
    ranked = cosine_ranking(embedder.embed(["aab"])[0], vectors, limit=3)
    assert [index for index, _ in ranked] == [1, 4, 0]
    assert ranked[0][1] == pytest.approx(3 / math.sqrt(10))
    assert cosine_ranking([1.0], [], limit=3) == []
    with pytest.raises(ValueError, match="2 dimensions"):
        cosine_ranking([1.0, 2.0], vectors, limit=3)


def test_matches_are_values() -> None:
    assert find(["ab"], "b") == [Match(index=0, start=1, end=2)]
