import json
from collections import Counter
from pathlib import Path

import pytest

from sculptor.errors import EvalError
from sculptor.evals.needlebench.atc import ROTATIONS
from sculptor.evals.needlebench.metrics import (
    Row,
    challenge_figures,
    effective_needles,
    overall_score,
    task_score,
    weighted_by_needles,
)
from sculptor.evals.needlebench.scorers import retrieval_report
from sculptor.evals.registry import find_task, load_tasks
from sculptor.evals.types import Json, Object
from sculptor.tokens import encoding

MRS: dict[str, Json] = {
    "version": "v2",
    "task": "multi-reasoning",
    "length": 2000,
    "depth": 40,
    "length_buffer": 200,
    "language": "English",
    "num_needles": 3,
    "counter": 1,
}


def text(draw: Object, name: str = "needlebench") -> str:
    return str(find_task(name).sample(draw).messages[0]["content"])


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("needlebench-v2-single-32k", 1980),
        ("needlebench-v2-multi-retrieval-32k", 450),
        ("needlebench-v2-multi-reasoning-32k", 7920),
        ("needlebench-v2-atc", 360),
        ("needlebench-v1-single-4k", 1600),
        ("needlebench-sculptor", 200),
    ],
)
def test_the_suites_have_the_originals_sizes(name: str, count: int) -> None:
    assert len(load_tasks()[name]) == count


def test_a_run_visits_every_cell_once_a_repetition() -> None:
    task = find_task("needlebench-v2-multi-reasoning-4k")
    size = len(task) // 10
    cells = Counter(
        json.dumps({k: v for k, v in task.draw(i).items() if k not in ("index", "counter")})
        for i in range(size)
    )
    assert len(cells) == size
    assert {task.draw(i)["counter"] for i in range(size)} == {0}
    assert task.draw(size)["counter"] == 1
    assert task.draw(0, seed=2)["counter"] == 20
    assert len({task.draw(i)["length"] for i in range(12)}) == 4


@pytest.mark.parametrize(
    ("suite", "language", "buffer"),
    [("4k", "English", 500), ("32k", "English", 3000), ("32k", "Chinese", 200)],
)
def test_buffers_follow_the_suite(suite: str, language: str, buffer: int) -> None:
    draw = {**MRS, "suite": suite, "language": language, "task": "single", "length_buffer": None}
    given = {**draw, "length_buffer": buffer}
    assert text(draw) == text(given)


def test_long_suites_say_that_they_need_more_filler() -> None:
    names = load_tasks()
    assert "needlebench-v2-single-128k" in names
    assert "needlebench-v2-single-256k-filler320k" in names
    assert find_task("needlebench-v2-single-1000k").name.endswith("-filler1100k")


@pytest.mark.parametrize("language", ["English", "Chinese"])
def test_a_document_has_its_length(language: str) -> None:
    full = text({**MRS, "language": language, "task": "single", "depth": 50})
    start, end = (
        ("<Document>\n", "\n</Document>") if language == "English" else ("<文档>\n", "\n</文档>")
    )
    document = full.split(start)[1].split(end)[0]
    assert abs(len(encoding("cl100k_base").encode_ordinary(document)) - 1800) <= 4


def test_with_a_buffer_over_the_length_only_needles_are_left() -> None:
    full = text({**MRS, "length": 1000, "length_buffer": 3000})
    document = full.split("<Document>\n")[1].split("\n</Document>")[0]
    assert len([line for line in document.split("\n") if line]) == 3


@pytest.mark.parametrize(
    "draw",
    [
        {**MRS, "task": "m-rs", "version": 2},
        {**MRS, "task": "NeedleBenchMultiDataset", "language": "en", "repetition": 1},
        {"params": MRS},
        {"draw": {**MRS, "quesiton_position": "End"}},
        {**MRS, "depth": "40", "length": 2000.0, "diff": "10"},
    ],
)
def test_draws_in_other_hands_names(draw: Object) -> None:
    assert text(draw) == text(MRS)


def test_records_can_be_spelled_out() -> None:
    record = {
        "needle": "The tower of Ilm is blue.",
        "arg1": "Ilm",
        "arg2": "blue",
        "retrieval_question": "Which colour? Please answer in the format 'It is ________.'",
    }
    task = find_task("needlebench")
    single = task.sample({**MRS, "task": "single", "needles": [record]})
    assert single.reference == "\nThe tower of Ilm is blue.\n*blue"
    both = [record, {**record, "arg1": "Osk", "arg2": "red"}]
    draw = {**MRS, "task": "multi-retrieval", "depth": None, "depths": [0, 50], "needles": both}
    assert task.sample(draw).reference in ("blue*red#0*50", "red*blue#0*50")
    assert text({**MRS, "num_needles": None, "needles": 3}) == text(MRS)
    with pytest.raises(EvalError, match="arg1"):
        task.sample({**MRS, "task": "single", "needles": [{"needle": "x"}]})


