"""The recipe of the model's figures: cut, resumed by another number of processes, and told."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sculptor.errors import EvalError
from sculptor.evals.registry import find_task
from sculptor.evals.runs.records import Totals
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.server.mom.asking import AskReader
from tests.server.mom.builders import NAME, write_weights

RECIPE = Path(__file__).parents[3] / "evals" / "recipes" / "mom" / "model_figures.py"


def _run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RECIPE), *map(str, words), "--n", "1", "--max-tokens", "8"]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def _lines(out: Path) -> dict[Path, list[dict[str, Any]]]:
    """Return the whole lines of every file of records."""
    return {
        file.relative_to(out / "runs"): [
            json.loads(line) for line in file.read_text().splitlines(True) if line.endswith("\n")
        ]
        for file in sorted(out.glob("runs/*/*/samples.jsonl"))
    }


def test_figures_are_made_resumed_and_told_again(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "weights"), tmp_path / "out"
    first = _run(weights, "--out", out, "--processes", "1", "--cells", "tool-log:sculptor")
    assert first.returncode == 0, first.stderr
    (file,) = _lines(out)
    whole = (out / "runs" / file).read_bytes()
    # What a kill leaves: the last line torn. Its sample alone is done again, and by either process.
    (out / "runs" / file).write_bytes(whole[:-40])
    second = _run(weights, "--out", out, "--processes", "2", "--cells", "tool-log")
    assert second.returncode == 0, second.stderr
    assert "/4 begun" in second.stdout
    done = [(f.parts[0], line["index"]) for f, lines in _lines(out).items() for line in lines]
    assert sorted(done) == [
        (cell, index) for cell in ("tool-log-plain", "tool-log-sculptor") for index in range(3)
    ]
    result = json.loads((out / "result.json").read_text())
    assert result["weights"]["name"] == NAME
    assert result["commit"]
    assert (result["sittings"], result["how"]["processes"]) == (2, 2)
    assert [(cell["task"], cell["arm"]) for cell in result["cells"]] == [
        ("tool-log", "sculptor"),
        ("tool-log", "plain"),
    ]
    tools, plain = (cell["total"] for cell in result["cells"])
    assert (tools["n"], plain["n"], tools["accuracy"]["n"]) == (3, 3, 3)
    assert tools["against_plain"]["interval"]["n"] == 3
    assert plain["against_plain"] is None
    assert tools["asked"]["missing"] == 24
    assert tools["failures"] == {"cut at the limit of tokens": 3}
    assert [s["setting"] for s in result["cells"][0]["settings"]] == [
        {"log_lines": 5}, {"log_lines": 20}, {"log_lines": 80},
    ]  # fmt: skip
    page = (out / "report.md").read_text()
    assert "| tool-log, plain | 3 | 0.0 % (0.0 to 0.0) | – |" in page
    (out / "report.md").unlink()
    assert _run(weights, "--out", out, "--report-only").returncode == 0
    assert (out / "report.md").read_text() == page
    assert (out / "tool-log.svg").read_text().startswith("<svg")

    wrong = _run(weights, "--out", out, "--cells", "tool-logs")
    assert wrong.returncode == 2
    assert "No cell tool-logs; there are pi-llm-sculptor:sculptor" in wrong.stderr


def test_a_folder_takes_samples_of_one_way_of_writing_alone(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "weights"), tmp_path / "out"
    words = ("--out", out, "--processes", "1")
    done = _run(weights, *words, "--cells", "tool-log:sculptor", "--unheld")
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "result.json").read_text())
    assert result["how"]["unheld"]
    assert result["cells"][0]["total"]["n"] == 3
    assert ", nothing held to its form; answered" in (out / "report.md").read_text()
    mixed = _run(weights, *words, "--cells", "tool-log:plain")
    assert mixed.returncode == 2
    assert "holds samples with unheld = True; name another folder" in mixed.stderr


@pytest.fixture
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPE.parent))


@pytest.mark.usefixtures("_beside")
def test_a_server_let_go_holds_nothing_to_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AskReader, "read", AskReader.read)  # put back afterwards
    reader = AskReader(load_tokenizer(), window_tokens=16_384)
    body = b'{"messages": [{"role": "user", "content": "Hi"}]}'
    assert reader.read(body).request.mask is not None
    import_module("model_worker")._let_go()
    assert reader.read(body).request.mask is None
    assert reader.read(body).request.tokens


@pytest.mark.usefixtures("_beside")
@pytest.mark.usefixtures("_beside")
def test_cells_answered_before_are_taken_over_with_their_origin(tmp_path: Path) -> None:
    from model_records import cells_before

    earlier = {
        "command": "python figures.py", "commit": "abc", "made": "2026-11-28",
        "machine": {"device": "a card"}, "weights": {"fingerprint": "mom_1"},
        "cells": [{"task": "a", "arm": "plain"}, {"task": "a", "arm": "sculptor"}],
    }  # fmt: skip
    path = tmp_path / "result.json"
    path.write_text(json.dumps(earlier))
    now = {"weights": {"fingerprint": "mom_1"}, "cells": [{"task": "a", "arm": "sculptor"}]}
    (taken,) = cells_before(path, now)
    assert (taken["task"], taken["arm"]) == ("a", "plain")
    assert taken["before"]["device"] == "a card"
    assert taken["before"]["commit"] == "abc"
    with pytest.raises(EvalError, match="of the weights mom_1"):
        cells_before(path, now | {"weights": {"fingerprint": "mom_2"}})
    path.write_text("[]")
    with pytest.raises(EvalError, match="is no result of this program"):
        cells_before(path, now)


def test_a_cut_leaves_every_cell_a_part_of_every_setting() -> None:
    cells = import_module("model_cells")
    chosen = cells.chosen_cells([], 20)
    jobs = cells.jobs_of(chosen, done=())
    assert len(set(jobs)) == len(jobs) == 20 * sum(cell.settings for cell in chosen)
    early = Counter(job.cell for job in jobs[: len(jobs) // 2])
    assert early.keys() == cells.CELLS.keys()
    assert early["pi-llm-sculptor:sculptor"] == 140
    assert 140 > early["pi-llm-sculptor:plain"] > early["ruler-own-vt:plain"]
    cell = cells.CELLS["needlebench-v2-multi-reasoning-128k:plain"]
    draws = [find_task(cell.task).draw(index) for index in cells.indexes_of(cell, 20)]
    counts = Counter((draw["length"], draw["num_needles"]) for draw in draws)
    assert set(counts.values()) == {20}
    assert len(counts) == cell.settings
    assert {str(draw["language"]) for draw in draws} == {"English"}
    assert len({str(draw["depth"]) for draw in draws}) == 11


@pytest.mark.usefixtures("_beside")
def test_cells_are_chosen_by_name_with_a_number_of_samples_each() -> None:
    cells = import_module("model_cells")
    chosen = cells.chosen_cells(["tool-log:plain=7", "pi-llm-long", "ruler-own-vt=3"], 20)
    assert {cell.name: n for cell, n in chosen.items()} == {
        "tool-log:plain": 7,
        "pi-llm-long:sculptor": 20,
        "pi-llm-long:plain": 20,
        "ruler-own-vt:sculptor": 3,
        "ruler-own-vt:plain": 3,
    }
    assert len(cells.jobs_of(chosen, done=())) == 7 * 3 + 2 * 20 * 3 + 2 * 3 * 6
    for odd in ("tool-log=0", "tool-log=many", "tool-log=-1", "tool-log=²"):
        with pytest.raises(EvalError, match=f"No number of samples: {odd}"):
            cells.chosen_cells([odd], 20)
    with pytest.raises(EvalError, match="No cell tool-logs; there are pi-llm-sculptor:sculptor,"):
        cells.chosen_cells(["tool-logs=3"], 20)


@pytest.mark.usefixtures("_beside")
def test_calls_are_counted_and_failures_have_their_first_reason() -> None:
    numbers, records = import_module("model_numbers"), import_module("model_records")
    cell = import_module("model_cells").CELLS["needlebench-sculptor:sculptor"]
    cases: tuple[dict[str, Any], ...] = (
        {"score": 100.0},
        {"steps": 20},
        {"finish": "length"},
        {"reply": " "},
        {"answer": "None"},
        {"answer": "Ann"},
    )
    rows = {
        index: json.loads(records.shortened(json.dumps(_row(index, **how)).encode(), traced=False))
        for index, how in enumerate(cases)
    }
    assert all("trace" not in row for row in rows.values())
    plain = {0: rows[3], 7: rows[3]}
    (setting,) = numbers.cell_json(cell, rows, plain, full_score=100.0)["settings"]
    assert setting["setting"] == {"length": 1000, "num_needles": 2}
    assert setting["accuracy"]["mean"] == pytest.approx(1 / 6)
    assert (setting["calls"], setting["refused"], setting["took_effect"]) == (12, 6, 0.5)
    assert setting["against_plain"]["interval"] == {"mean": 1, "low": 1, "high": 1, "n": 1}
    assert setting["failures"] == {
        "steps used up": 1, "cut at the limit of tokens": 1, "no answer": 2, "wrong value": 1,
    }  # fmt: skip
    assert setting["billed_tokens"] == 60


def _row(index: int, *, score: float = 0.0, steps: int = 1, **how: Any) -> dict[str, Any]:
    results = [{"role": "tool", "content": text} for text in ('{"results": []}', '{"error": {}}')]
    told = {"finish_reason": how.get("finish", "stop"), "message": {}}
    totals = Totals(calls=2, input_tokens=10, output_tokens=3, seconds=0.5)
    return {
        "index": index,
        "score": score,
        "error": None,
        "params": {"length": 1000, "num_needles": 2},
        "reply": how.get("reply", "told"),
        "reference": "Eve",
        "detail": {"answer": how["answer"]} if "answer" in how else {},
        "totals": asdict(totals),
        "trace": [
            {
                "answer": {"choices": [told], "x_context": {"steps": steps}},
                "steps": [{"messages": [{"role": "assistant"}, *results]}],
            }
        ],
    }
