import pytest

from sculptor.evals.fields import Fields
from sculptor.evals.needlebench.case import kind_of, read_version
from sculptor.evals.needlebench.grids import default_buffer, suite_of
from sculptor.evals.registry import find_task, load_tasks
from sculptor.evals.types import Json, Object

V1_ENGLISH = {
    "single": {"4k": 600, "8k": 800, "32k": 3000, "128k": 600, "200k": 600, "1000k": 600},
    "multi-retrieval": {"4k": 1000, "8k": 1300, "32k": 3000, "128k": 3000, "1000k": 3000},
    "multi-reasoning": {"4k": 600, "8k": 1000, "32k": 3000, "128k": 600, "1000k": 600},
}


@pytest.mark.parametrize(
    ("kind", "suite", "buffer"),
    [(kind, suite, size) for kind, sizes in V1_ENGLISH.items() for suite, size in sizes.items()],
)
def test_version_1_keeps_free_what_its_configurations_say(
    kind: str, suite: str, buffer: int
) -> None:
    names = [name for name in load_tasks() if name.startswith(f"needlebench-v1-{kind}-{suite}")]
    task = load_tasks()[names[0]]
    found = {
        (draw["language"], draw["length_buffer"])
        for draw in (task.draw(index) for index in range(0, len(task), 7))
    }
    assert found == {("English", buffer), ("Chinese", 200)}


@pytest.mark.parametrize(
    ("version", "length", "suite"),
    [
        ("v1", 3000, "4k"),
        ("v1", 8000, "8k"),
        ("v1", 9000, "32k"),
        ("v1", 16000, "128k"),
        ("v1", 32000, "32k"),
        ("v1", 5500, "8k"),
        ("v1", 10**7, "1000k"),
        ("v2", 7999, "8k"),
        ("v2", 8001, "32k"),
    ],
)
def test_a_length_without_a_suite_belongs_to_one(version: str, length: int, suite: str) -> None:
    assert suite_of(version, length) == suite


def test_a_draw_without_a_buffer_has_that_of_its_length() -> None:
    draw: dict[str, Json] = {
        "version": "v1",
        "task": "multi-retrieval",
        "length": 6000,
        "depths": [0, 50],
    }
    given = {**draw, "length_buffer": 1300}
    task = find_task("needlebench")
    assert task.sample(draw).messages == task.sample(given).messages
    assert default_buffer("v1", "multi-retrieval", "English", "", 6000) == 1300


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"version": "v1"}, "v1"),
        ({"version": 2}, "v2"),
        ({"version": "2.0"}, "v2"),
        ({"benchmark": "needlebench_v2_128k"}, "v2"),
        ({"benchmark": "NeedleBench V1 (32k)"}, "v1"),
        ({"benchmark": "needlebench_128k"}, ""),
        ({}, ""),
    ],
)
def test_a_version_is_no_digit_of_a_length(fields: Object, version: str) -> None:
    assert read_version(Fields(fields)) == version


def test_a_batch_is_no_ancestral_trace() -> None:
    assert kind_of("multi_retrieval_compare_batch_8k") == "multi-retrieval"
    assert kind_of("NeedleBenchATCDataset") == "atc"


@pytest.mark.parametrize(("suite", "buffer"), [("needlebench_v2_8k", 500), ("32K", 3000)])
def test_a_suite_may_have_its_long_name(suite: str, buffer: int) -> None:
    draw: dict[str, Json] = {"suite": suite, "length": 4000, "depth": 50, "language": "en_US"}
    task = find_task("needlebench")
    given = {**draw, "length_buffer": buffer}
    assert task.sample(draw).messages == task.sample(given).messages
