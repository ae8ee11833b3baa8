"""Facts planted in filler: one to eight of them asked for, among others of the same kind.

The subject of a fact stands nowhere else before the question, so its first occurrence is the fact;
where the question stands first it is the last one.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from sculptor.mom.recipes.corpus.framing import ABSENT, frame
from sculptor.mom.recipes.corpus.moves import (
    QUESTION_CHARS,
    Ask,
    look_up,
    needs_tools,
    search_then_say,
)
from sculptor.mom.recipes.corpus.prose import essay
from sculptor.mom.recipes.corpus.scene import Scene, Wire, one_answer
from sculptor.mom.recipes.corpus.words import (
    SAYING,
    Draw,
    code,
    compound_name,
    distinct,
    grouped_hexadecimal,
    kind,
    label,
    made_up,
    name,
    pair_of_words,
    phrase,
    place,
)

CONTEXT_CHARS = 100

_KINDS = (
    ("The vault of {a} opens to the words {b}.", "To which words does the vault of {a} open?"),
    ("For {a} the delivery number is {b}.", "What is the delivery number for {a}?"),
    ("It is agreed that {a} will be painted {b}.", "How will {a} be painted?"),
    ("Whoever asks for {a} is sent to room {b}.", "To which room is one sent who asks for {a}?"),
    ("The bell in {a} was cast with the mark {b}.", "With which mark was the bell in {a} cast?"),
    ("{a} keeps its spare keys under {b}.", "Under what does {a} keep its spare keys?"),
    ("The pass for {a} carries {b} this season.", "What does the pass for {a} carry?"),
    ("On the sign of {a} one reads {b}.", "What does one read on the sign of {a}?"),
    ("The last train to {a} departs from {b}.", "From where does the last train to {a} depart?"),
    ("{a} answers to the call sign {b}.", "To which call sign does {a} answer?"),
    ("The recipe of {a} calls for {b} and nothing else.", "What does the recipe of {a} call for?"),
    ("The secret number that goes with {a} is {b}.", "Which secret number goes with {a}?"),
)  # fmt: skip
_COMPOSED = (
    ("The {k} of {a} is {b}.", "What is the {k} of {a}?"),
    ("The {k} for {a} reads {b}.", "What does the {k} for {a} read?"),
    ("{a} has {b} for its {k}.", "What has {a} for its {k}?"),
    ("As {k}, {a} was given {b}.", "What was {a} given as {k}?"),
    ("{b} is the {k} that belongs to {a}.", "Which {k} belongs to {a}?"),
    ("Ask for {b} where the {k} of {a} is wanted.", "For what does one ask as the {k} of {a}?"),
    ("On the {k} of {a} somebody wrote {b}.", "What did somebody write on the {k} of {a}?"),
    ("Among other things, {a} goes with the {k} {b}.", "With which {k} does {a} go?"),
    ("Set the {k} of {a} to {b}, the letter says.", "To what is the {k} of {a} to be set?"),
    ("{a}, {k}: {b}.", "{a}: which {k}?"),
)
"""Sentences and questions with a place for what kind of thing ``{k}`` is told."""

_ENDINGS = (
    "Answer in the form '{}'",
    "Please put it as: {}",
    'Fill in: "{}"',
    "Say it in these words: {}",
    "I want to read: {}",
    "Put this in your reply: '{}'",
    "Give me this sentence, complete: {}",
    "Your line: {}",
)
_SUBJECTS: Sequence[Draw] = (
    *(place, name, phrase, pair_of_words, compound_name, compound_name),
    *(grouped_hexadecimal, code, label, made_up),
)
_AFTER = (
    "that this {k} speaks of",
    "that one {v} here",
    "which the {k} above {v}",
    "as told in these lines",
    "of all {k}",
    "in the {k}",
    "that they {v}",
    "that the {k} {v} about",
)


class _Fact(NamedTuple):
    """One planted sentence, its question, and the sentence with a gap that answers it."""

    subject: str
    value: str
    text: str
    question: str
    form: str

    def line(self, *, full: bool) -> str:
        """Return the answer: the whole sentence where a form is asked for, else the value."""
        return self.text if full else self.value


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with a text of about ``chars`` characters."""
    while True:
        scene = _draw(rng, chars)
        if scene is not None:
            return scene


