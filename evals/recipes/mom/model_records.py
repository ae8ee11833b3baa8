"""What is kept of each sample, in files that several processes write and one reads.

``runs/CELL/WORKER/samples.jsonl`` holds a line a sample, as any run's does; what a trace says of
the model's own calls is counted into ``told``, and the trace itself kept for the first samples
of each setting alone: the whole would be a hundred times as much.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from model_cells import Cell, Job

from sculptor.errors import EvalError
from sculptor.evals.runs.records import RECORDS_FILE, RecordFile

TRACED = 2
"""Samples of each setting whose traces are kept."""

Row = Mapping[str, Any]


class CellFiles:
    """One worker's files, each opened, and locked, when its first line comes."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._folder, self._worker = folder, f"{worker:03d}"
        self._files: dict[str, RecordFile] = {}

    def append(self, cell: Cell, index: int, line: bytes) -> None:
        """Keep one finished sample."""
        file = self._files.get(cell.name)
        if file is None:
            file = RecordFile(cell_folder(self._folder, cell) / self._worker)
            self._files[cell.name] = file
        file.append(shortened(line, traced=index < TRACED * cell.settings))

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.__exit__()


def cell_folder(folder: Path, cell: Cell) -> Path:
    """Return where a cell's plan and records lie."""
    return folder / "runs" / f"{cell.task}-{cell.arm}"


def rows_of(folder: Path, cell: Cell) -> dict[int, Row]:
    """Return a cell's rows by number: finished ones, else failed ones."""
    rows: dict[int, Row] = {}
    for row in _read(sorted(cell_folder(folder, cell).glob(f"*/{RECORDS_FILE}"))):
        if row["index"] not in rows or rows[row["index"]]["error"] is not None:
            rows[row["index"]] = row
    return dict(sorted(rows.items()))


def done_jobs(folder: Path, cells: Sequence[Cell]) -> set[Job]:
    """Return the samples that need no second try."""
    return {
        Job(cell.name, index)
        for cell in cells
        for index, row in rows_of(folder, cell).items()
        if row["error"] is None
    }


def cells_before(path: Path, value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the cells of an earlier ``result.json`` that a result lacks, with their origin.

    Raises:
        EvalError: the earlier one is of other weights, or is none.
    """
    try:
        result = orjson.loads(path.read_bytes())
        weights, cells = result["weights"]["fingerprint"], result["cells"]
    except (OSError, ValueError, TypeError, KeyError) as problem:
        raise EvalError(f"{path} is no result of this program: {problem!r}") from problem
    if weights != value["weights"]["fingerprint"]:
        raise EvalError(f"{path} is of the weights {weights}, not of those that are examined here.")
    origin = {name: result[name] for name in ("command", "commit", "made")}
    origin |= {"device": result["machine"]["device"], "note": result.get("note", "")}
    here = {(cell["task"], cell["arm"]) for cell in value["cells"]}
    return [{"before": origin} | cell for cell in cells if (cell["task"], cell["arm"]) not in here]


def shortened(line: bytes, *, traced: bool) -> bytes:
    """Return a record with its calls counted, and without its trace unless that is to be kept."""
    row = orjson.loads(line)
    row["told"] = _told(row["trace"])
    if not traced:
        del row["trace"]
    return orjson.dumps(row)


def _told(trace: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    results = list(_results(trace))
    last = trace[-1]["answer"] if trace else {}
    return {
        "calls": len(results),
        "refused": sum("error" in result for result in results),
        "steps": (last.get("x_context") or {}).get("steps", 0),
        "finish": last["choices"][0]["finish_reason"] if last else None,
    }


def _results(trace: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield what the context's tools answered the model."""
    for sent in trace:
        for step in sent["steps"]:
            for message in step.get("messages") or ():
                if message.get("role") == "tool":
                    yield orjson.loads(message["content"])


def _read(paths: Iterable[Path]) -> Iterator[Row]:
    for path in paths:
        with path.open("rb") as file:
            # A line cut by a kill is left out; its sample is done again.
            yield from (orjson.loads(line) for line in file if line.endswith(b"\n"))
