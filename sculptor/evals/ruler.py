"""RULER-style tasks: variable tracking, magic numbers among lookalikes, frequent words.

The shapes, counts and scorer are RULER's (arXiv 2404.06654): an answer is a list of strings, and
the score is the share of them that occurs in the reply, ignoring case. Text and wording are our
own, so figures are reported under our names. Lengths are in cl100k tokens of the whole prompt.
"""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields, sample_id
from sculptor.evals.files import DataFiles
from sculptor.evals.filler import FillerPool
from sculptor.evals.mrcr import mean_by
from sculptor.evals.types import (
    Json,
    Object,
    Sample,
    Score,
    check_scorer,
    derive_seed,
    user_message,
)

LENGTHS = (4096, 8192, 16384, 32768, 65536, 131072)
_NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
_RESERVE_TOKENS = 256
_ADJECTIVES = (
    "quiet broad amber narrow gentle sudden frozen hollow bright velvet rusty nimble patient "
    "crooked silver distant humble golden tender restless ancient wooden humid marble"
)
_NOUNS = (
    "harbor lantern meadow turbine violin kernel canyon ribbon anchor basket saddle thicket "
    "pepper glacier teacup compass banner orchard pebble window ladder falcon copper bridge"
)


_SUMMARIES = {
    "vt": "ours, after RULER: follow a chain of variable assignments",
    "niah-multikey-1": "ours, after RULER: one of 4 keys in essays",
    "niah-multikey-2": "ours, after RULER: one key in a text of nothing but keys",
    "niah-multikey-3": "ours, after RULER: the same with uuids as keys and values",
    "niah-multivalue": "ours, after RULER: all 4 values of one key",
    "niah-multiquery": "ours, after RULER: the values of 4 keys",
    "fwe": "ours, after RULER: the 3 most frequent coded words",
}
KINDS = tuple(_SUMMARIES)


class _Content(NamedTuple):
    """What is hidden, line by line, with the question and the strings that answer it."""

    lines: list[str]
    question: str
    answers: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """One RULER-style task over several lengths."""

    kind: str
    samples: int = 20
    lengths: tuple[int, ...] = LENGTHS
    files: DataFiles = field(default_factory=DataFiles)
    scorers: Sequence[str] = ("original",)

    @property
    def name(self) -> str:
        """Return ``ruler-own-`` and the kind."""
        return f"ruler-own-{self.kind}"

    @property
    def summary(self) -> str:
        """Return one line for a list."""
        return _SUMMARIES[self.kind]

    def __len__(self) -> int:
        return len(self.lengths) * self.samples

    def draw(self, index: int, *, seed: int = 0) -> Object:
        """Draw what the prompt is made from."""
        return {
            "task": self.name,
            "kind": self.kind,
            "length": self.lengths[index % len(self.lengths)],
            "content_seed": derive_seed(self.name, seed, index),
            "seed": seed,
            "index": index,
        }

    def sample(self, draw: Object) -> Sample:
        """Build the prompt of a draw: as much filler as fits the length around what is hidden."""
        fields = Fields(draw)
        kind, length = (
            fields.text("kind", default=self.kind),
            fields.number("length", least=512, most=10_000_000),
        )
        if kind not in KINDS:
            raise EvalError(f"Unknown kind {kind!r}; known: {', '.join(KINDS)}.")
        text, answers = _build(kind, length, fields.number("content_seed", "seed"))
        return Sample(
            id=sample_id(fields, self.name, text),
            draw=draw,
            messages=(user_message(text),),
            reference=answers,
            params={"kind": kind, "length": length},
        )

    def score(
        self,
        reply: str,
        reference: Json,
        *,
        scorer: str | None = None,
        params: Object | None = None,
    ) -> Score:
        """Score the share of expected strings the reply holds, ignoring case, from 0 to 1."""
        check_scorer(scorer, self.scorers)
        expected = [reference] if isinstance(reference, str) else reference
        if not isinstance(expected, Sequence) or not expected:
            raise EvalError("A RULER reference is a list of strings.")
        found = [item for item in expected if str(item).lower() in reply.lower()]
        return Score(value=len(found) / len(expected), detail={"found": found})

    def metrics(self, rows: Sequence[tuple[Object, float | None]]) -> Mapping[str, float]:
        """Return the mean, overall and by length."""
        return mean_by(rows, "length")


def ruler_tasks(files: DataFiles) -> list[Ruler]:
    """Return every RULER-style task."""
    return [Ruler(kind=kind, files=files) for kind in KINDS]


