import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.evals.pi_llm.metrics import (
    Row,
    answer_positions,
    interference_endurance,
    normalized_entropy,
    position_entropy,
    summarize,
    weighted_accuracy,
)

UPDATES = (2, 3, 4, 6, 8, 12, 17, 24, 34, 48, 68, 97, 139, 197, 281, 400)


def rows(*cells: tuple[float, int], experiment: str = "exp_updates") -> list[Row]:
    return [Row(accuracy=value, n_updates=count, experiment=experiment) for value, count in cells]


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 400)), min_size=1), st.floats(1.1, 20))
def test_the_base_of_the_weights_cancels(cells: list[tuple[float, int]], base: float) -> None:
    table = rows(*cells)
    assert weighted_accuracy(table, base=base) == pytest.approx(weighted_accuracy(table))


def test_harder_rows_weigh_more() -> None:
    figures = summarize(rows((1.0, 2), (0.0, 400)))
    assert figures["avg_accuracy"] == 0.5
    assert figures["auc_log1.5"] == pytest.approx(0.6931 / (0.6931 + 5.9915), abs=1e-4)
    assert set(figures) == {"avg_accuracy", "auc_log1.5", "total_samples"}


def test_two_difficulties_are_told_by_the_first_row_alone() -> None:
    cells = ((1.0, 4), (0.5, 4), (0.25, 20), (0.75, 10))
    figures = summarize(rows(*cells, experiment="exp_valuelength"))
    assert figures["auc_log1.5_easy"] == 0.75
    assert figures["auc_log1.5_hard"] == 0.25
    easy_only = summarize(rows((1.0, 125), experiment="exp_keys"))
    assert easy_only["auc_log1.5_hard"] == 0.0


def test_no_rows_give_zeros() -> None:
    assert summarize([]) == {"avg_accuracy": 0.0, "auc_log1.5": 0.0, "total_samples": 0}
    assert interference_endurance([]) == 0.0


def test_endurance_is_one_for_a_perfect_model_and_averages_a_line() -> None:
    assert interference_endurance(rows(*((1.0, count) for count in UPDATES))) == pytest.approx(1)
    assert interference_endurance(rows((1.0, 2), (0.0, 8))) == pytest.approx(0.5)
    assert interference_endurance(rows((0.4, 8))) == 0.4


def test_positions_in_the_history() -> None:
    pairs = [("a", "x"), ("b", "p"), ("a", "y"), ("c", "z"), ("a", "z")]
    answers = {"a": "y", "b": "nothing"}
    assert answer_positions(answers, pairs, ["a", "b", "c"]) == [1, -1, -2]
    assert answer_positions(None, pairs, ["a"]) == []


def test_entropy() -> None:
    assert normalized_entropy([1, 1, 1, 1]) == pytest.approx(1)
    assert normalized_entropy([5, 0, 0]) == 0
    assert position_entropy([0] * 10 + [1] * 10, updates=2) == pytest.approx(1)
    assert position_entropy([0] * 19 + [-1, -2], updates=2) is None
