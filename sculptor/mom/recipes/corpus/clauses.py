"""Sentences that state something of a subject, and questions in ordinary words that they answer.

A clause is a frame of English filled with verbs, prepositions and kinds of thing drawn at random,
made-up ones among them: which words a sentence and its question share tells what is asked for, no
list of relations does. ``{a}`` is the subject, ``{b}`` what is said of it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sculptor.mom.recipes.corpus.nouns import (
    moment,
    person,
    pooled,
    quality,
    something,
    somewhere,
    subjects,
    thing,
)
from sculptor.mom.recipes.corpus.verbs import draw_verb, inflect
from sculptor.mom.recipes.corpus.words import Draw, code, kind, label, made_up, pick, plain_piece

Frame = Callable[[random.Random, bool], "Clause"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """Ways to state one thing, to ask for ``{b}``, plainly or within a sentence, and for ``{a}``.

    ``subject`` and ``value`` draw what is put in.
    """

    states: Sequence[str]
    questions: Sequence[str]
    indirect: Sequence[str]
    backward: Sequence[str] = ()
    subject: Draw
    value: Draw


def draw_clause(rng: random.Random, *, changes: bool) -> Clause:
    """Draw a clause; one that ``changes`` is stated again and again, and asked for as it is now."""
    frames = _CHANGING if changes else _FRAMES
    return rng.choice(frames)(rng, changes)


def _times(rng: random.Random, changes: bool) -> tuple[str, str]:
    """Return the words of time at the end of a statement and of a question; none, often."""
    if not changes:
        return "", ""
    said = f" {pick(rng, 'since')}" if rng.random() < 0.4 else ""
    return said, f" {pick(rng, 'now')}" if rng.random() < 0.8 else ""


def _put_somewhere(rng: random.Random, changes: bool) -> Clause:
    """*The pump is stored behind the mill.*"""
    verb, preposition = draw_verb(rng).participle, pick(rng, "prepositions")
    said, now = _times(rng, changes)
    be = rng.choice(("is", "is", "was", "gets", "has been"))
    ask = "was" if be == "was" else "is"
    states = [f"{{a}} {be} {verb} {preposition} {{b}}{said}."]
    questions = [
        f"Where {ask} {{a}} {verb}{now}?",
        f"Where {ask} {{a}} {verb}{now}?",
        f"What {ask} {{a}} {verb} {preposition}{now}?",
        f"{preposition.capitalize()} what {ask} {{a}} {verb}{now}?",
    ]
    indirect = [f"where {{a}} {ask} {verb}{now}"]
    backward = [f"What {ask} {verb} {preposition} {{b}}?"]
    if changes and rng.random() < 0.5:  # two verbs for it: the question names neither
        states.append(f"{{a}} {be} {draw_verb(rng).participle} {preposition} {{b}}{said}.")
        questions, indirect = [f"Where {ask} {{a}}{now}?"], [f"where {{a}} {ask}{now}"]
        backward = []
    return Clause(
        states=states,
        questions=questions,
        indirect=indirect,
        backward=backward,
        subject=subjects(rng, people=0.15),
        value=pooled(rng, somewhere),
    )


def _rest_somewhere(rng: random.Random, changes: bool) -> Clause:
    """*Edda Morn works at the quarry.*"""
    verb, preposition = draw_verb(rng, rests=True), pick(rng, "prepositions")
    said, now = _times(rng, changes)
    if changes:
        forms = (verb.third, verb.past, f"has {verb.participle}")
        told = [
            f"{{a}} {rng.choice(forms)} {pick(rng, 'prepositions')} {{b}}{said}.",
            f"{{a}} {verb.third} {preposition} {{b}}{said}.",
            f"{{a}} {draw_verb(rng, rests=True).past} {preposition} {{b}}{said}.",
        ][: rng.choice((1, 2, 3))]
        return Clause(
            states=told,
            questions=[f"Where is {{a}}{now}?", f"Where does {{a}} {verb.base}{now}?"],
            indirect=[f"where {{a}} is{now}", f"where {{a}} {verb.third}{now}"],
            subject=subjects(rng, people=0.8),
            value=pooled(rng, somewhere),
        )
    past = rng.random() < 0.5
    form, do = (verb.past, "did") if past else (verb.third, "does")
    return Clause(
        states=[f"{{a}} {form} {preposition} {{b}}."],
        questions=[
            f"Where {do} {{a}} {verb.base}?",
            f"What {do} {{a}} {verb.base} {preposition}?",
            f"{preposition.capitalize()} what {do} {{a}} {verb.base}?",
        ],
        indirect=[f"where {{a}} {form}", f"what {{a}} {form} {preposition}"],
        backward=[f"Who {form} {preposition} {{b}}?"],
        subject=subjects(rng, people=0.7),
        value=pooled(rng, somewhere),
    )


def _do_something(rng: random.Random, changes: bool) -> Clause:
    """*The foreman of Brill painted a lantern.*"""
    verb, (said, now) = draw_verb(rng), _times(rng, changes)
    past = not changes and rng.random() < 0.5
    form, do = (verb.past, "did") if past else (verb.third, "does")
    sort = kind(rng, "things")
    passive = not changes and rng.random() < 0.25
    be = "was" if past else "is"
    told = f"{{b}} {be} {verb.participle} by {{a}}." if passive else f"{{a}} {form} {{b}}{said}."
    return Clause(
        states=[told],
        questions=[
            f"What {do} {{a}} {verb.base}{now}?",
            f"Which {sort} {do} {{a}} {verb.base}{now}?",
        ],
        indirect=[f"what {{a}} {form}{now}", f"which {sort} {{a}} {form}{now}"],
        backward=()
        if changes
        else [f"Who {form} {{b}}?", f"By whom {be} {{b}} {verb.participle}?"],
        subject=subjects(rng, people=0.85),
        value=pooled(rng, rng.choice((something, thing, person))),
    )


def _be_like(rng: random.Random, changes: bool) -> Clause:
    """*The spare drum is crimson.*"""
    said, now = _times(rng, changes)
    sort, *known = pick(rng, "qualities").replace(":", "").split()
    values: Draw = pooled(rng, lambda rng: rng.choice(known))
    if rng.random() < 0.5:
        sort, values = kind(rng, "things", "states"), pooled(rng, quality)
    verb = rng.choice(("is", "is", "looks", "became", "turned", "stays", "seems", "got", "was"))
    told = [f"{{a}} {verb} {{b}}{said}."]
    if changes and rng.random() < 0.5:
        told.append(f"{{a}} has become {{b}}{said}.")
    be = "was" if verb == "was" and not changes else "is"
    return Clause(
        states=told,
        questions=[
            f"What {sort} {be} {{a}}{now}?",
            f"Which {sort} has {{a}}{now}?",
            f"What {be} {{a}} like{now}?",
        ],
        indirect=[f"what {sort} {{a}} {be}{now}", f"of what {sort} {{a}} {be}{now}"],
        subject=subjects(rng, people=0.2),
        value=values,
    )


def _have_of(rng: random.Random, changes: bool) -> Clause:
    """*The emblem of Tarn Cross is a heron.*"""
    said, now = _times(rng, changes)
    sort = kind(rng, "things", "states", "people")
    told = rng.choice(
        (
            f"the {sort} of {{a}} is {{b}}{said}.",
            f"{{a}} has {{b}} as {sort}{said}.",
            f"{{a}} chose {{b}} as its {sort}{said}.",
            f"{{b}} is the {sort} of {{a}}{said}.",
            f"{{a}}'s {sort} is {{b}}{said}.",
        )
    )
    return Clause(
        states=[told],
        questions=[
            f"What is the {sort} of {{a}}{now}?",
            f"What is {{a}}'s {sort}{now}?",
            f"Which {sort} does {{a}} have{now}?",
        ],
        indirect=[f"what the {sort} of {{a}} is{now}", f"which {sort} {{a}} has{now}"],
        subject=subjects(rng, people=0.4),
        value=pooled(rng, rng.choice((something, person, label, made_up, code))),
    )


def _count(rng: random.Random, changes: bool) -> Clause:
    """*There are 14 jars behind the kiln.*"""
    said, now = _times(rng, changes)
    noun = f"{rng.choice((plain_piece(rng), made_up(rng), pick(rng, 'things')))}s"
    if rng.random() < 0.4:
        preposition = pick(rng, "prepositions")
        told = f"there are {{b}} {noun} {preposition} {{a}}{said}."
        asked = f"How many {noun} are there {preposition} {{a}}{now}?"
        within = f"how many {noun} there are {preposition} {{a}}{now}"
    else:
        verb = draw_verb(rng) if rng.random() < 0.6 else None
        third, base = (verb.third, verb.base) if verb else ("has", "have")
        told = f"{{a}} {third} {{b}} {noun}{said}."
        asked = f"How many {noun} does {{a}} {base}{now}?"
        within = f"how many {noun} {{a}} {third}{now}"
    return Clause(
        states=[told],
        questions=[asked],
        indirect=[within],
        subject=subjects(rng, people=0.4),
        value=lambda rng: str(rng.randint(2, 10 ** rng.randint(1, 4))),
    )


def _measure(rng: random.Random, changes: bool) -> Clause:
    """*The ferry to Morl takes 40 minutes.*"""
    said, now = _times(rng, changes)
    base, how, units = (part.strip() for part in pick(rng, "measures").split(":"))
    verb, unit = inflect(base), rng.choice(units.split())
    return Clause(
        states=[f"{{a}} {verb.third} {{b}}{said}."],
        questions=[
            f"{how.capitalize()} does {{a}} {base}{now}?",
            f"How many {unit} does {{a}} {base}{now}?",
        ],
        indirect=[f"{how} {{a}} {verb.third}{now}"],
        subject=subjects(rng, people=0.1),
        value=lambda rng: f"{rng.randint(2, 10 ** rng.randint(1, 4))} {unit}",
    )


def _happen(rng: random.Random, changes: bool) -> Clause:
    """*The bridge at Solm was built in 1731.*"""
    del changes
    verb = draw_verb(rng)
    if rng.random() < 0.5:
        told, asked = f"{{a}} was {verb.participle} {{b}}.", f"When was {{a}} {verb.participle}?"
        within = f"when {{a}} was {verb.participle}"
    else:
        rest, past = draw_verb(rng, rests=True), rng.random() < 0.5
        form, do = (rest.past, "did") if past else (rest.third, "does")
        told, asked = f"{{a}} {form} {{b}}.", f"When {do} {{a}} {rest.base}?"
        within = f"when {{a}} {form}"
    return Clause(
        states=[told],
        questions=[asked],
        indirect=[within],
        subject=subjects(rng, people=0.35),
        value=moment,
    )


def _give(rng: random.Random, changes: bool) -> Clause:
    """*The council lent the saw to Irma Toll.*"""
    del changes
    verb, giver = draw_verb(rng), person(rng)
    preposition = rng.choice(("to", "for", "to", pick(rng, "prepositions")))
    told = rng.choice(
        (
            f"{giver} {verb.past} {{b}} {preposition} {{a}}.",
            f"{{b}} was {verb.participle} {preposition} {{a}}.",
        )
    )
    asked = f"What did {giver} {verb.base} {preposition} {{a}}?"
    if told.startswith("{b}"):
        asked = f"What was {verb.participle} {preposition} {{a}}?"
    return Clause(
        states=[told],
        questions=[asked],
        indirect=[f"what was {verb.participle} {preposition} {{a}}"],
        backward=[f"{preposition.capitalize()} whom was {{b}} {verb.participle}?"],
        subject=subjects(rng, people=0.8),
        value=something,
    )


_CHANGING: Sequence[Frame] = (
    *(_put_somewhere, _rest_somewhere, _rest_somewhere, _do_something),
    *(_be_like, _be_like, _have_of, _count, _measure),
)
_FRAMES: Sequence[Frame] = (*_CHANGING, _do_something, _happen, _happen, _give)
