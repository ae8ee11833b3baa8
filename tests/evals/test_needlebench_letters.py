import pytest

from sculptor.evals.needlebench.corrected import read_settled_letter
from sculptor.evals.needlebench.letters import read_letter
from sculptor.evals.registry import find_task

SETTLED = [
    ("A", "A"),
    ("Answer: C", "C"),
    ("回答: D", "D"),
    ("B. Jasmine Lane", "B"),
    ("The answer is (B).", "B"),
    ("Therefore, the eldest relative is Sharon House. The answer is: C", "C"),
    ("因此能够向上追溯到的最年长的亲人是焦慧。所以答案是：D", "D"),
    ("答案选 B", "B"),
    ("The correct answer is **C**", "C"),
]


@pytest.mark.parametrize(("reply", "letter"), SETTLED)
def test_a_settled_letter_is_read_by_both(reply: str, letter: str) -> None:
    assert read_letter(reply) == letter
    assert read_settled_letter(reply) == letter


@pytest.mark.parametrize(
    ("reply", "original", "corrected"),
    [
        ("", "", ""),
        ("nobody can say", "", ""),
        ("Because nobody is older.", "B", ""),
        ("answer: d", "", "D"),
        ("The answer is A. No, the answer is B, I think", "A", "B"),
        ("The answer is a good question", "", ""),
        ("1. CxB", "B", ""),
        ("答案是ＢＣ", "", ""),
        ("（Ｂ）", "", "B"),
        (r"So the answer is \boxed{D}", "D", "D"),
        ("D: no, C: no", "D", "D"),
    ],
)
def test_where_they_differ(reply: str, original: str, corrected: str) -> None:
    assert read_letter(reply) == original
    assert read_settled_letter(reply) == corrected


def test_the_scorers_use_their_own_reader() -> None:
    task = find_task("needlebench-v1-atc")
    params = {"version": "v1", "task": "atc"}
    prose = "Because nobody is older."
    scores = [
        task.score(prose, "0--B--ABCD", scorer=scorer, params=params).value
        for scorer in ("original", "corrected")
    ]
    assert scores == [100.0, 0.0]
