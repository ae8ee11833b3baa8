"""NeedleBench as a task: cells of a suite, prompts from draws, scores from replies.

A suite's repetitions are the original's counters; another run seed takes the counters after them,
so that seed 0 is the benchmark itself. Seeds repeat after 1,000, because a counter costs all the
shuffles below it. Samples walk through the cells in wide steps: the first of a run already cover
the lengths and depths.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd

from sculptor.evals.fields import Fields, sample_id
from sculptor.evals.files import DataFiles
from sculptor.evals.needlebench import corrected, scorers
from sculptor.evals.needlebench.atc import build_challenge
from sculptor.evals.needlebench.case import Case, read_case, read_kind, read_version
from sculptor.evals.needlebench.grids import ATC, REASONING, RETRIEVAL, SINGLE
from sculptor.evals.needlebench.guides import guided
from sculptor.evals.needlebench.haystack import (
    cut_haystack,
    decode,
    encode,
    insert_chain,
    insert_parallel,
    insert_single,
)
from sculptor.evals.needlebench.metrics import (
    Row,
    challenge_figures,
    perfect_rotations,
    task_score,
)
from sculptor.evals.needlebench.needles import (
    Needles,
    choose_chain,
    choose_derivation,
    choose_parallel,
    choose_single,
    parallel_needles,
    single_needle,
)
from sculptor.evals.needlebench.wording import fill
from sculptor.evals.types import (
    Json,
    Object,
    Sample,
    Score,
    check_scorer,
    user_message,
)

SEEDS = 1000
Scorer = Callable[..., Score]
_TEXTS = {
    ("v1", SINGLE): "single",
    ("v1", RETRIEVAL): "retrieval",
    ("v1", REASONING): "single",
    ("v2", SINGLE): "single",
    ("v2", RETRIEVAL): "retrieval",
    ("v2", REASONING): "reasoning",
}
_ORIGINAL: Mapping[tuple[str, str], Scorer] = {
    ("v1", SINGLE): scorers.score_single_v1,
    ("v2", SINGLE): scorers.score_single_v2,
    ("v1", RETRIEVAL): scorers.score_retrieval,
    ("v2", RETRIEVAL): scorers.score_retrieval,
    ("v1", REASONING): scorers.score_reasoning_v1,
    ("v2", REASONING): scorers.score_boxed,
    ("v1", ATC): scorers.score_single_v1,
    ("v2", ATC): scorers.score_boxed,
}
_CORRECTED: Mapping[tuple[str, str], Scorer] = {
    ("v1", SINGLE): corrected.score_single,
    ("v2", SINGLE): corrected.score_single,
    ("v1", RETRIEVAL): corrected.score_retrieval,
    ("v2", RETRIEVAL): corrected.score_retrieval,
    ("v1", REASONING): corrected.score_reasoning_v1,
    ("v2", REASONING): corrected.score_boxed,
    ("v1", ATC): corrected.score_single,
    ("v2", ATC): corrected.score_boxed,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedleBench:
    """One NeedleBench suite; ``cells`` are draws without their counter."""

    name: str
    summary: str
    version: str
    kind: str
    cells: tuple[Object, ...]
    repetitions: int = 10
    files: DataFiles = field(default_factory=DataFiles)
    scorers: Sequence[str] = ("original", "opencompass", "corrected")

    def __len__(self) -> int:
        return len(self.cells) * self.repetitions

    def draw(self, index: int, *, seed: int = 0) -> Object:
        """Return the parameters of one prompt."""
        size = len(self.cells)
        repetition, place = divmod(index, size)
        cell = self.cells[place * _stride(size) % size]
        counter = seed % SEEDS * self.repetitions + repetition
        return {**cell, "counter": counter, "seed": seed, "index": index}

    def sample(self, draw: Object) -> Sample:
        """Build the case of a draw."""
        fields = Fields(draw)
        case = read_case(fields, self.files, version=self.version, kind=self.kind)
        text, reference = self._build(case)
        return Sample(
            id=sample_id(fields, self.name, text),
            draw=draw,
            messages=(user_message(text),),
            reference=reference,
            params=_params(case),
        )

    def score(
        self,
        reply: str,
        reference: Json,
        *,
        scorer: str | None = None,
        params: Object | None = None,
    ) -> Score:
        """Score a reply from 0 to 100; version and task come from ``params`` or the task's name."""
        chosen = check_scorer(scorer, self.scorers)
        params = params or {}
        fields = Fields(params, what="params")
        case_kind = _scored_kind(fields, self.kind)
        version = read_version(fields) or self.version
        text = scorers.reference_text(reference)
        if case_kind == ATC and text.count("--") == 2:
            choice = corrected.score_letter if chosen == "corrected" else scorers.score_choice
            return choice(reply, text, params=params)
        table = _CORRECTED if chosen == "corrected" else _ORIGINAL
        return table[version, case_kind](reply, text, params=params)

    def metrics(self, rows: Sequence[tuple[Object, float | None]]) -> Mapping[str, float]:
        """Return the task's figure, and the challenge's by needle count."""
        scored = [_row(params, value) for params, value in rows if value is not None]
        figures = {"score": task_score(scored), "total_samples": float(len(scored))}
        if any(row.question for row in scored):
            figures["perf_4"] = perfect_rotations(scored)
        if self.kind == ATC:
            figures |= challenge_figures(scored)
        return figures

    def _build(self, case: Case) -> tuple[str, str]:
        if case.kind == ATC:
            challenge = build_challenge(case, self.files.json(case.needle_file))
            return challenge.text, challenge.reference
        needles = self._needles(case)
        position = "start" if case.at_start else "end"
        text = fill(
            case.version,
            case.language,
            f"{_TEXTS[case.version, case.kind]}_{position}",
            context=self._document(case, needles),
            question=guided(case, needles.question),
            person=needles.person,
        )
        return text, needles.reference

    def _document(self, case: Case, needles: Needles) -> str:
        tokens = [encode(text) for text in needles.texts]
        haystack = cut_haystack(
            case.haystack,
            self.files,
            counter=case.counter,
            tokens=case.length - case.buffer - sum(map(len, tokens)),
            allow_short=case.allow_short,
        )
        if case.kind == SINGLE:
            return decode(insert_single(haystack, tokens[0], case.depths[0]))
        if case.kind == RETRIEVAL:
            return decode(insert_parallel(haystack, tokens, case.depths))
        return decode(insert_chain(haystack, tokens, case.depths[0], case.diff))

    def _needles(self, case: Case) -> Needles:
        name, language, counter = case.needle_file, case.language, case.counter
        if case.kind == SINGLE and case.records:
            return single_needle(case.records[0])
        if case.kind == SINGLE:
            return choose_single(self.files.text(name), language=language, counter=counter)
        if case.kind == RETRIEVAL:
            records: Sequence[Mapping[str, str]] = case.records or choose_parallel(
                self.files.text(name), language=language, count=len(case.depths), seed=case.seed
            )
            return parallel_needles(records, language=language, counter=counter, depths=case.depths)
        content = self.files.json(name)
        count = case.num_needles
        if case.version == "v1":
            return choose_derivation(content, language=language, count=count, counter=counter)
        return choose_chain(content, language=language, links=count, counter=counter)


def _params(case: Case) -> Object:
    depth: Json = case.depths[0] if len(case.depths) == 1 else list(case.depths)
    choice = case.version == "v1" and case.kind == ATC and case.variant not in ("free", "ordered")
    return {
        **({"question": str(case.counter)} if choice else {}),
        "version": case.version,
        "task": case.kind,
        "language": case.language,
        "length": case.length,
        "depth": depth,
        "num_needles": case.num_needles,
        "question_type": case.question_type,
        "counter": case.counter,
    }


def _row(params: Object, value: float) -> Row:
    fields = Fields(params, what="params")
    depth = fields.find("depth")
    return Row(
        score=value,
        kind=fields.text("task", default=""),
        language=fields.text("language", default=""),
        length=fields.number("length", default=0),
        depth=depth if isinstance(depth, int | float) else 0,
        num_needles=fields.number("num_needles", default=0),
        question=fields.text("question", default=""),
    )


def _scored_kind(fields: Fields, default: str) -> str:
    return read_kind(fields) or default


def _stride(size: int) -> int:
    """Return a step near the golden section of ``size`` that visits every cell."""
    step = max(1, round(size * 0.618))
    while gcd(step, size) != 1:
        step += 1
    return step
