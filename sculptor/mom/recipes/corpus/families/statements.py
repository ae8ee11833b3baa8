"""Sentences of any form that state something, and questions in ordinary words about one of them.

A text is nothing but such sentences, of one kind or of several, or some stand among filler. What is
stated may change: then the last sentence counts. The subject is searched for from the end, two
hits at a time: the question itself is the last of them where it stands behind the text.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from sculptor.mom.recipes.corpus.clauses import Clause, draw_clause
from sculptor.mom.recipes.corpus.families.statement_questions import Fact, ask_for, bare
from sculptor.mom.recipes.corpus.framing import ABSENT, frame
from sculptor.mom.recipes.corpus.moves import (
    QUESTION_CHARS,
    Ask,
    look_up,
    needs_tools,
    search_then_say,
)
from sculptor.mom.recipes.corpus.prose import essay
from sculptor.mom.recipes.corpus.scene import Scene, Turn, Wire, one_answer, say, user
from sculptor.mom.recipes.corpus.streams import skewed
from sculptor.mom.recipes.corpus.words import distinct, pick

CONTEXT_CHARS = 100
OPTIONS = {"max_results": 2, "context_size": CONTEXT_CHARS, "order": "last"}
"""How a subject is searched for."""

_ABSENT_SHARE = 0.12
_PLAIN_SHARE = 0.5
_AT_START_SHARE = 0.15
_GAPS = ("\n", "\n", "\n- ", "\n* ", "\n{n}. ", "\n\n", " ", " ", " ")


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with a text of about ``chars`` characters."""
    while True:
        scene = _draw(rng, chars)
        if scene is not None:
            return scene


def _draw(rng: random.Random, chars: int) -> Scene | None:
    text, facts = _planted(rng, chars) if rng.random() < 0.3 else _listed(rng, chars)
    if rng.random() < _ABSENT_SHARE:
        return _absent(rng, text, facts)
    last = {fact.subject: fact for fact in facts}
    asked = rng.sample(list(last.values()), min(len(last), rng.choice((1, 1, 1, 1, 2, 3))))
    asks, questions = [], []
    for fact in asked:
        question, ask = ask_for(rng, fact, facts)
        questions.append(question)
        asks.append(ask)
    question = rng.choice((" ", "\n")).join(questions)
    at_start = rng.random() < _AT_START_SHARE
    said = _put(rng, text, question, at_start=at_start)
    scene = _scene(said, asks, asked, foldable=not at_start)
    if scene is None or at_start or rng.random() < 0.7:
        return scene
    rest = [fact for fact in last.values() if fact not in asked]
    return _with_more(rng, scene, facts, rng.sample(rest, min(len(rest), rng.randint(1, 3))))


def _scene(
    said: list[Wire], asks: Sequence[Ask], asked: Sequence[Fact], *, foldable: bool
) -> Scene | None:
    """Return the scene, or None where a search would not bring what is asked for."""
    texts = [str(message["content"]) for message in said]
    chars = sum(map(len, texts))
    if not all(_reaches(texts, ask, fact) for ask, fact in zip(asks, asked, strict=True)):
        return None
    direct = "\n".join(ask.line for ask in asks)
    if not needs_tools(chars):
        return one_answer("statements", said, direct=direct)
    tools = look_up(asks, options=OPTIONS, folds=foldable)
    return one_answer("statements", said, direct=direct, tools=tools, foldable=foldable)


def _with_more(
    rng: random.Random, scene: Scene, facts: Sequence[Fact], more: Sequence[Fact]
) -> Scene:
    """Return the scene with more questions, each in a turn of its own."""
    texts = [str(message["content"]) for message in scene.turns[0].said]
    chars, turns = sum(map(len, texts)), list(scene.turns)
    for fact in more:
        question, ask = ask_for(rng, fact, facts)
        texts.append(question)
        if _reaches(texts, ask, fact):
            direct = say(ask.line)
            tools = look_up([ask], options=OPTIONS) if needs_tools(chars) else direct
            turns.append(Turn(said=(user(question),), direct=direct, tools=tools))
            texts.append(ask.line)
        else:
            texts.pop()
    return replace(scene, turns=tuple(turns))


def _reaches(texts: Sequence[str], ask: Ask, fact: Fact) -> bool:
    """Whether one of the query's last two occurrences shows the fact's last sentence."""
    sentence = fact.sentence.rstrip(".")
    hits = [
        (number, match.start())
        for number, text in enumerate(texts)
        for match in re.finditer(re.escape(ask.query), text)
    ]
    for number, at in hits[-2:]:
        begin = max(0, at - CONTEXT_CHARS)
        shown = texts[number][begin : at + len(ask.query) + CONTEXT_CHARS]
        spot = shown.casefold().find(sentence.casefold())
        if spot >= 0 and spot <= at - begin < spot + len(sentence):
            return True
    return False


