"""Request bodies: conversations that go on, as clients send them, and no two of them alike.

A conversation is asked about several times, each request two messages longer than the one before;
so a proxy sees new conversations and known ones in the proportion in which they come.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

ANSWER = "Understood. The note is kept."
FOLD_REQUEST = "[[fold now]]"
_WORDS = (
    "the",
    "river",
    "station",
    "north",
    "value",
    "record",
    "item",
    "report",
    "system",
    "window",
    "green",
    "measure",
    "light",
    "paper",
    "garden",
    "answer",
    "engine",
    "letter",
    "market",
    "number",
    "winter",
    "bridge",
    "signal",
    "harbour",
    "copper",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A shape of conversation: ``first`` messages of ``chars`` each, then ``turns`` requests."""

    name: str
    first: int
    chars: int
    turns: int
    headers: tuple[tuple[str, str], ...] = ()


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="1 KB", first=1, chars=900, turns=1),
        Kind(name="8 KB", first=15, chars=380, turns=5),
        Kind(name="400 KB", first=35, chars=10_000, turns=5, headers=(("x-sculptor", "off"),)),
        Kind(name="managed", first=49, chars=8_000, turns=1_000_000),
    )
}


def filler(chars: int, seed: int) -> str:
    """Return prose of about so many characters, the same for the same seed."""
    draw = random.Random(seed)
    lines: list[str] = []
    size = 0
    while size < chars:
        line = " ".join(draw.choices(_WORDS, k=11)) + f" {draw.randrange(10_000)}."
        lines.append(line)
        size += len(line) + 1
    return "\n".join(lines)[:chars]


def bodies(kind: Kind, *, tag: str, stream: bool) -> Iterator[bytes]:
    """Yield request bodies without end; ``tag`` tells this client's conversations from others'."""
    texts = [filler(kind.chars, seed) for seed in range(kind.first)]
    folds = kind.name == "managed"
    number = 0
    while True:
        number += 1
        name = f"{tag}-{number}"
        messages = [
            {"role": "assistant" if i % 2 else "user", "content": f"Note {name}-{i}. {text}"}
            for i, text in enumerate(texts)
        ]
        for turn in range(kind.turns):
            if turn or folds:
                question = FOLD_REQUEST if folds and not turn else "Go on."
                if turn or len(messages) % 2:
                    messages.append({"role": "assistant", "content": ANSWER})
                text = f"{question} {name} {turn} {filler(min(kind.chars, 400), turn)}"
                messages.append({"role": "user", "content": text})
            yield orjson.dumps({"model": "gpt-4o", "stream": stream, "messages": messages})
