"""The two reference scorers of PI-LLM, and a corrected one in ``corrected``.

``original`` is the benchmark authors' own, ``opencompass`` the evaluation suite's. They differ in
patterns, in case and in what a failed call is worth, and both have known faults (the tests list
them); the faults are kept, because published figures rest on them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from sculptor.errors import EvalError
from sculptor.evals.types import Json, Object, Score

Answers = Mapping[str, str]

_QUALIFIERS = ("most recent|final", "last|latest|current|up-to-date|asked|queried")
_QUALIFIER = "|".join((*_QUALIFIERS, "specified"))
_SEEN_QUALIFIER = f"{_QUALIFIERS[0]}|last seen|{_QUALIFIERS[1]}|specified"
_NOUN = "(?:value|word|term)"
_TERM = r"""(["'\[<]?\w+(?:\s+\w+)?["'\]>]?)"""
# A term that opens a pattern begins where a word does: elsewhere a match would only begin later,
# after a search that takes the square of a long word's length.
_FIRST_TERM = r"""(["'\[<]?(?<!\w)\w+(?:\s+\w+)?["'\]>]?)"""
# A copula, the value, and what must follow the value.
_VERDICT = rf"\s+(?:is|was)(?:\s*:\s*)?\s+{_TERM}(?=\n|[,.;:]|$)"
# The blanks on both sides of the preposition are apart: without one, two are needed.
_SUBJECT = (
    rf"{_NOUN}?s?(?:\s+\w+)?\s+(?:with|for|of|to)?\s+(?:the )?(?:category|key)?\s*{_TERM}{_VERDICT}"
)
_FLAGS = re.IGNORECASE | re.DOTALL
_KEY_FIRST = re.compile(
    rf"{_FIRST_TERM}\s*[:-]\s*(?:the)?\s*(?:{_SEEN_QUALIFIER})\s+{_NOUN}s?{_VERDICT}", _FLAGS
)
_UNQUALIFIED = re.compile(rf"the\s*{_SUBJECT}", _FLAGS)
_QUALIFIED = re.compile(rf"(?:the)?\s*(?:{_QUALIFIER})\s+{_SUBJECT}", _FLAGS)

# No pattern tells longer runs of blanks apart, only their kinds; time grows with powers of a run.
_LONG_BLANK = re.compile(r"(\s{6})(\s{3,})")

_COLON_GATE = re.compile(rf"(?:{'|'.join(_QUALIFIERS)})\s+{_NOUN}", re.IGNORECASE)
_MARKS = r"""['"\[\]<>]*"""
_WORDS = r"(\w+(?:[ \t]+\w+)?)"
_COLON_PAIR = re.compile(
    rf"(?:[-,.;:\n]|^)\s*{_MARKS}{_WORDS}{_MARKS}\s*:\s*{_MARKS}{_WORDS}"
    rf"(?={_MARKS}\s*(?:\n|[,.;:]|$))"
)
_WRAPPING = re.compile(r"""[*'"\[\]{}()<>]""")
_CUT = re.compile(r"[,.;:\n]")
_PROBES = ("last", "latest", "up-to-date", "final", "most recent", "current")

_DICT_HEAD = rf"[Tt]he (?:{_QUALIFIER}) key-value pairs are:?"
_BRACED = re.compile(rf"{_DICT_HEAD}\s*{{([^}}]*)}}", re.DOTALL)
_UNBRACED = re.compile(rf"{_DICT_HEAD}(.+?)(?:\n|$)", re.DOTALL)
_BRACES = re.compile(r"{([^}]*)}")


def score_original(reply: str, truth: Mapping[str, Json], *, params: Object) -> Score:
    """Score as the authors' program: share of tracked keys right, case and outer blanks ignored.

    A reply that counts as no answer has no value and is left out of means.
    """
    probe = str(params.get("probe_target") or "current")
    if params.get("answer_format") == "dict":
        answers = _read_dictionary(reply)
    else:
        answers = read_original(reply, probe=probe)
    if answers is None:
        return Score(value=None, detail={"answered": False})
    if not truth:
        return Score(value=None if answers else 0.0, detail={"answered": True})
    right = sum(
        key in answers and answers[key].strip().lower() == str(value).strip().lower()
        for key, value in truth.items()
    )
    missing = sum(key not in answers for key in truth)
    detail: Object = {"answered": True, "n_missing": missing, "answers": dict(answers)}
    return Score(value=right / len(truth), detail=detail)


def score_opencompass(reply: str, truth: Mapping[str, Json], *, params: Object) -> Score:
    """Score as OpenCompass: share of keys with the identical string; no answer is 0."""
    answers = read_opencompass(reply)
    if answers is None or not truth:
        return Score(value=0.0, detail={"answered": answers is not None})
    right = sum(answers.get(key) == value for key, value in truth.items())
    return Score(value=right / len(truth), detail={"answered": True, "answers": dict(answers)})


def read_truth(reference: Json) -> Mapping[str, Json]:
    """Return key to last value from a mapping or from its JSON text (``answer_formatted``)."""
    if isinstance(reference, str):
        try:
            reference = json.loads(reference)
        except json.JSONDecodeError as error:
            raise EvalError(f"The reference is not JSON: {error}.") from error
    if not isinstance(reference, Mapping):
        raise EvalError("A PI-LLM reference maps every tracked key to its last value.")
    return reference


def read_original(reply: str, *, probe: str = "current") -> Answers | None:
    """Return what the authors' program reads out of a reply; ``None`` where it sees no answer."""
    text = _clean(reply)
    if text is None:
        return None
    text, verbal = _shorten_blanks(text), {}
    if probe in _PROBES:
        patterns = (_KEY_FIRST, _UNQUALIFIED, _QUALIFIED)
        verbal = _collect(_pairs(patterns, text), cut=_before_stop)
    colon = {}
    if _COLON_GATE.search(text):
        colon = _collect(_pairs((_COLON_PAIR,), text))
    return _merge(colon, verbal)


def read_opencompass(reply: str) -> Answers | None:
    """Return what OpenCompass reads out of a reply; ``None`` where it sees no answer."""
    text = _clean(reply)
    if text is None:
        return None
    halves = (line.split(":", 1) for line in text.split("\n") if ":" in line)
    colon = _collect((key, value) for key, value in halves)
    return _merge(colon, _collect(_pairs((_QUALIFIED,), _shorten_blanks(text))))


def _clean(reply: str) -> str | None:
    """Return the text to search, or ``None`` for what counts as a failed call."""
    if not reply or "error code" in reply.lower() or reply.startswith(("error", "Error")):
        return None
    if len(reply) < 680 and re.search(r"\berror\b", reply, re.IGNORECASE):
        return None
    return re.sub(r"\\(?!n)", "", reply).replace("*", "")


def _shorten_blanks(text: str) -> str:
    """Return the text with each kind of blank once after the sixth of a run."""
    return _LONG_BLANK.sub(lambda run: run[1] + "".join(dict.fromkeys(run[2])), text)


def _pairs(patterns: Sequence[re.Pattern[str]], text: str) -> Iterable[tuple[str, str]]:
    for pattern in patterns:
        for match in pattern.finditer(text):
            yield match[1], match[2]


def _collect(
    pairs: Iterable[tuple[str, str]], *, cut: Callable[[str], str] = lambda text: text
) -> dict[str, str]:
    """Return the last value of each key, both without quotes, brackets and outer blanks."""
    found = {}
    for pair in pairs:
        key, value = (cut(_WRAPPING.sub("", text).strip()) for text in pair)
        if key and value:
            found[key] = value
    return found


def _before_stop(text: str) -> str:
    return _CUT.split(text, maxsplit=1)[0]


def _merge(colon: Mapping[str, str], verbal: Mapping[str, str]) -> Answers:
    merged = {**colon, **verbal}
    merged.pop("key", None)
    return merged


def _read_dictionary(reply: str) -> Answers | None:
    """Return the entries of the last ``key-value pairs are: {…}`` of a reply."""
    if len(reply) < 10 or (len(reply) < 150 and "error" in reply.lower()):
        return None
    for pattern, strip in ((_BRACED, False), (_UNBRACED, True)):
        found = pattern.findall(reply)
        if found:
            entries = _entries(found[-1].strip() if strip else found[-1])
            if entries:
                return entries
    return {}


def _entries(text: str) -> dict[str, str]:
    inner = _BRACES.search(text)
    entries = {}
    for part in (inner[1] if inner else text).split(","):
        sign = ":" if ":" in part else "-"
        if sign in part:
            key, value = part.split(sign, 1)
            entries[key.strip()] = value.strip()
    return entries
