"""PI-LLM as a task: draws from a seed, prompts from draws, scores from replies.

Sample ``i`` belongs to cell ``i mod cells``, so the first samples of a run cover all difficulties.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields, sample_id
from sculptor.evals.files import DICTIONARY, DataFiles
from sculptor.evals.pi_llm.corrected import score_corrected
from sculptor.evals.pi_llm.metrics import Row, interference_endurance, summarize
from sculptor.evals.pi_llm.options import Options
from sculptor.evals.pi_llm.prompts import build_prompt, final_values
from sculptor.evals.pi_llm.reading import (
    complete,
    hub_sample,
    read_forgotten,
    read_pairs,
    read_tracked,
)
from sculptor.evals.pi_llm.scorers import read_truth, score_opencompass, score_original
from sculptor.evals.types import (
    Json,
    Object,
    Sample,
    Score,
    check_scorer,
    derive_seed,
    user_message,
)

_SCORERS = {
    "opencompass": score_opencompass,
    "original": score_original,
    "corrected": score_corrected,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PiLlm:
    """One PI-LLM experiment."""

    name: str
    summary: str
    experiment: str
    cells: tuple[Options, ...]
    sessions: int = 20
    long: bool = False
    files: DataFiles = field(default_factory=DataFiles)
    scorers: Sequence[str] = tuple(_SCORERS)

    def __len__(self) -> int:
        return len(self.cells) * self.sessions

    def draw(self, index: int, *, seed: int = 0) -> Object:
        """Draw one session; nothing of an earlier session weighs on it."""
        options = self.cells[index % len(self.cells)]
        number = derive_seed(self.experiment, seed, index)
        return {
            "task": self.name,
            "experiment": self.experiment,
            "seed": seed,
            "index": index,
            **self._session(options, seed=number, session=0, dictionary=DICTIONARY),
            "options": options.to_json(),
        }

    def sample(self, draw: Object) -> Sample:
        """Build the case of a draw: keys and pairs, a seed, or a row of the published set."""
        fields = Fields(draw)
        pairs = read_pairs(fields)
        if pairs is None and fields.has("prompt", "messages"):
            return hub_sample(fields, self.name)
        options = Options.from_fields(fields)
        if pairs is None:
            fields = Fields({**draw, **self._from_seed(fields, options)})
            pairs = read_pairs(fields) or []
        tracked = read_tracked(fields)
        options = complete(options, fields, tracked, pairs)
        text = build_prompt(
            tracked, pairs, options=options, forget_keys=read_forgotten(fields, options, tracked)
        )
        return Sample(
            id=sample_id(fields, self.name, text),
            draw=draw,
            messages=(user_message(text),),
            reference=final_values(tracked, pairs),
            params=self._params(fields, options),
        )

    def score(
        self,
        reply: str,
        reference: Json,
        *,
        scorer: str | None = None,
        params: Object | None = None,
    ) -> Score:
        """Score a reply from 0 to 1 against a mapping of keys to last values or its JSON text.

        OpenCompass gives 0 for whatever fails, an unreadable reference too; the detail says so.
        """
        name = check_scorer(scorer, self.scorers)
        try:
            truth = read_truth(reference)
        except EvalError as error:
            if name != "opencompass":
                raise
            return Score(value=0.0, detail={"answered": False, "problem": str(error)})
        return _SCORERS[name](reply, truth, params=params or {})

    def metrics(self, rows: Sequence[tuple[Object, float | None]]) -> Mapping[str, float]:
        """Return OpenCompass's figures and the endurance score over rows that have a value."""
        scored = [_row(params, value) for params, value in rows if value is not None]
        return {**summarize(scored), "ies": interference_endurance(scored)}

    def _from_seed(self, fields: Fields, options: Options) -> Mapping[str, Json]:
        if not fields.has("seed"):
            raise EvalError(
                "A PI-LLM draw needs its pairs (tracked_keys and pairs), or a seed to draw them "
                "with (seed, session, n_tracked_keys, n_tracked_updates)."
            )
        return self._session(
            options,
            seed=fields.number("seed"),
            session=fields.number("session", "counter", "repetition", default=0, most=100_000),
            dictionary=fields.text("dictionary", "source_dict_path", default=DICTIONARY),
        )

    def _session(
        self, options: Options, *, seed: int, session: int, dictionary: str
    ) -> Mapping[str, Json]:
        from sculptor.evals.pi_llm import draws

        vocabulary = self._vocabulary(dictionary)
        drawn: Iterator[draws.Session] = draws.sessions(options, vocabulary, seed=seed)
        if self.long:
            drawn = iter((draws.long_session(options, vocabulary, seed=seed),))
        found = next(islice(drawn, session, None), None)
        if found is None:
            raise EvalError("A long draw has no session but the first of its seed.")
        return {
            "tracked_keys": list(found.tracked_keys),
            "untracked_keys": list(found.untracked_keys),
            "pairs": [list(pair) for pair in found.pairs],
            "forget_keys": list(found.forget_keys),
        }

    def _vocabulary(self, name: str) -> Mapping[str, Sequence[str]]:
        content = self.files.json(name.rsplit("/", 1)[-1])
        if not isinstance(content, Mapping):
            raise EvalError(f"{name} must map every key to its list of values.")
        return cast(Mapping[str, Sequence[str]], content)

    def _params(self, fields: Fields, options: Options) -> Object:
        return {
            "experiment": fields.text("experiment", default=self.experiment),
            "n_updates": options.n_tracked_updates,
            "n_keys": options.n_tracked_keys,
            "len_item": options.len_item,
            "probe_target": options.probe_target,
            "answer_format": options.answer_format,
        }


def _row(params: Object, value: float) -> Row:
    fields = Fields(params, what="params")
    return Row(
        accuracy=value,
        n_updates=fields.number("n_updates", "n_tracked_updates", default=2),
        experiment=fields.text("experiment", default=""),
    )
