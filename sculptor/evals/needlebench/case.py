"""The parameters of one NeedleBench prompt, read from a draw under the original's names.

A draw gives what the original's loader is called with, plus the repetition counter. What it leaves
out is what the shipped configurations have for its suite, or for its length.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields
from sculptor.evals.files import OWN_NAMES, OWN_NEEDLES, OWN_REASONING, DataFiles
from sculptor.evals.filler import pool_name
from sculptor.evals.needlebench.grids import (
    ATC,
    DEPTHS,
    REASONING,
    RETRIEVAL,
    SINGLE,
    default_buffer,
)

KINDS = (SINGLE, RETRIEVAL, REASONING, ATC)
LANGUAGES = ("English", "Chinese")
CODES = {"English": "en", "Chinese": "zh"}

_LONGEST = 10_000_000
_HAYSTACKS = {"English": "PaulGrahamEssays.jsonl", "Chinese": "zh_finance.jsonl"}
_REASONING_FILES = {
    "English": "multi_needle_reasoning_en.json",
    "Chinese": "multi_needle_reasoning_zh.json",
}
_KIND_HINTS = (
    (ATC, ("atc", "ancestral")),
    (RETRIEVAL, ("retrieval", "parallel", "m-rt", "mrt")),
    (REASONING, ("reason", "m-rs", "mrs", "multi")),
    (SINGLE, ("single", "origin", "s-rt", "srt")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One prompt's parameters; ``counter`` is the repetition, ``seed`` what nothing else seeds."""

    version: str
    kind: str
    language: str
    counter: int
    needle_file: str
    length: int = 0
    depths: tuple[float, ...] = ()
    buffer: int = 0
    num_needles: int = 0
    diff: float = 10
    at_start: bool = False
    guide: bool = True
    haystack: str = ""
    seed: int = 0
    question_type: int = 0
    variant: str = ""
    allow_short: bool = False
    records: tuple[Mapping[str, str], ...] = ()


def read_case(draw: Fields, files: DataFiles, *, version: str = "", kind: str = "") -> Case:
    """Read a draw; ``version`` and ``kind`` are what the task's name says."""
    version = read_version(draw) or version or "v2"
    kind = read_kind(draw) or kind or SINGLE
    language = _language(draw)
    suite = _suite(draw)
    length = 0 if kind == ATC else draw.number("length", "context_length", most=_LONGEST)
    return Case(
        version=version,
        kind=kind,
        language=language,
        counter=draw.number(*COUNTER, default=0, most=50_000),
        needle_file=_needle_file(draw, files, version, kind, language),
        length=length,
        depths=_depths(draw, kind),
        buffer=draw.number(
            "length_buffer",
            "buffer",
            default=default_buffer(version, kind, language, suite, length),
        ),
        num_needles=_num_needles(draw),
        records=_records(draw),
        diff=_percent(draw.text("diff", default="10")),
        at_start=_at_start(draw),
        guide=draw.flag("guide", default=version == "v1"),
        haystack="" if kind == ATC else _haystack(draw, files, language, length),
        seed=draw.number("seed", "load_seed", "needle_seed", default=0),
        question_type=_question_type(draw),
        variant=draw.text("variant", default="free").lower(),
        allow_short=draw.flag("allow_short", default=False),
    )


COUNTER = ("counter", "repetition", "repetition_counter", "repeat", "rep", "i", "index")


def read_version(fields: Fields) -> str:
    """Return ``v1``, ``v2`` or nothing; a benchmark's name may leave it out."""
    text = fields.text("version", "benchmark", default="").lower()
    found = re.search(r"v[ ._-]?([12])(?!\d)", text) or re.fullmatch(r"([12])(?:\.0)?", text)
    if found:
        return f"v{found[1]}"
    if fields.has("version"):
        raise EvalError(f"The version is v1 or v2, not {text!r}.")
    return ""


def read_kind(fields: Fields) -> str:
    """Return the task the fields name, in whichever of its names, or nothing."""
    return kind_of(fields.text("task", "kind", "type", "dataset", default=""))


def kind_of(text: str) -> str:
    """Return the task a name speaks of, or nothing."""
    lowered = text.lower().replace("_", "-").replace("batch", "")
    for kind, hints in _KIND_HINTS:
        if any(hint in lowered for hint in hints):
            return kind
    return ""


def own_pool(language: str, length: int) -> str:
    """Return the filler pool that serves a length: one of few, so that suites share their text."""
    sizes = (160_000, 320_000, 1_100_000)
    size = next((size for size in sizes if length <= size), length)
    return pool_name(CODES[language], size)


