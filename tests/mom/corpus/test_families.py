"""What a policy looks up is what it tells, and what it tells is what holds."""

import random
import re

import orjson
import pytest

from sculptor.mom.recipes.corpus import FAMILIES, Played, Scene
from sculptor.mom.recipes.corpus.families import chains, needles, statements, tool_logs, updates
from sculptor.mom.recipes.corpus.moves import PER_CALL, Ask, batches
from sculptor.mom.recipes.corpus.reserved import is_reserved, reserved_words
from sculptor.mom.recipes.corpus.rollout import play
from sculptor.mom.recipes.corpus.surfaces import Surface, draw_surface, shuffled_updates, stream
from sculptor.mom.recipes.corpus.words import NAMING, SAYING, distinct, made_up


def _rng(seed: int) -> random.Random:
    return random.Random(seed)


def _visible(played: Played, form: str) -> str:
    """Return the last turn's answer without blank lines between its pieces."""
    texts: list[str] = []
    for step in played.steps:
        message = orjson.loads(step.completion)
        texts.append(message["content"] or "")
    return "\n".join(text for text in texts if text) if form == "tools" else texts[-1]


def _rows(played: Played) -> list[tuple[str, list[str]]]:
    """Return each query made and the excerpts found for it."""
    rows = []
    for step in (played.steps[-1],):
        for message in map(orjson.loads, step.view):
            if message["role"] == "tool" and message["content"].startswith('{"results"'):
                rows += [
                    (row["query"], [hit["text"] for hit in row["hits"]])
                    for row in orjson.loads(message["content"])["results"]
                ]
    return rows


def _leads_on(query: str) -> bool:
    """Whether a query is an item between the separators of a list."""
    return query[:2] == query[-2:] or re.fullmatch(r"- [\w/' .-]+", query) is not None


def _one_turn(scene: Scene) -> Scene:
    return Scene(family=scene.family, turns=scene.turns[:1], tools=scene.tools)


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("chars", [120, 2_000, 7_000, 12_000])
def test_every_family_plays_in_both_forms_at_every_length(name, chars) -> None:
    for seed in range(6):
        for form in ("direct", "tools"):
            scene = FAMILIES[name](_rng(seed), chars=chars)
            played = play(scene, form=form, seed=seed)
            assert played.instances
            assert not played.planted
            names = {tool["function"]["name"] for tool in played.instances[0].tools}
            assert ("search_context" in names) == (form == "tools")


@pytest.mark.parametrize(
    "draw", [updates.draw, needles.draw, chains.draw, tool_logs.draw, statements.draw]
)
def test_both_forms_tell_the_same(draw) -> None:
    looked_up = 0
    for seed in range(30):
        scene = _one_turn(draw(_rng(seed), chars=6_000))
        direct = play(scene, form="direct", seed=seed)
        worked = play(scene, form="tools", seed=seed)
        assert _visible(worked, "tools") == _visible(direct, "direct")
        looked_up += len(worked.steps) > 1
    assert looked_up >= 20


def test_what_an_update_asks_for_stands_in_the_excerpt() -> None:
    seen = 0
    for seed in range(60):
        scene = _one_turn(
            updates.draw(_rng(seed), chars=random.Random(seed).choice((5_000, 14_000)))
        )
        if scene.family != "updates":
            continue
        played = play(scene, form="tools", seed=seed)
        told = _visible(played, "tools")
        original = orjson.loads(play(scene, form="direct", seed=0).steps[0].view[0])["content"]
        queries = [r for r in _rows(played) if r[0] in original and not _leads_on(r[0])]
        for query, (text,) in queries:
            value = re.match(r"\w+|\S", text.rpartition(query)[2])
            assert value
            assert value[0] in told
            seen += 1
    assert seen > 100


def test_searching_goes_by_batches_that_lead_on() -> None:
    asks = [Ask(query=f"q{n}", line=f"l{n}", onward=f"{n}, ") for n in range(8)]
    cut = batches(asks)
    assert [len(batch) for batch, _ in cut] == [PER_CALL, PER_CALL, 2]
    assert [onward for _, onward in cut] == ["2, ", "5, ", ""]
    assert batches(asks[:4]) == [(asks[:4], "")]


def test_no_policy_needs_more_steps_than_a_turn_has() -> None:
    longest = 0
    for seed in range(40):
        scene = _one_turn(updates.draw(_rng(seed), chars=16_000))
        longest = max(longest, len(play(scene, form="tools", seed=seed).steps))
    assert 10 < longest <= 20


