"""NeedleBench scorers of our own that mend the originals' known faults.

A keyword counts whatever its case and width, and does not count where the reply denies it ("it is
certainly not X"). A boxed answer counts in ``\\fbox`` and ``\\boxed {}`` too, inside ``\\textbf``
and the like, with quotes, brackets or a full stop around it; outside any box it still does not.
"""

import re
import unicodedata

from sculptor.evals.needlebench.scorers import (
    judge_letter,
    split_single,
)
from sculptor.evals.types import Object, Score

_DENIAL = re.compile(
    r"(?:\b(?:not|never|neither|nor|isn't|wasn't|rather than|instead of)\b|n't\b"
    r"|不是|并非|绝非|而非|不叫)"
    r"[^.;!?\n。；！？]{0,24}$",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|emph|rm|bf|boxed|fbox)\s*")
# A small letter is one only where nothing follows: "the answer is a good one" names none.
_SETTLED = re.compile(
    r"(?:(?i:answer|option|choice)|答案|回答|选项?)(?:\s+(?:is|was)|应该是|应选|是|为|选)?\s*:?\s*"
    r"(?:option\s+|\\(?:boxed|text|textbf)\{|[(\[*\"'{])*([A-D](?![A-Za-z])|[a-d](?=[\s.)\]}*]*$))",
    re.MULTILINE,
)
_LEADING = re.compile(r"\A[(*]*([A-D])[.):、]")
_EDGES = " \t\r\n\"'`*.,;:!()[]{}<>“”‘’「」『』《》（）。，；：！$~"


def score_single(reply: str, reference: str, *, params: Object) -> Score:
    """Score 100 if the reply states the keyword and does not deny it."""
    return Score(value=100.0 if states(reply, split_single(reference)[1]) else 0.0)


def score_retrieval(reply: str, reference: str, *, params: Object) -> Score:
    """Score the share of keywords the reply states, times 100."""
    keywords = reference.split("#")[0].split("*")
    found = [keyword for keyword in keywords if states(reply, keyword)]
    detail: Object = {"found": found}
    return Score(value=100.0 * len(found) / len(keywords), detail=detail)


def score_boxed(reply: str, reference: str, *, params: Object) -> Score:
    """Score 100 if the last box holds the name, whatever dress it wears."""
    answer = read_box(reply)
    right = answer is not None and _fold(answer) == _fold(reference.split("*")[-1])
    return Score(value=100.0 if right else 0.0, detail={"answer": answer})


def score_reasoning_v1(reply: str, reference: str, *, params: Object) -> Score:
    """Score 100 if the reply states the whole answer and does not deny it."""
    return Score(value=100.0 if states(reply, reference.split("*")[-1]) else 0.0)


def score_letter(reply: str, reference: str, *, params: Object) -> Score:
    """Score 100 for the letter the reply last settles on; a letter inside its prose is none."""
    return judge_letter(read_settled_letter(reply), reference)


def read_settled_letter(reply: str) -> str:
    """Return the bare letter, the last one called the answer, or that of a leading option."""
    text = unicodedata.normalize("NFKC", reply).strip()
    bare = text.strip(_EDGES).upper()
    if bare in ("A", "B", "C", "D"):
        return bare
    named = _SETTLED.findall(text) or _LEADING.findall(text)
    return str(named[-1]).upper() if named else ""


def states(reply: str, keyword: str) -> bool:
    """Say whether a reply holds the whole keyword, at least once without a denial before it."""
    text, wanted = _plain(reply), _plain(keyword)
    if not wanted:
        return False
    edge = r"(?<![0-9a-z])" + re.escape(wanted) + r"(?![0-9a-z])"
    return any(not _DENIAL.search(text[: match.start()]) for match in re.finditer(edge, text))


def read_box(reply: str) -> str | None:
    """Return the text of the last box, without commands, quotes and outer punctuation."""
    boxes = list(_BOX.finditer(reply))
    if not boxes:
        return None
    level, start = 1, boxes[-1].end()
    for place in range(start, len(reply)):
        level += {"{": 1, "}": -1}.get(reply[place], 0)
        if level == 0:
            content = _COMMAND.sub("", reply[start:place])
            return re.sub(r"[{}\\]", "", content).replace("~", " ").strip(_EDGES)
    return None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).strip(_EDGES).casefold().split())
