"""Sentences of any form: what a question asks for is what the last such sentence says."""

import random
import re

import orjson
import pytest

from sculptor.mom.recipes.corpus.clauses import draw_clause
from sculptor.mom.recipes.corpus.families import statements
from sculptor.mom.recipes.corpus.rollout import play
from sculptor.mom.recipes.corpus.verbs import inflect
from sculptor.mom.recipes.corpus.words import word_lists


@pytest.mark.parametrize(
    ("entry", "forms"),
    [
        ("paint", "paints painted painted"),
        ("carry", "carries carried carried"),
        ("stop", "stops stopped stopped"),
        ("pass", "passes passed passed"),
        ("store", "stores stored stored"),
        ("play", "plays played played"),
        ("rain", "rains rained rained"),
        ("take took taken", "takes took taken"),
    ],
)
def test_verbs_are_inflected(entry, forms) -> None:
    verb = inflect(entry)
    assert f"{verb.third} {verb.past} {verb.participle}" == forms


@pytest.mark.parametrize("changes", [True, False])
def test_every_clause_says_and_asks_for_both_ends(changes) -> None:
    for seed in range(300):
        clause = draw_clause(random.Random(seed), changes=changes)
        assert all("{a}" in state and "{b}" in state for state in clause.states)
        assert all(state.endswith(".") for state in clause.states)
        assert all("{a}" in text and "{b}" not in text for text in clause.questions)
        assert all(text.endswith("?") for text in (*clause.questions, *clause.backward))
        assert all("{a}" in text and not text.endswith("?") for text in clause.indirect)
        assert all("{b}" in text and "{a}" not in text for text in clause.backward)


def test_what_is_told_stands_in_what_the_search_brings() -> None:
    seen = 0
    for seed in range(80):
        scene = statements.draw(random.Random(seed), chars=7_000)
        if scene.family != "statements" or len(scene.turns) > 1:
            continue
        played = play(scene, form="tools", seed=seed)
        answers = [m for m in map(orjson.loads, played.steps[-1].view) if m["role"] == "tool"]
        found = " ".join(answer["content"] for answer in answers).casefold()
        told = orjson.loads(played.steps[-1].completion)["content"].split("\n")
        asked = str(scene.turns[-1].said[-1]["content"])
        for line in told:
            words = [word for word in re.findall(r"\w+", line.casefold()) if len(word) > 2]
            assert all(word in found or word in asked.casefold() for word in words), (seed, line)
            seen += 1
    assert seen > 60


def test_what_changes_is_told_as_it_was_said_last() -> None:
    seen = 0
    for seed in range(600):
        scene = statements.draw(random.Random(seed), chars=900)
        said = str(scene.turns[0].said[0]["content"])
        asked = re.search(r"Where is ([A-Z]\w+ [A-Z]\w+)[^?]*\?$", said)
        if asked is None or scene.family != "statements":
            continue
        told = next(scene.turns[0].direct()).text
        lines = re.split(r"[.\n] ?", said[: asked.start()])
        last = [line for line in lines if asked[1] in line][-1]
        assert told.split("\n")[-1] in last
        seen += 1
    assert seen > 3


def test_words_of_the_ordinary_questions_are_not_among_them() -> None:
    lists = word_lists()
    kinds = ("doing", "resting", "qualities", "measures")
    words = {word.strip(":") for kind in kinds for entry in lists[kind] for word in entry.split()}
    held_out = {"keep", "live", "move", "go", "mend", "leave", "bear", "colour", "late", "because"}
    assert words.isdisjoint(held_out)