def _draw(rng: random.Random, chars: int) -> Scene | None:
    planted = _facts(rng, rng.choice((2, 3, 4, 6, 8, 12)))
    text = _plant(rng, essay(rng, chars=chars), [fact.text for fact in planted])
    if rng.random() < 0.12:
        return _absent(rng, text)
    asked = rng.sample(planted, min(len(planted), rng.choice((1, 1, 1, 2, 3, 4, 6, 8))))
    full = rng.random() < 0.6
    ending = rng.choice(_ENDINGS)
    questions = [
        f"{fact.question} {ending.format(fact.form)}" if full else fact.question for fact in asked
    ]
    if sum(map(len, questions)) > QUESTION_CHARS:
        return None
    at_start = rng.random() < 0.15
    said = frame(rng, text, " ".join(questions), at_start=at_start)
    asks = [Ask(query=fact.subject, line=fact.line(full=full)) for fact in asked]
    return _scene(said, asks, planted, at_start=at_start)


def _scene(
    said: list[Wire], asks: Sequence[Ask], planted: Sequence[_Fact], *, at_start: bool
) -> Scene | None:
    texts = [str(message["content"]) for message in said]
    whole = "\n".join(texts)
    known = {fact.subject: fact.text for fact in planted}
    for ask in asks:
        at = whole.rfind(ask.query) if at_start else whole.find(ask.query)
        fact = known[ask.query]
        if whole[at - fact.index(ask.query) :][: len(fact)] != fact:
            return None
    chars = len(whole)
    direct = "\n".join(ask.line for ask in asks)
    if not needs_tools(chars):
        return one_answer("needles", said, direct=direct)
    options: dict[str, object] = {"max_results": 1, "context_size": CONTEXT_CHARS}
    if at_start:
        options["order"] = "last"
    tools = look_up(asks, options=options, folds=not at_start)
    return one_answer("needles", said, direct=direct, tools=tools, foldable=not at_start)


def _absent(rng: random.Random, text: str) -> Scene | None:
    (fact,) = _facts(rng, 1)
    hint, told = rng.choice(ABSENT)
    question = fact.question + hint.format(a=fact.subject)
    said = frame(rng, text, question, at_start=False)
    if fact.subject in text:
        return None
    chars = len(text)
    answer = told.format(a=fact.subject)
    if not needs_tools(chars):
        return one_answer("absent", said, direct=answer)
    options = {"max_results": 1, "context_size": CONTEXT_CHARS}
    tools = search_then_say([fact.subject], answer, **options)
    return one_answer("absent", said, direct=answer, tools=tools)


def _facts(rng: random.Random, count: int) -> list[_Fact]:
    naming = rng.choice(_SUBJECTS)
    kinds = _kinds(rng, rng.choice((1, 1, 3)))
    facts = []
    for subject in distinct(rng, naming, count):
        sentence, question = rng.choice(kinds)
        value = rng.choice(SAYING)(rng)
        text = sentence.format(a=subject, b=value)
        facts.append(
            _Fact(
                subject=subject,
                value=value,
                text=text[:1].upper() + text[1:] if text.startswith("The") else text,
                question=_put(rng, question, subject),
                form=sentence.format(a=subject, b=rng.choice(("____", "...", "[what]"))),
            )
        )
    return facts


def _put(rng: random.Random, question: str, subject: str) -> str:
    """Return a question with its subject in, words after it now and then that tell nothing."""
    if rng.random() < 0.3:
        subject = f"{subject} {rng.choice(_AFTER).format(v=made_up(rng), k=kind(rng, 'things'))}"
    return question.format(a=subject)


def _kinds(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Draw sentences with their questions, known ones or such about a kind of thing."""
    if rng.random() < 0.3:
        return rng.sample(_KINDS, count)
    drawn = []
    for sentence, question in rng.sample(_COMPOSED, count):
        told = phrase(rng) if rng.random() < 0.5 else kind(rng, "states", "things")
        drawn.append((sentence.replace("{k}", told), question.replace("{k}", told)))
    return drawn


def _plant(rng: random.Random, paragraphs: list[str], facts: Sequence[str]) -> str:
    """Put each fact at the end of a paragraph of its own choice."""
    for fact in facts:
        at = rng.randrange(len(paragraphs))
        paragraphs[at] = f"{paragraphs[at]} {fact}"
    return rng.choice(("\n\n", "\n")).join(paragraphs)