def _absent(rng: random.Random, text: str, facts: Sequence[Fact]) -> Scene | None:
    """Ask of something what the text says of others."""
    like = rng.choice(facts)
    fact = replace(like, subject=like.clause.subject(rng), value="")
    core = bare(fact.subject)
    if core in text:
        return None
    hint, told = rng.choice(ABSENT)
    question = rng.choice(like.clause.questions).format(a=fact.subject) + hint.format(a=core)
    said = _put(rng, text, question, at_start=False)
    answer = told.format(a=core)
    if not needs_tools(len(text)):
        return one_answer("absent", said, direct=answer)
    tools = search_then_say([fact.query], answer, **OPTIONS)
    return one_answer("absent", said, direct=answer, tools=tools)


def _put(rng: random.Random, text: str, question: str, *, at_start: bool) -> list[Wire]:
    """Return the messages: text and question bare as people paste them, or in a frame."""
    if at_start or len(question) > QUESTION_CHARS or rng.random() > _PLAIN_SHARE:
        return frame(rng, text, question, at_start=at_start)
    return [user(f"{text}{rng.choice((chr(10), chr(10) * 2, chr(10) * 2))}{question}")]


def _listed(rng: random.Random, chars: int) -> tuple[str, list[Fact]]:
    """Draw a text of such sentences alone, of one kind or of up to four."""
    changes = rng.random() < 0.5
    clauses = [draw_clause(rng, changes=changes) for _ in range(rng.choice((1, 1, 1, 2, 4)))]
    size = max(2 * len(clauses), chars // 45)
    facts: list[Fact] = []
    for clause in clauses:
        share = size // len(clauses)
        subjects = distinct(
            rng, clause.subject, skewed(rng, 2, min(40, share)) if changes else share
        )
        order = subjects + rng.choices(subjects, k=share - len(subjects))
        facts += _facts(rng, clause, order)
    rng.shuffle(facts)
    if len(clauses) > 1 and rng.random() < 0.3:
        facts.sort(key=lambda fact: clauses.index(fact.clause))
    return _rows(rng, [fact.sentence for fact in facts]), facts


def _rows(rng: random.Random, sentences: Sequence[str]) -> str:
    """Return sentences one behind the other, or a line each, as lists are written."""
    gap = rng.choice(_GAPS)
    if gap == " ":
        return " ".join(sentences)
    style = _style(rng)
    rows = (
        f"{gap.replace('{n}', str(number))}{style(sentence)}"
        for number, sentence in enumerate(sentences, start=1)
    )
    return "".join(rows).lstrip("\n")


def _planted(rng: random.Random, chars: int) -> tuple[str, list[Fact]]:
    """Draw filler with a few such sentences in it, of one kind or of three."""
    changes = rng.random() < 0.3
    clauses = [draw_clause(rng, changes=changes) for _ in range(rng.choice((1, 1, 3)))]
    facts: list[Fact] = []
    for clause in clauses:
        subjects = distinct(rng, clause.subject, rng.choice((1, 2, 3, 4, 6)))
        order = subjects + rng.choices(subjects, k=rng.randint(1, 4) if changes else 0)
        facts += _facts(rng, clause, order)
    rng.shuffle(facts)
    paragraphs = essay(rng, chars=chars)
    places = sorted(rng.randrange(len(paragraphs)) for _ in facts)
    for at, fact in zip(places, facts, strict=True):
        lead = f" {pick(rng, 'leads')}" if rng.random() < 0.2 else ""
        sentence = fact.sentence
        if lead and fact.subject.startswith("the "):
            sentence = sentence[:1].lower() + sentence[1:]
        paragraphs[at] = f"{paragraphs[at]}{lead} {sentence}"
    return rng.choice(("\n\n", "\n", " ")).join(paragraphs), facts


def _facts(rng: random.Random, clause: Clause, subjects: Sequence[str]) -> list[Fact]:
    return [
        Fact(
            clause=clause, state=rng.choice(clause.states), subject=subject, value=clause.value(rng)
        )
        for subject in subjects
    ]


def _style(rng: random.Random) -> Callable[[str], str]:
    """Return how the sentences of a list are written: most often as they are."""
    drawn = rng.random()
    if drawn < 0.6:
        return str
    if drawn < 0.8:
        return lambda text: text.rstrip(".")
    return lambda text: text[:1].lower() + text[1:].rstrip(".")
