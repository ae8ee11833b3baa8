"""Choosing the needles of a document and the question about them, as the original does."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO

from sculptor.errors import EvalError
from sculptor.evals.needlebench.kinship import draw_chain
from sculptor.evals.types import Json, Object

_CHAIN_QUESTIONS = {
    "English": (
        "Given the context described above, who is the eldest relative that '{person}' can trace "
        "back to in the context?"
    ),
    "Chinese": "在上面提供的文本中，'{person}'的能够向上追溯到的最年长的亲人是谁？",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Needles:
    """What goes into the document, what is asked, and the reference in the original's form."""

    texts: tuple[str, ...]
    question: str
    reference: str
    person: str = ""


def choose_single(content: str, *, language: str, counter: int) -> Needles:
    """Pick one record of the language with the repetition's seed."""
    records = [record for record in _parse_lines(content) if record["language"] == language]
    if not records:
        raise EvalError(f"The needle file holds no {language} record.")
    return single_needle(random.Random(counter).choice(records))


def single_needle(record: Mapping[str, str]) -> Needles:
    """Return the needle of a record of the needle file."""
    text = "\n" + record["needle"] + "\n"
    return Needles(
        texts=(text,),
        question=record["retrieval_question"],
        reference=f"{text}*{record['arg2']}",
    )


def choose_parallel(
    content: str, *, language: str, count: int, seed: int
) -> list[Mapping[str, str]]:
    """Pick ``count`` records with subjects and keywords all different.

    The original shuffles the file's lines with the global generator, which it never seeds; here it
    is one seeded with ``seed`` just before. If the file cannot give so many, what it gives is used.
    """
    lines = StringIO(content).readlines()
    random.Random(seed).shuffle(lines)
    subjects: set[str] = set()
    keywords: set[str] = set()
    chosen: list[Mapping[str, str]] = []
    for line in lines:
        record = _parse_line(line)
        if record is None or record.get("language") != language:
            continue
        subject, keyword = record.get("arg1", ""), record.get("arg2", "")
        if subject not in subjects and keyword not in keywords:
            subjects.add(subject)
            keywords.add(keyword)
            chosen.append(record)
        if len(chosen) == count:
            break
    return chosen


def parallel_needles(
    records: Sequence[Mapping[str, str]],
    *,
    language: str,
    counter: int,
    depths: Sequence[float],
) -> Needles:
    """Order the records with the repetition's seed and ask for all of them at once."""
    ordered = list(records)
    random.Random(counter).shuffle(ordered)
    stop, end = ("？", "。") if language == "Chinese" else ("?", ".")
    questions = "、".join(record["retrieval_question"].split(stop)[0] + stop for record in ordered)
    forms = "、".join(_answer_form(record).split(end)[0] for record in ordered)
    if language == "Chinese":
        question = f"{questions}请按照'{forms}'的格式回答。"
    else:
        question = f"{questions}Please answer in the format of '{forms}'"
    keywords = "*".join(record["arg2"] for record in ordered)
    return Needles(
        texts=tuple("\n" + record["needle"] + "\n" for record in ordered),
        question=question,
        reference=f"{keywords}#{'*'.join(map(str, depths))}",
    )


def _answer_form(record: Mapping[str, str]) -> str:
    parts = record["retrieval_question"].split("'")
    if len(parts) < 2:
        raise EvalError("A retrieval_question must quote its answer format in straight quotes.")
    return parts[1]


def choose_chain(names: Json, *, language: str, links: int, counter: int) -> Needles:
    """Draw a chain of ``links`` kinship sentences (version 2)."""
    chain = draw_chain(
        random.Random(counter), read_names(names, language), people=links + 1, language=language
    )
    person = chain.names[-1]
    return Needles(
        texts=tuple(f"\n{sentence}\n" for sentence in chain.sentences),
        question=_CHAIN_QUESTIONS[language].format(person=person),
        reference=chain.names[0],
        person=person,
    )


def choose_derivation(records: Json, *, language: str, count: int, counter: int) -> Needles:
    """Pick a chain of ``count`` facts from a file of them (version 1)."""
    if isinstance(records, str) or not isinstance(records, Sequence):
        raise EvalError("A multi-needle reasoning file must be a list of records.")
    matching = [
        record
        for record in records
        if isinstance(record, Mapping)
        and record.get("derivation_count") == count
        and record.get("language", language) == language
    ]
    if not matching:
        raise EvalError(f"The reasoning file has no {language} record of {count} derivations.")
    return derivation_needles(random.Random(counter).choice(matching))


def derivation_needles(record: Object) -> Needles:
    """Return the needles of a record of a reasoning file."""
    facts, answer = record["derivations"], str(record["answer"])
    if isinstance(facts, str) or not isinstance(facts, Sequence):
        raise EvalError("A reasoning record's 'derivations' must be a list of sentences.")
    return Needles(
        texts=tuple(f"\n{fact}\n" for fact in facts),
        question=str(record["question"]),
        reference=f"{answer}*{answer}",
    )


def read_names(content: Json, language: str) -> list[str]:
    """Return the names of a language out of a names file."""
    names = content.get(language) if isinstance(content, Mapping) else None
    if not isinstance(names, str):
        raise EvalError(f"The names file must give {language} names, joined by commas.")
    return names.split(",")


@lru_cache(maxsize=4)
def _parse_lines(content: str) -> tuple[Mapping[str, str], ...]:
    records = (_parse_line(line) for line in content.split("\n") if line.strip())
    return tuple(record for record in records if record is not None)


def _parse_line(line: str) -> Mapping[str, str] | None:
    try:
        record = json.loads(line.strip())
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
