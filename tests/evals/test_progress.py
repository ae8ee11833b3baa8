import io

from rich.console import Console

from sculptor.evals.runs.plan import make_plan
from sculptor.evals.runs.progress import Prices, Progress
from sculptor.evals.runs.records import Totals
from sculptor.evals.runs.runner import Finished

PLAN = make_plan("needlebench-v2-atc", arms=["plain", "sculptor"], model="m", limit=10)


def finished(
    index: int, *, score: float | None = 50.0, line: bytes = b"{}", error: str | None = None
) -> Finished:
    totals = Totals(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000)
    return Finished(arm="plain", index=index, line=line, totals=totals, score=score, error=error)


def shown(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(progress.table())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_counts_each_arm() -> None:
    progress = Progress(PLAN, Prices(input=2.0, cached=0.5, output=10.0), Console(quiet=True))
    for index in range(3):
        progress(finished(index))
    progress(finished(3, score=None, error="refused"))
    text = shown(progress)
    assert "3/10" in text
    assert "0/10" in text
    assert "50.0 % (n=3)" in text
    assert "4,000,000" in text
    assert "9.6000" in text
    assert " left" in text


def test_what_was_there_before_tells_nothing_of_the_pace() -> None:
    progress = Progress(PLAN, Prices(), Console(quiet=True))
    progress(finished(0, line=b""))
    assert progress.left_s is None
    progress(finished(1))
    assert progress.left_s is not None
    assert "cost" not in shown(progress)


def test_cached_input_costs_like_input_unless_told() -> None:
    sums = {"input_tokens": 1_000_000, "cached_tokens": 500_000, "output_tokens": 0}
    assert Prices(input=2.0).cost(**sums) == 2.0
    assert Prices(input=2.0, cached=0.0).cost(**sums) == 1.0


def test_a_log_file_gets_the_last_table_with_its_line_ended() -> None:
    file = io.StringIO()
    with Progress(PLAN, Prices(), Console(file=file, width=140)) as progress:
        progress(finished(0))
    assert file.getvalue().count("1/10") == 1
    assert file.getvalue().endswith("\n")


def test_the_last_reasons_are_kept_once_each_and_in_one_line() -> None:
    progress = Progress(PLAN, Prices(), Console(quiet=True))
    progress(finished(0))
    assert progress.reasons == ()
    for error in ("a", "b\n  b", "c", "a", "d" * 400, "d" * 400):
        progress(finished(1, score=None, error=error))
    assert progress.reasons == ("c", "a", "d" * 299 + "…")
