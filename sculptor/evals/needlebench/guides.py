"""Version 1's advice to think of the document first, slipped into the question.

With the advice on, it stands before the clause that asks for an answer format. Single retrieval has
no form without it: what the original calls unguided is its prompt for base models, which keeps the
advice and ends in the beginning of the answer, for the model to go on with.
"""

from sculptor.errors import EvalError
from sculptor.evals.needlebench.case import Case
from sculptor.evals.needlebench.grids import REASONING, SINGLE
from sculptor.evals.needlebench.wording import wording

# What precedes the quoted answer, and how many characters follow its open end: eight underscores,
# full stop and quote, and in Chinese the words that close the clause.
_OPENINGS = {"English": ("Please answer in the format '", 10), "Chinese": ("请按照'", 16)}


def guided(case: Case, question: str) -> str:
    """Return the question as version 1 puts it; version 2 leaves it alone."""
    if case.version != "v1":
        return question
    if case.kind == SINGLE:
        advised = _advised(case.language, question)
        return advised if case.guide else _begun_answer(case.language, advised)
    if not case.guide:
        return question
    if case.kind == REASONING:
        return question + wording("v1", case.language, "guide")
    return _advised(case.language, question)


def _advised(language: str, question: str) -> str:
    guide, clause = (wording("v1", language, name) for name in ("guide", "clause"))
    parts = question.split(clause)
    if len(parts) < 2:
        raise EvalError(f"Version 1 puts its advice before {clause!r}; this question lacks it.")
    blank = " " if language == "English" else ""
    return f"{parts[0]}{guide}{blank}{clause}{parts[1]}"


def _begun_answer(language: str, question: str) -> str:
    opening, after = _OPENINGS[language]
    return question.replace(opening, "")[:-after]
