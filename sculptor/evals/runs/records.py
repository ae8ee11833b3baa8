"""One JSON line a sample and arm, appended when it is finished.

A line is written whole or counts as not written: what a killed process left of its last line is
cut off when the file is opened again. A line with an error is kept as a trace and does not finish
its sample. While a run is open its file is locked, so that two runners never mix their lines.
"""

import fcntl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from sculptor.errors import EvalError

RECORDS_FILE = "samples.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What answering one sample took, summed over all requests of the arm.

    ``calls`` are calls of the model: a request to the proxy takes one for each step.
    ``first_tokens`` and ``last_tokens`` are the prompts of the first and the last of them;
    ``restored`` counts fragments brought back of those ``hidden``.
    """

    requests: int = 0
    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    first_tokens: int = 0
    last_tokens: int = 0
    hidden: int = 0
    restored: int = 0
    tool_calls: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line without its trace."""

    arm: str
    index: int
    id: str
    score: float | None
    params: Mapping[str, Any]
    totals: Totals
    budget_tokens: int | None = None
    error: str | None = None


def read_record(line: bytes) -> Record:
    """Read one line."""
    value = orjson.loads(line)
    return Record(
        arm=value["arm"],
        index=value["index"],
        id=value["id"],
        score=value["score"],
        params=value["params"],
        totals=Totals(**value["totals"]),
        budget_tokens=value["budget_tokens"],
        error=value["error"],
    )


def iter_records(folder: Path) -> Iterator[Record]:
    """Yield the records of a run in the order they were written, but for a torn last line."""
    path = folder / RECORDS_FILE
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield read_record(line)


class RecordFile:
    """A run's records, open for appending; holds the lock until closed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / RECORDS_FILE).open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise EvalError(f"Another run is writing to {folder}.") from None
        _cut_torn_line(folder / RECORDS_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self._file.close()

    def append(self, line: bytes) -> None:
        """Write one line through to the operating system."""
        self._file.write(line + b"\n")
        self._file.flush()


def _cut_torn_line(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb+") as file:
        end = size
        while end:
            start = max(0, end - 65_536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