def default_haystack(files: DataFiles, language: str, length: int) -> str:
    """Return the upstream's file if the data folder holds it, else our filler."""
    upstream = _HAYSTACKS[language]
    return upstream if files.has(upstream) else own_pool(language, length)


def default_needle_file(files: DataFiles, version: str, kind: str, language: str) -> str:
    """Return the upstream's needle or names file if the data folder holds it, else ours."""
    if kind in (SINGLE, RETRIEVAL):
        upstream, own = "needles.jsonl", OWN_NEEDLES
    elif kind == REASONING and version == "v1":
        upstream, own = _REASONING_FILES[language], OWN_REASONING
    else:
        upstream, own = "names.json", OWN_NAMES
    return upstream if files.has(upstream) else own


def _suite(draw: Fields) -> str:
    """Return the size a suite's name ends in (``needlebench_v2_32k``), or nothing."""
    sizes = re.findall(r"\d+k", draw.text("suite", default="").lower())
    return str(sizes[-1]) if sizes else ""


def _language(draw: Fields) -> str:
    text = draw.text("language", "lang", default="English").lower()
    for language, code in CODES.items():
        if re.split("[-_]", text)[0] in (language.lower(), code):
            return language
    raise EvalError(f"The language is English or Chinese, not {text!r}.")


def _needle_file(draw: Fields, files: DataFiles, version: str, kind: str, language: str) -> str:
    named = draw.text("needle_file_name", "needle_file", "names_file", "file_name", default="")
    if named:
        return named.rsplit("/", 1)[-1]
    return default_needle_file(files, version, kind, language)


def _haystack(draw: Fields, files: DataFiles, language: str, length: int) -> str:
    names = draw.texts("file_list", "haystack", "haystack_file", "files", "file")
    if names is None:
        return default_haystack(files, language, length)
    if len(names) != 1:
        raise EvalError("A draw is one prompt; name the one haystack file it is made from.")
    return names[0].rsplit("/", 1)[-1]


def _num_needles(draw: Fields) -> int:
    names = ["num_needles", "n_needles", "needle_count"]
    if isinstance(draw.find("needles"), int):
        names.append("needles")
    return draw.number(*names, default=2, least=1, most=100_000)


def _records(draw: Fields) -> tuple[Mapping[str, str], ...]:
    """Return the needle records a draw spells out instead of naming a file to choose from."""
    found = draw.find("needles", "records")
    listed = found if isinstance(found, list | tuple) else [found]
    records = [Fields(item, what="needle") for item in listed if isinstance(item, Mapping)]
    names = ("needle", "arg1", "arg2", "retrieval_question")
    return tuple({name: record.text(name) for name in names} for record in records)


def _depths(draw: Fields, kind: str) -> tuple[float, ...]:
    if kind == ATC:
        return ()
    one, many = ("depth", "depth_percent"), ("depths", "depths_list")
    names = (*many, *one) if kind == RETRIEVAL else (*one, *many)
    value = draw.find(*names)
    if value is None and kind == RETRIEVAL:
        return DEPTHS
    if value is None:
        raise EvalError("The draw needs the field 'depth', in percent.")
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise EvalError("The draw's 'depths' are an empty list.")
    if len(values) > 1 and kind != RETRIEVAL:
        raise EvalError(f"A {kind} draw has one depth, not {len(values)}; make a draw of each.")
    return tuple(_percent(item) for item in values)


def _percent(value: object) -> float:
    try:
        depth = float(str(value))
    except ValueError:
        depth = -1.0
    if not 0 <= depth <= 100:
        raise EvalError(f"Depths and diff lie between 0 and 100 percent, not at {value!r}.")
    return int(depth) if depth.is_integer() else depth


def _at_start(draw: Fields) -> bool:
    text = draw.text("quesiton_position", "question_position", "position", default="End").lower()
    if text not in ("start", "end"):
        raise EvalError(f"The question's position is Start or End, not {text!r}.")
    return text == "start"


_QUESTION_TYPES = ("eldest_ancestor", "nth_ancestor", "nth_descendant", "relationship_distance")


def _question_type(draw: Fields) -> int:
    text = draw.text("question_type", "atc_type", default="0").lower().rsplit(".", 1)[-1]
    if text in _QUESTION_TYPES:
        return _QUESTION_TYPES.index(text)
    number = Fields({"question_type": text}).number("question_type")
    if not 0 <= number < len(_QUESTION_TYPES):
        raise EvalError(f"question_type is 0 to 3 or one of {', '.join(_QUESTION_TYPES)}.")
    return number