def test_what_is_asked_stays_in_view_when_text_is_put_away() -> None:
    seen = many = long = 0
    for seed in range(40):
        scene = _one_turn(updates.draw(_rng(seed), chars=14_000))
        played = play(scene, form="tools", seed=seed)
        if scene.family != "updates" or len(scene.turns[0].said) > 1:
            continue
        shown = orjson.loads(played.steps[1].view[0])["content"]
        original = scene.turns[0].said[0]["content"]
        lines = _visible(played, "tools").split("\n")
        assert "⟦f" in shown
        assert shown.endswith(original[-200:])
        tail = shown.rpartition("⟧")[2]
        queries = [query for query, _ in _rows(played) if not _leads_on(query)]
        if len(queries) >= 8:
            assert any(query in tail for query in queries)
            many += 1
        if len(lines) > 20:
            assert original[-1_000:] in shown
            long += 1
        seen += 1
    assert (seen > 15, many > 5, long >= 5) == (True, True, True), (seen, many, long)


def test_a_misspelled_item_is_found_by_what_is_nearest() -> None:
    mended = 0
    for seed in range(250):
        scene = _one_turn(updates.draw(_rng(seed), chars=5_000))
        if scene.family != "misspelled":
            continue
        played = play(scene, form="tools", seed=seed)
        (wrong, none), (right, (text,)) = _rows(played)
        assert none == []
        assert wrong != right
        (answer,) = _visible(played, "tools").split("\n")
        value = re.match(r"\w+|\S", text.rpartition(right)[2])
        assert value
        assert value[0] in answer
        mended += 1
    assert mended >= 3


def test_long_text_is_put_away_and_the_view_stays_short() -> None:
    put_away = 0
    for seed in range(12):
        scene = _one_turn(updates.draw(_rng(seed), chars=20_000))
        played = play(scene, form="tools", seed=seed)
        first, last = (sum(map(len, played.steps[at].view)) for at in (0, -1))
        if "fragment_context" in played.steps[0].completion.decode():
            put_away += 1
            assert sum(map(len, played.steps[1].view)) < first / 2
        assert last < first + 30_000
    assert put_away == 12


def test_short_conversations_are_answered_without_a_call() -> None:
    answered = dict.fromkeys(set(FAMILIES) - {"requests", "client_calls"}, 0)
    for name in FAMILIES:
        if name in ("requests", "client_calls"):
            continue
        for seed in range(10):
            scene = FAMILIES[name](_rng(seed), chars=500)
            if scene.family == "counting":
                continue  # counting is what a search does better at any length
            played = play(scene, form="tools", seed=seed)
            if all(len(orjson.loads(m)["content"] or "") < 2_000 for m in played.steps[0].view):
                assert len(played.steps) == len(scene.turns)
                answered[name] += 1
    assert min(answered.values()) >= 5, answered


def test_a_query_finds_the_last_record_of_its_item_and_of_no_other() -> None:
    found = 0
    for seed in range(200):
        rng = _rng(seed)
        surface = draw_surface(rng)
        items = distinct(rng, rng.choice(NAMING), 6)
        order = shuffled_updates(rng, items, count=30)
        records = [(item, rng.choice(SAYING)(rng)) for item in order]
        text = stream(records, surface)
        assert set(order) == set(items)
        for item in items:
            at = text.rfind(surface.query(item))
            value = next(value for name, value in reversed(records) if name == item)
            if order.count(item) == 1 and order[0] == item:
                continue  # what parts two records does not stand before the first
            assert at >= 0
            assert text[at + len(surface.query(item)) :].startswith(value)
            found += 1
    assert found > 1_100


def test_no_surface_is_one_of_the_evaluation() -> None:
    theirs = {("", ": ", "; "), ("", " - ", "; "), ("", " = ", "; ")}
    drawn = {draw_surface(_rng(seed)) for seed in range(400)}
    assert not {(s.lead, s.link, s.end) for s in drawn} & theirs
    assert not any("value of" in s.lead or "by setting" in s.link for s in drawn)
    assert Surface(lead="", link=":", end="; ") in drawn


def test_words_are_made_up_and_reserved_by_nobody() -> None:
    rng = _rng(0)
    words = distinct(rng, made_up, 500)
    assert len({word.casefold() for word in words}) == 500
    assert not any(is_reserved(word) for word in words)
    assert all(re.fullmatch(r"[a-z]+", word) for word in words)
    assert {"bird", "timeout_ms", "keziah okonjo"} <= reserved_words()
