"""The suites of NeedleBench v1 and v2, and the multi-reasoning settings of the Sculptor paper."""

from collections.abc import Iterable, Sequence

from sculptor.evals.files import DataFiles
from sculptor.evals.filler import open_pool
from sculptor.evals.needlebench.case import (
    LANGUAGES,
    default_haystack,
    default_needle_file,
)
from sculptor.evals.needlebench.grids import (
    ATC,
    REASONING,
    RETRIEVAL,
    SINGLE,
    V1_LENGTHS,
    V2_LENGTHS,
    default_buffer,
    depths_of,
)
from sculptor.evals.needlebench.task import NeedleBench
from sculptor.evals.types import Json, Object

NEEDLE_COUNTS = (2, 3, 4, 5)
ATC_COUNTS = (2, 4, 8, 16, 32, 64, 128, 256, 512)

# The Sculptor paper does not state its buffer. With 200 even 1,000 tokens hold a document.
SCULPTOR_LENGTHS = (1000, 2000, 16000, 64000, 128000)
SCULPTOR_DEPTH = 40
SCULPTOR_BUFFER = 200

_TITLES = {
    SINGLE: "one needle",
    RETRIEVAL: "a needle at every depth, all asked for",
    REASONING: "kinship chains of 2 to 5 needles",
}


def needlebench_tasks(files: DataFiles) -> list[NeedleBench]:
    """Return every NeedleBench task; upstream's texts are used where the data folder has them."""
    tasks = [
        _suite(version, kind, suite, lengths, files)
        for version, suites in (("v2", V2_LENGTHS), ("v1", V1_LENGTHS))
        for kind in (SINGLE, RETRIEVAL, REASONING)
        for suite, lengths in suites.items()
    ]
    return [*tasks, _challenge("v2", files), _challenge("v1", files), _sculptor(files)]


def _suite(
    version: str, kind: str, suite: str, lengths: Sequence[int], files: DataFiles
) -> NeedleBench:
    cells = tuple(_cells(version, kind, suite, lengths, files))
    return NeedleBench(
        name=f"needlebench-{version}-{kind}-{suite}{_filler_suffix(cells)}",
        summary=f"{_TITLES[kind]}, up to {suite} tokens, English and Chinese",
        version=version,
        kind=kind,
        cells=cells,
        repetitions=25 if kind == RETRIEVAL else 10,
        files=files,
    )


def _cells(
    version: str, kind: str, suite: str, lengths: Iterable[int], files: DataFiles
) -> Iterable[Object]:
    depths = depths_of(version, suite)
    for language in LANGUAGES:
        for length in lengths:
            cell: dict[str, Json] = {
                "version": version,
                "task": kind,
                "suite": suite,
                "language": language,
                "length": length,
                "length_buffer": default_buffer(version, kind, language, suite, length),
                "file_list": [default_haystack(files, language, max(lengths))],
                "needle_file_name": default_needle_file(files, version, kind, language),
            }
            if kind == RETRIEVAL:
                yield {**cell, "depths": list(depths)}
                continue
            counts = NEEDLE_COUNTS if kind == REASONING else (1,)
            for count in counts:
                for depth in depths:
                    yield {**cell, "depth": depth, "num_needles": count, "diff": 10}


def _filler_suffix(cells: Sequence[Object]) -> str:
    """Return what a name adds when its suite needs more filler than the common pool."""
    pools = [open_pool(str(name)) for cell in cells for name in _listed(cell["file_list"])]
    most = max((pool.count for pool in pools if pool is not None), default=0)
    return f"-filler{most}k" if most > 160 else ""


def _listed(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list | tuple) else ()


def _challenge(version: str, files: DataFiles) -> NeedleBench:
    name = default_needle_file(files, version, ATC, "English")
    common: dict[str, Json] = {
        "version": version,
        "task": ATC,
        "needle_file_name": name,
        "language": "English",
    }
    if version == "v2":
        cells: list[Object] = [
            {**common, "num_needles": count, "question_type": question}
            for question in range(4)
            for count in ATC_COUNTS
        ]
    else:
        cells = [
            {**common, "language": language, "num_needles": count, "variant": "free"}
            for language in LANGUAGES
            for count in range(2, 100, 3)
        ]
    return NeedleBench(
        name=f"needlebench-{version}-atc",
        summary="the Ancestral Trace Challenge: nothing but kinship sentences",
        version=version,
        kind=ATC,
        cells=tuple(cells),
        repetitions=10 if version == "v2" else 30,
        files=files,
    )


def _sculptor(files: DataFiles) -> NeedleBench:
    cells: tuple[Object, ...] = tuple(
        {
            "version": "v2",
            "task": REASONING,
            "suite": "sculptor",
            "language": "English",
            "length": length,
            "length_buffer": SCULPTOR_BUFFER,
            "file_list": [default_haystack(files, "English", max(SCULPTOR_LENGTHS))],
            "needle_file_name": default_needle_file(files, "v2", REASONING, "English"),
            "depth": SCULPTOR_DEPTH,
            "num_needles": count,
            "diff": 10,
        }
        for length in SCULPTOR_LENGTHS
        for count in NEEDLE_COUNTS
    )
    return NeedleBench(
        name="needlebench-sculptor",
        summary="kinship chains of 2 to 5 needles at depth 40 %: the Sculptor paper's settings",
        version="v2",
        kind=REASONING,
        cells=cells,
        repetitions=10,
        files=files,
    )
