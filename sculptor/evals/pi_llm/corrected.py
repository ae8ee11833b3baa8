"""A PI-LLM scorer of our own that mends the reference scorers' known faults.

It knows the keys it looks for, so it can read what they cannot: JSON, tables, arrows, lists, one
blank where two were asked for, upper case, Chinese sentences and full-width colons, and replies
that merely contain the word "error". Text inside thinking tags is dropped, and the last statement
about a key counts. It never gives credit for a value that is not stated as that key's.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from sculptor.evals.types import Json, Object, Score

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_COMMAND = re.compile(r"\\(?:boxed|fbox|text|textbf|mathbf|mathrm)\{([^{}]*)\}")
_FENCED_OBJECT = re.compile(r"\{[^{}]*\}", re.DOTALL)
# What may stand between a key and its value ("bird: the last value is emu"), and what ends it.
_VERDICT = (
    r"(?:the\s+)?(?:most recent|final|last seen|last|latest|current|up-to-date)\s+"
    r"(?:value|word|term)\s+(?:is|was)\b"
)
_LINK = (
    r"[\s\"'`*\])}>”’」』]*(?:(?:的)?(?:当前|最新|最后|最终)?(?:的)?值?(?:是|为)|\bis\b(?:\s+now)?|\bwas\b|"
    r"\bhas\b|=|:|->|→|⇒|—|–|-|\|)"
    rf"(?:\s*{_VERDICT})?\s*[:=]?[\s\"'`*$\[({{<“‘「『]*"
)
_END = r"(?=[\"'`*$\])}>”’」』]*\s*(?:$|[\n,.;:|!?。，；、！？]|\(|（|\band\b|<))"
_EDGES = " \t\r\n\"'`*$[](){}<>“”‘’「」『』"


def score_corrected(reply: str, truth: Mapping[str, Json], *, params: Object) -> Score:
    """Return the share of keys whose last stated value is right, as text a reader would equate."""
    answers = read_answers(reply, truth)
    if not truth:
        return Score(value=0.0, detail={"answers": {}})
    right = sum(_same(answers.get(key), value) for key, value in truth.items())
    missing = sum(key not in answers for key in truth)
    detail: Object = {"n_missing": missing, "answers": answers, "answered": bool(answers)}
    return Score(value=right / len(truth), detail=detail)


def read_answers(reply: str, keys: Iterable[str]) -> dict[str, str]:
    """Return the last value the reply states for each of the keys."""
    text = _plain(reply)
    answers = {}
    objects = _objects(text)
    known = list(keys)
    for key in known:
        value = _stated(text, key, known)
        for entries in objects:
            value = entries.get(_fold(key), value)
        if value:
            answers[key] = value
    return answers


def _plain(reply: str) -> str:
    text = unicodedata.normalize("NFKC", _THINKING.sub(" ", reply))
    text = _COMMAND.sub(r"\1", _COMMAND.sub(r"\1", text))  # \boxed{\text{x}} has two
    return re.sub(r"\\(?!n)", "", text)


def _objects(text: str) -> list[dict[str, str]]:
    found = []
    for match in _FENCED_OBJECT.finditer(text):
        try:
            entries = json.loads(match[0])
        except json.JSONDecodeError:
            continue
        if entries.keys() == {"key", "value"}:
            entries = {str(entries["key"]): entries["value"]}
        found.append({_fold(str(key)): str(value) for key, value in entries.items()})
    return found


def _stated(text: str, key: str, known: Sequence[str]) -> str | None:
    name = r"\s+".join(re.escape(word) for word in key.split())
    # "water body is x" says nothing of the key "body".
    longer = (other[: -len(key)] for other in known if other.endswith(f" {key}"))
    alone = "".join(rf"(?<!{re.escape(start)})" for start in longer)
    # A Chinese word may stand right before a key in other letters.
    before = r"[^\W\u4e00-\u9fff]" if key[:1].isascii() else r"\w"
    pattern = rf"(?<!{before}){alone}{name}{_LINK}([^\n,.;:|!?。，；、！？(（<]+?){_END}"
    values = [match[1] for match in re.finditer(pattern, text, re.IGNORECASE)]
    return values[-1].strip(_EDGES) if values else None


def _same(answer: str | None, value: Json) -> bool:
    return answer is not None and _fold(answer) == _fold(str(value))


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).strip(_EDGES).casefold().split())
