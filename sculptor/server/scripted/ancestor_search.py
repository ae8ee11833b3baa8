"""Multi-needle kinship questions: a chain of searches, from name to name, until one has no elder.

Each step searches the names found and not yet searched, in the forms in which a younger relative is
named; the eldest is only told after a search found no elder of theirs. Without tools, and for the
Ancestral Trace Challenge, which is nothing but needles, the same sentences are read in the view.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sculptor.server.scripted.kinship import Kin, ancestors, descendants, eldest, read_kin
from sculptor.server.scripted.prompt import Prompt
from sculptor.server.scripted.reply import Reply, ToolCall

_CONTEXT_CHARS = 200
_MAX_RESULTS = 50

Kind = Literal["eldest", "ancestor", "descendant", "distance"]

_QUESTIONS: tuple[tuple[Kind, bool, str], ...] = (
    ("eldest", False, r"who is the eldest relative that '(?P<a>[^\n]+?)' can trace back to"),
    ("eldest", True, r"'(?P<a>[^\n']+)'的能够向上追溯到的最年长的亲人是谁"),
    ("ancestor", False, r"who is the (?P<n>\d+)th generation ancestor of '(?P<a>[^\n]+)'\?"),
    ("ancestor", True, r"'(?P<a>[^\n']+)'的(?P<n>\d+)代祖先是谁"),
    ("descendant", False, r"who is the (?P<n>\d+)th generation descendant of '(?P<a>[^\n]+)'\?"),
    ("descendant", True, r"'(?P<a>[^\n']+)'的(?P<n>\d+)代子孙是谁"),
    (
        "distance",
        False,
        r"what is the relationship distance between '(?P<a>[^\n]+)' and '(?P<b>[^\n]+)'\?",
    ),
    ("distance", True, r"'(?P<a>[^\n']+)'和'(?P<b>[^\n']+)'之间的关系距离是多少"),
)
_CHALLENGE = re.compile(r"Ancestral Trace Challenge|scrambled family relationships|打乱的家族关系")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who is asked about, in which language."""

    kind: Kind
    chinese: bool
    person: str
    other: str = ""
    generations: int = 0


def trace_ancestors(prompt: Prompt) -> Reply | None:
    """Answer a question about a chain of kin, or return None for any other prompt."""
    question = read_question(prompt.question)
    if question is None:
        return None
    found = list(_found(prompt))
    if prompt.toolset is None or _CHALLENGE.search(prompt.question) or prompt.has_failed:
        seen = [kin for text in prompt.texts("user") for kin in read_kin(text)]
        return Reply(text=_answer(question, [*seen, *found]))
    names = [question.person, *ancestors(question.person, found)]
    left = [name for name in names if not _is_searched(prompt, question, name)]
    if not left:
        return Reply(text=_answer(question, found))
    return Reply(calls=tuple(_searches(prompt, question, left)))


def read_question(text: str) -> Question | None:
    """Return the question about kin that a text asks last, or None."""
    for kind, chinese, pattern in _QUESTIONS:
        asked = list(re.finditer(pattern, text))
        if asked:
            groups = asked[-1].groupdict()
            return Question(
                kind=kind,
                chinese=chinese,
                person=groups["a"],
                other=groups.get("b") or "",
                generations=int(groups.get("n") or 0),
            )
    return None


def _searches(prompt: Prompt, question: Question, names: list[str]) -> Iterator[ToolCall]:
    if prompt.toolset == "full":
        queries = [query for name in names for query in _forms(question, name)]
        yield _search(queries=queries)
        return
    for name in names if prompt.parallel else names[:1]:
        yield _search(query=name)


def _search(**asked: Any) -> ToolCall:
    limits = {"role": "user", "max_results": _MAX_RESULTS, "context_size": _CONTEXT_CHARS}
    return ToolCall("search_context", {**asked, **limits})


def _forms(question: Question, name: str) -> tuple[str, str]:
    """Return how a person is named in a sentence that tells their elder."""
    return (f"{name}的", f"对{name}来说") if question.chinese else (f"{name}'s", f"For {name},")


def _is_searched(prompt: Prompt, question: Question, name: str) -> bool:
    asked: set[object] = set()
    for call in prompt.results_of("search_context"):
        asked.update(call.arguments.get("queries") or [call.arguments.get("query")])
    return name in asked or asked.issuperset(_forms(question, name))


def _found(prompt: Prompt) -> Iterator[Kin]:
    for hit in prompt.hits():
        yield from read_kin(_whole_sentences(hit))


def _whole_sentences(hit: Mapping[str, Any]) -> str:
    """Return an excerpt without the sentence that its beginning may have torn."""
    text = str(hit.get("text") or "")
    if hit.get("char", 0) <= _CONTEXT_CHARS:
        return text
    return re.split(r"[\n.。]", text, maxsplit=1)[-1]


def _answer(question: Question, kin: list[Kin]) -> str:
    person, other, n = question.person, question.other, question.generations
    match question.kind:
        case "eldest":
            found = eldest(person, kin)
            english = f"So the oldest relative '{person}' can trace back to in the provided text is"
            chinese = f"所以{person}能向上追溯到的最年长的亲人就是"
        case "ancestor":
            found = _at(ancestors(person, kin), n)
            english = f"So the {n}th generation ancestor of '{person}' is"
            chinese = f"所以{person}的{n}代祖先就是"
        case "descendant":
            found = _at(descendants(person, kin), n)
            english = f"So the {n}th generation descendant of '{person}' is"
            chinese = f"所以{person}的{n}代子孙就是"
        case "distance":
            apart = {**descendants(person, kin), **ancestors(person, kin)}.get(other)
            found = "unknown" if apart is None else str(apart)
            english = f"So the relationship distance between '{person}' and '{other}' is"
            chinese = f"所以{person}和{other}之间的关系距离是"
    return (
        f"{chinese}\\boxed{{{found}}}。" if question.chinese else f"{english} \\boxed{{{found}}}."
    )


def _at(relatives: dict[str, int], generations: int) -> str:
    return next((name for name, height in relatives.items() if height == generations), "unknown")
