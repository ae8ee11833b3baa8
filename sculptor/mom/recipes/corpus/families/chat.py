"""Short talk and small exercises on what was just said: no tool is called.

Greetings, what the model is, repeating and reversing words, sorting, picking, JSON of what was
given, and facts set and asked for over a few turns.
"""

import random
from collections.abc import Callable, Sequence

import orjson

from sculptor.mom.recipes.corpus.scene import Scene, Turn, say, system, user
from sculptor.mom.recipes.corpus.wording import draw_wording
from sculptor.mom.recipes.corpus.words import NAMING, SAYING, distinct, kind, made_up

_TALK = (
    (("Hello!", "Hi.", "Good morning.", "Hey there"), ("Hello. What shall I look up?",)),
    (
        ("Who are you?", "What are you?", "Tell me about yourself."),
        ("I am a small language model that works its own context: I cut, hide and search text.",),
    ),
    (("What can you do?", "What are you good for?"), (
        "I keep track of values that change and find things in long texts. I am no good at much "
        "else.",)),
    (("Thanks.", "Thank you!", "Great, thanks"), ("You are welcome.",)),
    (("Bye.", "That was all."), ("Goodbye.",)),
    (
        ("Write me a poem.", "Explain how an engine works.", "What do you think of the news?"),
        ("That is beyond me. Give me a text, and ask me about it.",),
    ),
)  # fmt: skip


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw one to four turns of talk or exercises, words in all within ``chars``."""
    exercise = rng.choice(_EXERCISES)
    count = max(2, min(60, chars // 40))
    turns = [exercise(rng, rng.randint(2, count)) for _ in range(rng.randint(1, 2))]
    for _ in range(rng.randint(0, 2)):
        turns.insert(rng.randint(0, len(turns)), _talk(rng))
    if rng.random() < 0.3:
        first = turns[0]
        note = rng.choice(("Be brief.", "You are helpful.", "Answer plainly and stop."))
        turns[0] = Turn(said=(system(note), *first.said), direct=first.direct, tools=first.tools)
    return Scene(family="chat", turns=tuple(turns))


def _turn(text: str, answer: str) -> Turn:
    return Turn(said=(user(text),), direct=say(answer), tools=say(answer))


def _talk(rng: random.Random) -> Turn:
    asked, answers = rng.choice(_TALK)
    return _turn(rng.choice(asked), rng.choice(answers))


def _repeat(rng: random.Random, count: int) -> Turn:
    words = [rng.choice(SAYING)(rng) for _ in range(count)]
    listed = ", ".join(words)
    return _turn(f"{rng.choice(('Repeat', 'Say after me', 'Copy'))}: {listed}", listed)


def _reverse(rng: random.Random, count: int) -> Turn:
    words = distinct(rng, made_up, min(count, 20))
    text = f"Say these words from the last to the first: {' '.join(words)}"
    return _turn(text, " ".join(reversed(words)))


def _pick(rng: random.Random, count: int) -> Turn:
    words = distinct(rng, rng.choice(NAMING), min(count, 12))
    at = rng.randrange(len(words))
    which = ("first", "second", "third", "fourth", "fifth", "sixth")
    if rng.random() < 0.5 and at < len(which):
        return _turn(f"{', '.join(words)}. Which is the {which[at]}?", words[at])
    if at + 1 < len(words):
        return _turn(f"{', '.join(words)}. What comes after {words[at]}?", words[at + 1])
    return _turn(f"{', '.join(words)}. How many are these?", str(len(words)))


def _facts(rng: random.Random, count: int) -> Turn:
    items = distinct(rng, rng.choice(NAMING), min(count, 40))
    values = {item: rng.choice(SAYING)(rng) for item in items}
    stated = draw_wording(rng)
    text = "\n".join(stated.fill(item, value) for item, value in values.items())
    asked = rng.sample(items, rng.randint(1, min(len(items), 12)))
    wording = draw_wording(rng)
    question = f"{text}\n\nWhich {kind(rng, 'states')} have {', '.join(asked)}? {wording.demand}"
    return _turn(question, "\n".join(wording.fill(item, values[item]) for item in asked))


def _json(rng: random.Random, count: int) -> Turn:
    items = distinct(rng, made_up, min(count, 8))
    values = {item: rng.choice(SAYING)(rng) for item in items}
    given = ", ".join(f"{item} is {value}" for item, value in values.items())
    return _turn(f"Write this as a JSON object: {given}.", orjson.dumps(values).decode())


_Exercise = Callable[[random.Random, int], Turn]
_EXERCISES: Sequence[_Exercise] = (_repeat, _repeat, _reverse, _pick, _facts, _facts, _facts, _json)
