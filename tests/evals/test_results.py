from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.errors import EvalError
from sculptor.evals.report import write_report
from sculptor.evals.report.charts import charts_of
from sculptor.evals.report.svg import heat_colour, short_number
from sculptor.evals.runs.comparison import compare
from sculptor.evals.runs.plan import ensure_plan, make_plan
from sculptor.evals.runs.progress import Prices
from sculptor.evals.runs.records import Record, RecordFile, Totals
from sculptor.evals.runs.results import RunResult, read_run, result_of

PLAN = make_plan("needlebench-v2-single-32k", arms=["plain", "sculptor"], model="m", limit=100)


def record(index: int, score: float | None, *, arm: str = "plain", **changes: Any) -> Record:
    params = {"length": 1000 * (1 + index % 2), "depth": 10 * (index % 3), "language": "English"}
    totals = Totals(
        requests=1,
        calls=2,
        input_tokens=100,
        cached_tokens=40,
        output_tokens=5,
        first_tokens=60,
        last_tokens=30,
        hidden=4,
        restored=1,
        tool_calls={"fold_fragment": 2},
        seconds=0.5,
    )
    made = Record(arm=arm, index=index, id=f"s{index}", score=score, params=params, totals=totals)
    return replace(made, **changes)


def result(records: list[Record], prices: Prices | None = None) -> RunResult:
    return result_of("r", PLAN, records, prices=prices or Prices())


def test_sums_and_ratios() -> None:
    records = [record(index, 100.0 if index < 6 else 0.0) for index in range(12)]
    total = result(records, Prices(input=1.0, cached=0.5, output=10.0)).arms["plain"].total
    assert total.accuracy is not None
    assert (total.n, total.accuracy.mean, total.accuracy.n) == (12, 0.5, 12)
    assert total.accuracy.low < 0.5 < total.accuracy.high
    assert (total.requests, total.calls, total.most_calls) == (12, 24, 2)
    assert total.prefix_cost_tokens == pytest.approx(12 * (60 + 4))
    assert (total.hidden, total.restored, total.restore_rate) == (48, 12, 0.25)
    assert total.tool_calls == {"fold_fragment": 24}
    assert total.last_to_first == 0.5
    assert total.cost == pytest.approx(12 * (60 + 20 + 50) / 1e6)


def test_errors_and_missing_scores_are_no_zeros() -> None:
    records = [
        record(0, 100.0),
        record(1, None),
        record(2, None, error="500"),
        record(2, 100.0),
        record(3, None, error="500"),
        record(3, None, error="500"),
    ]
    arm = result(records).arms["plain"]
    assert (arm.failed, arm.total.n, arm.total.scored) == (1, 3, 2)
    assert arm.total.accuracy is not None
    assert arm.total.accuracy.mean == 1.0


def test_cells_are_what_varies_and_sum_to_all() -> None:
    found = result([record(index, 50.0) for index in range(30)])
    assert found.cell_names == ("length", "depth")
    cells = found.arms["plain"].cells
    assert sum(figures.n for figures in cells.values()) == 30
    assert [dict(cell)["length"] for cell in cells] == [1000] * 3 + [2000] * 3


def test_samples_over_the_budget_are_counted() -> None:
    records = [record(0, 1.0, budget_tokens=29), record(1, 1.0, budget_tokens=30)]
    assert result(records).arms["plain"].total.over_budget == 1


def test_heat_maps_by_depth_and_length() -> None:
    charts = charts_of([result([record(index, 50.0) for index in range(30)])])
    heat = next(chart for chart in charts if chart.name.endswith("heat"))
    assert heat.svg.count("<title>50.0 %, n = 5</title>") == 6
    assert "depth" in heat.svg


@given(st.floats(0, 1))
def test_colours_are_colours(value: float) -> None:
    assert len(heat_colour(value)) == 7
    assert int(heat_colour(value)[1:], 16) >= 0


def test_short_numbers() -> None:
    assert [short_number(x) for x in (2, 16000, 1.5e6)] == ["2", "16k", "1.5M"]


def write(folder: Path, records: list[Record], **changes: Any) -> str:
    with RecordFile(folder) as file:
        ensure_plan(folder, replace(PLAN, **changes))
        for each in records:
            file.append(orjson.dumps(asdict(each)))
    return str(folder)


def test_compare_pairs_by_sample(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [record(i, 100.0 * (i % 2)) for i in range(20)])
    second = write(tmp_path / "b", [record(i, 100.0, arm="sculptor") for i in range(2, 25)])
    found = compare(f"{first}:plain", f"{second}:sculptor")
    assert (found.n, found.unpaired) == (18, 7)
    assert found.difference.interval.mean == pytest.approx(0.5)
    assert found.full_marks.only_second == 9
    assert found.full_marks.p_value == pytest.approx(2 / 2**9)
    assert read_run(Path(first)).arms["plain"].total.n == 20


def test_what_does_not_pair_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [record(0, 1.0)])
    other = write(tmp_path / "b", [record(0, 1.0)], seed=3)
    with pytest.raises(EvalError, match="differ in seed"):
        compare(f"{first}:plain", f"{other}:plain")
    swapped = write(tmp_path / "c", [replace(record(0, 1.0), id="other")])
    with pytest.raises(EvalError, match="other samples"):
        compare(f"{first}:plain", f"{swapped}:plain")
    with pytest.raises(EvalError, match="no scored sample"):
        compare(f"{first}:plain", f"{first}:sculptor")
    with pytest.raises(EvalError, match="no arm"):
        compare(f"{first}:x", f"{first}:plain")


def test_each_kind_of_tool_call_has_its_line_and_words_stand_to_the_left(tmp_path: Path) -> None:
    calls = Totals(requests=1, tool_calls={"fold_fragment": 2, "search_context": 1000})
    write_report([result([record(0, 1.0, totals=calls)])], tmp_path, title="T")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<td class="words">fold_fragment 2\nsearch_context 1,000</td>' in page
    assert '<th class="words">arm</th>' in page
    assert '<td class="long">' in page
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| fold_fragment 2, search_context 1,000 |" in text
    assert all(line.count("|") == 15 for line in text.splitlines() if line.startswith("| plain"))
