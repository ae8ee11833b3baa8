import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor import guards
from sculptor.guards import Facts, Stretch, coverage, facts, newly_invisible, records

TEXT = (
    "Deadline: 2026-03-14. We met with Ada Lovelace, and she fixed the parse_config bug in"
    " src/app/main.py at 12:30; the retry limit is 250 and max_depth: 7; see user@example.org.\n"
    "Some said the HttpServer was slow."
)


def test_records_have_keys_and_values_with_their_places() -> None:
    text = "visual art: oil paint; fruit: fig；键：值\nnot a record; url http://x.y; a: \n7: 8"
    found = list(records(text))
    assert [(record.key, record.value) for record in found] == [
        ("visual art", "oil paint"),
        ("fruit", "fig"),
        ("键", "值"),
    ]
    assert all(
        record.key in text[record.start : record.end]
        and record.value in text[record.start : record.end]
        for record in found
    )


@given(st.text(alphabet="ab:;=\n /. 世：；", max_size=60))
@settings(deadline=None)
def test_records_never_overlap(text: str) -> None:
    found = list(records(text))
    assert all(record.key and record.value for record in found)
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_facts_of_a_text() -> None:
    found = facts(TEXT)
    assert {"Deadline", "max_depth"} & set(found.heads) == {"Deadline"}
    assert {
        "parse_config",
        "src/app/main.py",
        "max_depth",
        "user@example.org",
        "HttpServer",
    } == set(found.identifiers)
    assert found.names == ("Ada Lovelace", "HttpServer")
    assert set(found.numbers) >= {"2026-03-14", "12:30", "250"}
    assert "7" not in found.numbers


def test_prose_has_few_heads_and_streams_have_all() -> None:
    assert facts("He said the following: nothing at all was decided.").heads == ()
    assert facts("one thing: a; other thing: b; one thing: c; ").heads == (
        "one thing",
        "other thing",
    )
    assert facts("surprise.It was late.Then they left.").identifiers == ()
    assert facts("") == Facts()


def test_what_becomes_invisible_is_named() -> None:
    hidden = "The token is abc_123 and the port is 8484; Grace Hopper agreed with Ada Lovelace."
    visible = ["abc_123 is used", "ports 84840 and 18484", "with Ada Lovelace"]
    assert newly_invisible([hidden], visible, limit=10) == ["Grace Hopper", "8484"]
    assert newly_invisible([hidden], [], limit=2) == ["abc_123", "Grace Hopper"]
    assert newly_invisible([hidden], [hidden], limit=10) == []
    assert newly_invisible([], visible, limit=10) == []
    assert newly_invisible([hidden], visible, limit=0) == []


def test_a_fact_is_visible_only_as_a_word_of_its_own() -> None:
    assert newly_invisible(["value 42"], ["1420 and 428, then 42"], limit=5) == []
    assert newly_invisible(["value 42"], ["1420 and 428, then x42y"], limit=5) == ["42"]


def test_long_hidden_text_is_read_at_both_ends() -> None:
    filler = "plain words without any facts in them at all " * 3_000
    hidden = [f"first_fact {filler}", filler, f"{filler} last_fact"]
    assert newly_invisible(hidden, [], limit=10) == ["first_fact", "last_fact"]


def test_scanning_is_bounded() -> None:
    facts_in = " ".join(f"fact_{number}" for number in range(90))
    visible = ["nothing to see here " * 50_000] * 20
    found = newly_invisible([facts_in], visible, limit=50)
    assert 1 <= len(found) <= guards.MAX_SCANNED_CHARS // (20 * 50_000 * 20) + 2


def test_coverage_names_the_keys_whose_last_value_goes() -> None:
    stretches = [
        Stretch("a: 1; b: 1; c: 1; ", True),
        Stretch("b: 2; a: 2; ", False),
        Stretch("c: 2; b: 3; ", True),
    ]
    found = coverage(stretches)
    assert found.kept == ("a",)
    assert found.lost == ("c", "b")


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=40))
@settings(deadline=None)
def test_coverage_follows_the_last_value(updates: list[tuple[str, bool]]) -> None:
    stretches = [
        Stretch(f"{key}: v{at}; ", is_hidden) for at, (key, is_hidden) in enumerate(updates)
    ]
    found = coverage(stretches)
    last = dict(updates)
    assert set(found.kept) == {key for key, is_hidden in last.items() if not is_hidden}
    assert set(found.lost) == {key for key, is_hidden in last.items() if is_hidden}


def test_folding_all_but_the_tail_loses_what_the_paper_table_implies() -> None:
    """Last 3 of 10 pieces: about 77 % of 46 keys kept at 4 updates each (specification §7.2)."""
    source = random.Random(3)
    kept = []
    for _ in range(60):
        stream = [f"key {key}: value {n}; " for key in range(46) for n in range(4)]
        source.shuffle(stream)
        cut = len(stream) * 7 // 10
        stretches = [Stretch("".join(stream[:cut]), True), Stretch("".join(stream[cut:]), False)]
        kept.append(len(coverage(stretches).kept) / 46)
    assert 0.70 < sum(kept) / len(kept) < 0.84
