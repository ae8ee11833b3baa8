"""NeedleBench's own scorers, 0 to 100, faults included; ``corrected`` mends them.

Each takes the raw reply and the reference in the form the original's loader writes: needle,
``*``, keyword; keywords joined by ``*``, ``#``, depths joined by ``*``; a name; or
``id--letter--rotation``.
"""

import re
from collections.abc import Mapping, Sequence

from sculptor.errors import EvalError
from sculptor.evals.needlebench.letters import read_letter
from sculptor.evals.types import Json, Object, Score

_BOXED = "\\boxed{"


def score_single_v2(reply: str, reference: str, *, params: Object) -> Score:
    """Score 100 if the keyword occurs anywhere in the reply, case-sensitive."""
    return Score(value=100.0 if split_single(reference)[1] in reply else 0.0)


def score_single_v1(reply: str, reference: str, *, params: Object) -> Score:
    """Score 100 if the keyword occurs, else a fifth of the reply's likeness to the needle.

    Likeness is 100 (1 - edit distance / longer length), all whitespace removed. With
    ``use_trim`` in the parameters the reply is first cut to the reference's length.
    """
    from rapidfuzz.distance import Levenshtein

    needle, keyword = split_single(reference)
    bare, wanted = (re.sub(r"\s+", "", text) for text in (reply, needle))
    if params.get("use_trim"):
        bare = _trim(bare, wanted)
    distance = Levenshtein.distance(bare, wanted)
    longest = max(len(bare), len(wanted))
    likeness = 100 * (1 - distance / longest) if longest else 100
    value = 100 if keyword in reply else 0.2 * likeness
    return Score(value=value, detail={"edit_distance": distance})


def score_retrieval(reply: str, reference: str, *, params: Object) -> Score:
    """Score the share of depths whose keyword occurs in the reply, case-sensitive, times 100."""
    report = retrieval_report([reply], [reference])
    average = report.pop("average_score")
    return Score(value=average, detail={"depths": report})


def retrieval_report(replies: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return ``Depth{d}`` for every depth and ``average_score`` over a whole set of replies.

    The depths are those of the first reference, as in the original.
    """
    depths = _depths_of(references[0])
    totals = dict.fromkeys(depths, 0.0)
    for reply, reference in zip(replies, references, strict=True):
        keywords = reference.split("#")[0].split("*")
        for keyword, depth in zip(keywords, depths, strict=False):
            if keyword in reply:
                totals[depth] += 100 / len(replies)
    report = {f"Depth{depth}": total for depth, total in totals.items()}
    report["average_score"] = sum(totals.values()) / len(totals)
    return report


def score_boxed(reply: str, reference: str, *, params: Object) -> Score:
    """Score 100 if the last boxed text, cleaned, equals the name exactly (v2 reasoning, ATC)."""
    answer = read_boxed(reply)
    right = answer.strip() == reference.strip()
    return Score(value=100.0 if right else 0.0, detail={"answer": answer})


def score_reasoning_v1(reply: str, reference: str, *, params: Object) -> Score:
    """Score the share of the keyword's words that occur in the reply, ignoring case, times 100."""
    words = reference.split("*")[-1].lower().split()
    each = 100 / len(words) if words else 0
    found = sum(word in reply.lower() for word in words)
    return Score(value=found * each, detail={"matched_keywords": found})


def score_choice(reply: str, reference: str, *, params: Object) -> Score:
    """Score 100 for the right letter; all four rotations count only together, in the metrics."""
    return judge_letter(read_letter(reply), reference)


def judge_letter(letter: str, reference: str) -> Score:
    """Return the score of a letter, however it was read, against ``id--letter--rotation``."""
    parts = reference.split("--")
    if len(parts) != 3:
        raise EvalError("A choice reference is written id--letter--rotation.")
    detail: Object = {"answer": letter, "question": parts[0], "rotation": parts[2]}
    return Score(value=100.0 if letter == parts[1] else 0.0, detail=detail)


def read_boxed(reply: str) -> str:
    """Return the cleaned content of the last box of a reply, or the word ``None``."""
    content = _boxed_content(reply)
    if not content or content == "None":
        return "None"
    content = re.sub(r"\\text\{([^}]+)\}", r"\1", content)
    content = re.sub(r"\\boxed\{([^}]+)\}", r"\1", content)
    content = re.sub(r"\\[\[\]]", "", content).replace("\\", "")
    content = re.sub(r"\s+", " ", content).strip()
    return content.replace('"', "").replace("'", "").replace("~", " ")


def split_single(reference: str) -> tuple[str, str]:
    """Return (needle, keyword); a reference without ``*`` is taken as the keyword alone."""
    parts = reference.split("*")
    return (parts[0], parts[1]) if len(parts) > 1 else (reference, reference)


def reference_text(reference: Json) -> str:
    """Return a reference as the original writes it; objects with the same parts are accepted."""
    if isinstance(reference, str):
        return reference
    if isinstance(reference, Mapping):
        for name in ("reference", "answer"):
            if isinstance(reference.get(name), str):
                return str(reference[name])
        if "keyword" in reference:
            return f"{reference.get('needle') or ''}*{reference['keyword']}"
    if isinstance(reference, int) and not isinstance(reference, bool):
        return str(reference)
    raise EvalError("A NeedleBench reference is the string the original's loader stores.")


def _trim(reply: str, reference: str) -> str:
    low, high = int(0.8 * len(reference)), int(1.2 * len(reference))
    cut = reply[:high]
    end = cut.find(reference[-1], low) if reference else -1
    return cut[: end + 1] if end >= 0 else cut


def _depths_of(reference: str) -> list[float]:
    _, _, depths = reference.partition("#")
    if not depths:
        raise EvalError("A multi-retrieval reference is written keyword*…#depth*….")
    try:
        return [float(depth) if "." in depth else int(depth) for depth in depths.split("*")]
    except ValueError as error:
        raise EvalError(
            f"The depths of a multi-retrieval reference are no numbers: {depths!r}."
        ) from error


def _boxed_content(reply: str) -> str | None:
    """Return what the last ``\\boxed`` (else ``\\fbox``) holds, less one extra pair of braces."""
    start = reply.rfind("\\boxed")
    start = reply.rfind("\\fbox") if start < 0 else start
    whole = reply[start : _closing(reply, start) + 1] if start >= 0 else ""
    if not whole.startswith(_BOXED):
        return None
    content = whole[len(_BOXED) : -1]
    inner = re.match(r"^\{(.*)\}$", content)
    return inner[1] if inner else content


def _closing(text: str, start: int) -> int:
    """Return where the first pair of braces after ``start`` closes; ``start - 1`` if never."""
    level = 0
    for place in range(start, len(text)):
        if text[place] == "{":
            level += 1
        elif text[place] == "}":
            level -= 1
            if level == 0:
                return place
    return start - 1
