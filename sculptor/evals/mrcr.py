"""A multi-round coreference task after OpenAI's MRCR: find the i-th of several equal requests.

It is an own variant, never the original set: the conversation is written from the filler grammar.
Among near-miss requests, 2, 4 or 8 are word for word the same; the last turn asks for one of their
answers, behind a random prefix. Scored as MRCR: nothing without the prefix, else the ratio of
difflib's SequenceMatcher.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields, sample_id
from sculptor.evals.files import DataFiles
from sculptor.evals.filler import FillerPool
from sculptor.evals.types import (
    Json,
    Message,
    Object,
    Sample,
    Score,
    check_scorer,
    derive_seed,
)

FORMS = ("letter", "riddle", "news item", "diary entry", "speech", "review", "recipe", "notice")
TOPICS = (
    "lighthouses",
    "winter markets",
    "paper boats",
    "old bicycles",
    "mountain huts",
    "night trains",
    "rain gauges",
    "chess clubs",
    "stray kites",
    "copper roofs",
)
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"
_CHARS_PER_TURN = 700


@dataclass(frozen=True, slots=True, kw_only=True)
class Mrcr:
    """The MRCR-style task; a cell is (needles, turns)."""

    name: str = "mrcr-own"
    summary: str = "ours, after MRCR: return the i-th of 2, 4 or 8 answers to equal requests"
    cells: tuple[tuple[int, int], ...] = tuple(
        (needles, turns) for turns in (20, 60, 200, 600) for needles in (2, 4, 8)
    )
    sessions: int = 20
    files: DataFiles = field(default_factory=DataFiles)
    scorers: Sequence[str] = ("original", "corrected")

    def __len__(self) -> int:
        return len(self.cells) * self.sessions

    def draw(self, index: int, *, seed: int = 0) -> Object:
        """Draw forms, topics, prefix and which of the equal requests is wanted."""
        needles, turns = self.cells[index % len(self.cells)]
        rng = random.Random(derive_seed(self.name, seed, index))
        wanted = (rng.choice(FORMS), rng.choice(TOPICS))
        others = [(form, topic) for form in FORMS for topic in TOPICS if (form, topic) != wanted]
        requests = [rng.choice(others) for _ in range(turns - needles)]
        for place in sorted(rng.sample(range(turns), needles)):
            requests.insert(place, wanted)
        return {
            "task": self.name,
            "seed": seed,
            "index": index,
            "requests": [list(request) for request in requests],
            "wanted": rng.randint(1, needles),
            "form": wanted[0],
            "topic": wanted[1],
            "prefix": "".join(rng.choice(_LETTERS) for _ in range(10)),
            "text_seed": rng.randrange(2**32),
        }

    def sample(self, draw: Object) -> Sample:
        """Build the conversation of a draw."""
        fields = Fields(draw)
        form, topic, number = fields.text("form"), fields.text("topic"), fields.number("wanted")
        prefix = fields.text("prefix", "random_string_to_prepend")
        requests = _read_requests(fields)
        answers = _answers(requests, fields.number("text_seed", default=0))
        matching = [
            text
            for request, text in zip(requests, answers, strict=True)
            if request == (form, topic)
        ]
        if not 1 <= number <= len(matching):
            raise EvalError(f"wanted must lie between 1 and {len(matching)}, the equal requests.")
        messages: list[Message] = []
        for (kind, about), text in zip(requests, answers, strict=True):
            messages.append({"role": "user", "content": f"Write a {kind} about {about}."})
            messages.append({"role": "assistant", "content": text})
        messages.append({"role": "user", "content": _question(prefix, number, form, topic)})
        return Sample(
            id=sample_id(fields, self.name, str(messages)),
            draw=draw,
            messages=messages,
            reference={"prefix": prefix, "answer": prefix + matching[number - 1]},
            params={"n_needles": len(matching), "n_turns": len(requests)},
        )

    def score(
        self,
        reply: str,
        reference: Json,
        *,
        scorer: str | None = None,
        params: Object | None = None,
    ) -> Score:
        """Score a reply from 0 to 1; ``corrected`` forgives blanks around the reply."""
        chosen = check_scorer(scorer, self.scorers)
        fields = Fields(reference if isinstance(reference, Mapping) else {}, what="reference")
        prefix = fields.text("prefix", "random_string_to_prepend")
        answer = fields.text("answer")
        if chosen == "corrected":
            reply, answer = reply.strip(), answer.strip()
        if not reply.startswith(prefix):
            return Score(value=0.0, detail={"prefix": False})
        texts = reply.removeprefix(prefix), answer.removeprefix(prefix)
        return Score(value=float(SequenceMatcher(None, *texts).ratio()), detail={"prefix": True})

    def metrics(self, rows: Sequence[tuple[Object, float | None]]) -> Mapping[str, float]:
        """Return the mean, overall and by number of needles."""
        return mean_by(rows, "n_needles")


def mean_by(rows: Sequence[tuple[Object, float | None]], name: str) -> dict[str, float]:
    """Return the mean score of all rows and of each value of one parameter."""
    groups: dict[str, list[float]] = {"score": []}
    for params, value in rows:
        if value is not None:
            groups["score"].append(value)
            groups.setdefault(f"{name}_{params.get(name)}", []).append(value)
    return {key: sum(values) / len(values) for key, values in groups.items() if values}


def _question(prefix: str, number: int, form: str, topic: str) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    ordinal = f"{number}{endings.get(number, 'th')}"
    return (
        f"Prepend {prefix} to the {ordinal} (1 indexed) {form} about {topic}. "
        "Do not include any other text in your response."
    )


def _read_requests(fields: Fields) -> list[tuple[str, str]]:
    requests = []
    for item in fields.sequence("requests") or ():
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 2:
            raise EvalError("A request is written [form, topic].")
        requests.append((str(item[0]), str(item[1])))
    return requests


def _answers(requests: Sequence[tuple[str, str]], seed: int) -> list[str]:
    """Return one distinct text per request, from filler records far apart."""
    pool = FillerPool(language="en", count=2**20)
    texts = []
    for turn, (form, topic) in enumerate(requests):
        rng = random.Random(derive_seed("mrcr-answer", seed, turn))
        paragraphs = pool.text(rng.randrange(len(pool))).split("\n\n")
        start = rng.randrange(len(paragraphs))
        body = " ".join(paragraphs[start:] + paragraphs[:start])[:_CHARS_PER_TURN]
        body = body.rpartition(".")[0] or body
        texts.append(f"A {form} about {topic}, number {rng.randrange(10**6):06d}. {body}.")
    return texts