def test_the_tasks_name_stands_in_for_what_the_draw_leaves_out() -> None:
    bare = {k: v for k, v in MRS.items() if k not in ("version", "task")}
    assert text(bare, "needlebench_v2_mrs") == text(MRS)
    assert text({**bare, "depths": [0, 100]}, "needlebench-v1-m-rt").startswith("You are an intel")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 101}, "between 0 and 100"),
        ({"depth": None}, "needs the field .depth"),
        ({"language": "Latin"}, "English or Chinese"),
        ({"version": "v3"}, "v1 or v2"),
        ({"quesiton_position": "Middle"}, "Start or End"),
        ({"file_list": ["a", "b"]}, "one haystack"),
        ({"file_list": ["PaulGrahamEssays.jsonl"]}, "--data"),
        ({"length": None}, "length"),
        ({"task": "atc", "question_type": 9}, "0 to 3"),
        ({"task": "atc", "num_needles": 5000}, "5001 names"),
        ({"task": "multi-reasoning", "version": "v1", "num_needles": 9}, "9 derivations"),
    ],
)
def test_bad_draws_say_what_is_wrong(change: Object, words: str) -> None:
    with pytest.raises(EvalError, match=words):
        text({**MRS, **change})


def test_data_folders_take_the_place_of_our_texts(tmp_path: Path) -> None:
    folder = tmp_path / "needlebench"
    folder.mkdir()
    record = {"text": "Nothing but this line. " * 2000}
    (folder / "PaulGrahamEssays.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    names = {"English": ",".join(f"Name{n} Of{n}" for n in range(20)), "Chinese": "甲乙,丙丁"}
    (folder / "names_substitute.json").write_text(json.dumps(names), encoding="utf-8")
    task = find_task("needlebench-sculptor", tmp_path)
    draw = task.draw(0)
    assert draw["file_list"] == ["PaulGrahamEssays.jsonl"]
    assert draw["needle_file_name"] == "names.json"
    sample = task.sample({**draw, "length": 1000})
    assert "Nothing but this line." in str(sample.messages[0]["content"])
    assert str(sample.reference).startswith("Name")


def test_the_challenges_four_rotations_share_one_story() -> None:
    draw = {"task": "atc", "version": "v1", "num_needles": 5, "counter": 3, "language": "English"}
    samples = [find_task("needlebench").sample({**draw, "variant": r}) for r in ROTATIONS]
    assert [s.reference for s in samples] == [
        "3--A--ABCD",
        "3--D--BCDA",
        "3--C--CDAB",
        "3--B--DABC",
    ]
    stories = {str(s.messages[0]["content"]).split("\nA. ")[0] for s in samples}
    assert len(stories) == 1
    task = find_task("needlebench-v1-atc")
    rows = [(s.params, task.score("The answer is A.", s.reference).value) for s in samples]
    assert [value for _, value in rows] == [100, 0, 0, 0]
    assert task.metrics(rows)["perf_4"] == 0
    right = [(params, 100.0) for params, _ in rows]
    assert task.metrics(right)["perf_4"] == 100


def test_the_elder_only_form() -> None:
    draw = {"task": "atc", "variant": "elder-only", "num_needles": 40, "language": "Chinese"}
    assert "的能够向上追溯到的最年长的亲人是谁" in text(draw)
    assert "\n                \n" in text(draw)


def test_no_kinship_sentence_or_keyword_hides_in_the_filler() -> None:
    sample = find_task("needlebench").sample({**MRS, "task": "single", "length": 60000})
    document = str(sample.messages[0]["content"])
    assert document.count(str(sample.reference).split("*")[1]) == 1


def rows(*cells: tuple[int, float, float], needles: int = 0, language: str = "") -> list[Row]:
    return [
        Row(score=score, length=length, depth=depth, num_needles=needles, language=language)
        for length, depth, score in cells
    ]


def test_lengths_and_depths_weigh_alike() -> None:
    uneven = rows((1000, 0, 100), (1000, 0, 100), (1000, 50, 0), (2000, 0, 0))
    assert task_score(uneven) == 25
    assert task_score([*rows((1, 0, 100), needles=2), *rows((1, 0, 0), (1, 0, 0), needles=3)]) == 50


def test_overall_figures() -> None:
    scores = {"single": 100.0, "multi-retrieval": 50.0, "multi-reasoning": 0.0}
    assert overall_score(scores, version="v1") == pytest.approx(55)
    assert overall_score(scores, version="v2") == pytest.approx(50)


@pytest.mark.parametrize(
    ("by_count", "short", "weighted", "enl"),
    [
        ((100, 100, 87.5, 95, 97.5, 90, 70, 65, 15), 92.86, 44.01, 256),
        ((100, 95, 87.5, 82.5, 75, 62.5, 37.5, 2.5, 0), 71.43, 14.13, 64),
        ((92.5, 62.5, 45, 10, 0, 0, 2.5, 0, 0), 7.58, 1.25, 4),
    ],
)
def test_the_challenges_published_figures(
    by_count: tuple[float, ...], short: float, weighted: float, enl: int
) -> None:
    accuracy = {2 ** (n + 1): value for n, value in enumerate(by_count)}
    assert weighted_by_needles(accuracy) == pytest.approx(weighted, abs=0.006)
    first = {count: value for count, value in accuracy.items() if count <= 64}
    assert weighted_by_needles(first) == pytest.approx(short, abs=0.006)
    assert effective_needles(accuracy) == enl
    table = [Row(score=value, num_needles=count) for count, value in accuracy.items()]
    assert challenge_figures(table)["enl_50"] == enl


def test_the_retrieval_report_reads_depths_from_the_first_reference() -> None:
    report = retrieval_report(["a c", "c"], ["a*b#0*50", "c*d#10*60"])
    assert report == {"Depth0": 100.0, "Depth50": 0.0, "average_score": 50.0}


@pytest.mark.parametrize("reference", [None, [1], {"x": 1}])
def test_references_are_strings(reference: Json) -> None:
    with pytest.raises(EvalError):
        find_task("needlebench").score("x", reference)
