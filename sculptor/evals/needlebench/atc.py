"""The Ancestral Trace Challenge: nothing but kinship sentences, and the chain to be walked.

Version 2 has four questions and a seed for each repetition. Of the older forms three are kept, as
``variant`` of version 1: ``free``, ``ordered`` (sentences not shuffled; both never seeded by the
original, so their repetitions follow one another from ``seed``) and ``choice`` (four options in
four rotations). ``elder-only`` is version 2's earlier form.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sculptor.errors import EvalError
from sculptor.evals.needlebench.case import Case
from sculptor.evals.needlebench.kinship import Chain, draw_chain
from sculptor.evals.needlebench.needles import read_names
from sculptor.evals.needlebench.wording import fill
from sculptor.evals.types import Json

ROTATIONS = ("ABCD", "BCDA", "CDAB", "DABC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """The text of the one user message, and the reference in the original's form."""

    text: str
    reference: str


def build_challenge(case: Case, names: Json) -> Challenge:
    """Return the challenge of a case."""
    all_names = read_names(names, case.language)
    if case.variant == "elder-only":
        return _elder_only(case, all_names)
    if case.version == "v2":
        return _current(case, all_names)
    if case.variant in ("free", "ordered"):
        return _free(case, all_names)
    if case.variant == "choice" or case.variant.upper() in ROTATIONS:
        return _choice(case, all_names)
    raise EvalError(f"Unknown variant {case.variant!r}; known: free, ordered, choice, elder-only.")


def challenge_seed(question_type: int, counter: int) -> int:
    """Return version 2's seed: types never share one."""
    return counter + 1 + 10000 * question_type


def _current(case: Case, names: Sequence[str]) -> Challenge:
    rng = random.Random(challenge_seed(case.question_type, case.counter))
    chain = draw_chain(rng, names, people=case.num_needles + 1, language=case.language)
    eldest, youngest = chain.names[0], chain.names[-1]
    asked, answer = [
        (youngest, eldest),
        (youngest, eldest),
        (eldest, youngest),
        (eldest, str(chain.generations)),
    ][case.question_type]
    text = fill(
        "v2",
        case.language,
        f"atc_{case.question_type}",
        story="".join(chain.sentences),
        person=asked,
        person_a=eldest,
        person_b=youngest,
        n=str(chain.generations),
    )
    return Challenge(text=text, reference=answer)


def _elder_only(case: Case, names: Sequence[str]) -> Challenge:
    chain = draw_chain(
        random.Random(case.counter),
        names,
        people=case.num_needles,
        language=case.language,
        style="elder-only",
    )
    text = _story_text("v2", "atc_0", case, chain)
    return Challenge(text=text, reference=chain.names[0])


def _free(case: Case, names: Sequence[str]) -> Challenge:
    rng = random.Random(case.seed)
    chains = [
        draw_chain(
            rng,
            names,
            people=case.num_needles,
            language=case.language,
            style="v1",
            shuffle=case.variant == "free",
        )
        for _ in range(case.counter + 1)
    ]
    chain = chains[-1]
    eldest = chain.names[0]
    return Challenge(
        text=_story_text("v1", "atc_free", case, chain), reference=f"{eldest}*{eldest}"
    )


def _choice(case: Case, names: Sequence[str]) -> Challenge:
    """Return one rotation of a four-option question; ``choice`` alone means the first."""
    rng = random.Random(case.counter)
    chain = draw_chain(rng, names, people=case.num_needles, language=case.language, style="v1")
    options = list(chain.names)
    if len(options) < 4:
        others = [name for name in names if name not in options]
        options += rng.sample(others, 4 - len(options))
    rotation = ROTATIONS[0] if case.variant == "choice" else case.variant.upper()
    shown = [options["ABCD".index(letter)] for letter in rotation]
    lines = "".join(f"{letter}. {name}\n" for letter, name in zip("ABCD", shown, strict=True))
    question = _story_text("v1", "atc_choice", case, chain).strip()
    answer = "ABCD"[rotation.index("A")]
    return Challenge(text=f"{question}\n{lines}", reference=f"{case.counter}--{answer}--{rotation}")


def _story_text(version: str, name: str, case: Case, chain: Chain) -> str:
    story = "".join(chain.sentences)
    return fill(version, case.language, name, story=story, person=chain.names[-1])