def _build(kind: str, length: int, seed: int) -> tuple[str, list[str]]:
    rng = random.Random(seed)
    room = length - _RESERVE_TOKENS
    if kind == "fwe":
        return _frequent_words(rng, room)
    if kind == "vt":
        content, lines = _chain(rng), _noise_lines(room)
    elif kind in ("niah-multikey-2", "niah-multikey-3"):
        return _only_needles(rng, room, ids=kind.endswith("3"))
    else:
        content, lines = _numbers(rng, kind), _essay_lines(rng, room)
    kept = lines[: max(len(lines) - len(content.lines), 1)]
    places = sorted(rng.randint(0, len(kept)) for _ in content.lines)
    for place, line in reversed(list(zip(places, content.lines, strict=True))):
        kept.insert(place, line)
    return _wrap("\n".join(kept), content.question), content.answers


def _wrap(text: str, question: str) -> str:
    return f"Read the text below and keep track of what it says.\n\n{text}\n\n{question}"


def _chain(rng: random.Random) -> _Content:
    names: list[str] = []
    while len(names) < 5:
        name = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=5))
        names += [name] if name not in names else []
    value = str(rng.randint(10000, 99999))
    links = [f"VAR {after} = VAR {before}" for before, after in pairwise(names)]
    question = (
        f"Question: find every variable that is assigned the value {value} in the text above, "
        "directly or through other variables. List their names."
    )
    return _Content([f"VAR {names[0]} = {value}", *links], question, names)


def _numbers(rng: random.Random, kind: str) -> _Content:
    keys = _keys(rng, 1 if kind == "niah-multivalue" else 4)
    pairs = [(key, _digits(rng)) for key in keys for _ in range(4 if len(keys) == 1 else 1)]
    asked = keys if kind == "niah-multiquery" else keys[:1]
    answers = [value for key, value in pairs if key in asked]
    return _Content([_needle(*pair) for pair in pairs], _ask(asked), answers)


def _only_needles(rng: random.Random, room: int, *, ids: bool) -> tuple[str, list[str]]:
    pairs: list[tuple[str, str]] = []
    used: set[str] = set()
    tokens = 0
    while tokens < room:
        key = _uuid(rng) if ids else f"{_keys(rng, 1)[0]}-{rng.randrange(1000):03d}"
        if key in used:
            continue
        used.add(key)
        pairs.append((key, _uuid(rng) if ids else _digits(rng)))
        tokens += _count(_needle(*pairs[-1]) + "\n")
    pairs = pairs[:-1]
    key, value = rng.choice(pairs)
    return _wrap("\n".join(_needle(*pair) for pair in pairs), _ask([key])), [value]


def _frequent_words(rng: random.Random, room: int) -> tuple[str, list[str]]:
    """Return coded text whose word counts follow a zeta law; the most frequent rank is noise."""
    size = max(room // 50, 10)
    words: list[str] = []
    while len(words) < size:
        word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6))
        words += [word] if word not in words else []
    counts = [max(1, int(room / 4.5 / rank**2)) for rank in range(2, size + 1)]
    stream = ["..."] * int(room / 4.5)
    for word, count in zip(words, counts, strict=False):
        stream += [word] * count
    rng.shuffle(stream)
    question = (
        "Question: the text above is coded. Leave out the dots. Which three coded words appear "
        "most often?"
    )
    return _wrap(" ".join(stream), question), words[:3]


def _needle(key: str, value: str) -> str:
    sort = "uuids" if len(value) == 36 else "numbers"
    return f"One of the special magic {sort} for {key} is: {value}."


def _ask(keys: Sequence[str]) -> str:
    return (
        f"Question: what are all the special magic values for {', '.join(keys)} that the text "
        "above mentions?"
    )


def _keys(rng: random.Random, count: int) -> list[str]:
    every = [f"{adjective}-{noun}" for adjective in _ADJECTIVES.split() for noun in _NOUNS.split()]
    return rng.sample(every, count)


def _digits(rng: random.Random) -> str:
    return str(rng.randint(1000000, 9999999))


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _noise_lines(room: int) -> list[str]:
    return [_NOISE] * (room // _count(_NOISE + "\n"))


def _essay_lines(rng: random.Random, room: int) -> list[str]:
    pool = FillerPool(language="en", count=2**20)
    lines: list[str] = []
    tokens = 0
    while tokens < room:
        for line in pool.text(rng.randrange(len(pool))).split("\n\n"):
            if line:
                lines.append(line)
                tokens += _count(line + "\n")
    while tokens > room:
        tokens -= _count(lines.pop() + "\n")
    return lines


def _count(text: str) -> int:
    from sculptor.tokens import encoding

    return len(encoding("cl100k_base").encode_ordinary(text))
