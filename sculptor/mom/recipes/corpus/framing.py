"""How a text and a question about it are put, and what is said of what is not in the text."""

import random

from sculptor.mom.recipes.corpus.instructions import notes, roles
from sculptor.mom.recipes.corpus.scene import Wire, user

_FRAMES = (
    ("Read this first.\n\n", "\n\nNow a question. "),
    ("<text>\n", "\n</text>\n\nGoing by the text: "),
    ("Here is a long piece of writing; I want one thing from it.\n---\n", "\n---\n"),
    ("", "\n\n"),
    ("Notes, in no order:\n\n", "\n\nFrom the notes: "),
    ("[begin]\n", "\n[end]\n"),
    ("What somebody typed up:\n", "\nWhat I want to know: "),
    ("Long reading ahead. ", "\n\nQ: "),
)
ABSENT = (
    ("", "{a} is not in the text."),
    ("", "{a} is not in the text."),
    (" If that is not told, say so.", "The text says nothing about {a}."),
    (" Say 'That is not in the text.' if it is not.", "That is not in the text."),
    (" Or write: nothing about {a}", "nothing about {a}"),
)
"""A hint with the question, and what is told where nothing is found; one decides the other."""


def frame(rng: random.Random, text: str, question: str, *, at_start: bool) -> list[Wire]:
    """Return the client's messages: the text, and the question before or after it."""
    if at_start:
        return [user(f"{question}\n\nThe text:\n\n{text}")]
    before, after = rng.choice(_FRAMES)
    before = f"{lead}\n{before}" if (lead := roles(rng)) else before
    if rng.random() < 0.3:
        question = f"{question} {notes(rng)}".rstrip()
    if rng.random() < 0.2:
        return [user(f"{before}{text}"), {"role": "assistant", "content": "Read."}, user(question)]
    return [user(f"{before}{text}{after}{question}")]
