import json

import pytest

from sculptor.errors import EvalError
from sculptor.evals.exchange import prompt_messages, read_draws, score_lines
from sculptor.evals.registry import find_task, load_tasks
from sculptor.evals.types import Object

LINE = {"id": 7, "reply": "The current value of bird is emu.", "reference": {"bird": "emu"}}


def scored(*lines: object, task: str = "pi-llm", scorer: str | None = None) -> list[Object]:
    texts = [json.dumps(line) for line in lines]
    return [line for line, _ in score_lines(find_task(task), texts, scorer=scorer)]


def test_draws_come_as_object_list_or_lines() -> None:
    one, two = {"a": 1}, {"a": 2}
    assert read_draws(json.dumps(one)) == ([one], True)
    assert read_draws(json.dumps([one, two])) == ([one, two], False)
    assert read_draws(f"{json.dumps(one)}\n\n{json.dumps(two)}\n") == ([one, two], False)
    assert read_draws(json.dumps({"id": 3, "draw": one})) == ([{"id": 3, "a": 1}], True)


@pytest.mark.parametrize(
    "text", ["", " \n", "3", '"x"', "[3]", "{", '{"a": 1}\n{', "[" * 100_000, "1" * 5000]
)
def test_what_is_no_draw_is_refused(text: str) -> None:
    with pytest.raises(EvalError):
        read_draws(text)


def test_lines_keep_their_ids_and_details() -> None:
    found = scored(LINE, {**LINE, "id": "b", "reply": None}, scorer="original")
    assert found[0] == {
        "id": 7,
        "score": 1.0,
        "answered": True,
        "n_missing": 0,
        "answers": {"bird": "emu"},
    }
    assert found[1] == {"id": "b", "score": None, "answered": False}


def test_a_draw_can_stand_in_for_the_reference() -> None:
    task = find_task("needlebench-v2-atc")
    draw = task.draw(1)
    answer = task.sample(draw).reference
    line = {"id": 1, "reply": f"\\boxed{{{answer}}}", "draw": draw}
    assert scored(line, task="needlebench-v2-atc")[0]["score"] == 100


def test_params_may_lie_flat_in_the_line() -> None:
    line = {"id": 1, "reply": "bird", "reference": "\nA bird.\n*Bird", "task": "single"}
    flat, nested = {**line, "version": "v1"}, {**line, "params": {"version": "v1"}}
    assert scored(flat, nested, task="needlebench")[0] == scored(nested, task="needlebench")[0]
    assert scored(flat, task="needlebench")[0]["score"] == pytest.approx(20 * (1 - 2 / 6))


def test_the_rows_feed_the_metrics() -> None:
    task = find_task("pi-llm")
    lines = [json.dumps({**LINE, "params": {"n_updates": 4}}), json.dumps({**LINE, "reply": "no"})]
    rows = [row for _, row in score_lines(task, lines)]
    assert task.metrics(rows)["avg_accuracy"] == 0.5


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([1], "Line 1 is no object"),
        ({"id": 4, "reply": 3, "reference": {}}, r"Line 1 \(id 4\): The reply must be a string"),
        ({"id": ["é"], "reply": "x"}, "There is no reference"),
        ({"id": 4, "reply": "x", "reference": {}, "params": "x"}, "params must be an object"),
    ],
)
def test_bad_lines_are_named(line: object, words: str) -> None:
    with pytest.raises(EvalError, match=words):
        scored(line)
    with pytest.raises(EvalError, match="Line 2"):
        list(score_lines(find_task("pi-llm"), [json.dumps(LINE), "{"]))


def test_an_unknown_scorer_is_refused_before_the_first_line() -> None:
    with pytest.raises(EvalError, match="No scorer 'best' here"):
        list(score_lines(find_task("pi-llm"), [], scorer="best"))


def test_an_unreadable_reference_scores_nothing_with_opencompass_alone() -> None:
    line = {**LINE, "reference": "{bird"}
    found = scored(line, scorer="opencompass")[0]
    assert (found["score"], found["answered"]) == (0.0, False)
    assert "not JSON" in str(found["problem"])
    for scorer in ("original", "corrected"):
        with pytest.raises(EvalError, match="not JSON"):
            scored(line, scorer=scorer)


def test_a_reference_with_odd_depths_is_refused() -> None:
    line = {"id": 1, "reply": "x", "reference": "x#deep", "task": "multi-retrieval"}
    with pytest.raises(EvalError, match="no numbers: 'deep'"):
        scored(line, task="needlebench")


@pytest.mark.parametrize(
    ("task", "draw", "words"),
    [
        ("pi-llm", {"tracked_keys": ["a"], "pairs": {"a": "b"}}, "must be a list of"),
        ("pi-llm", {"tracked_keys": ["a"], "pairs": [["a", None]]}, "both text"),
        ("pi-llm", {"tracked_keys": ["a"], "pairs": [["a", ["b"]]]}, "both text"),
        ("pi-llm", {"tracked_keys": ["a", "a"], "pairs": [["a", "b"]]}, "'a' more than once"),
        ("needlebench", {"length": 500}, "needs the field 'depth'"),
        ("needlebench", {"length": 500, "depths": [0, 50]}, "one depth, not 2"),
        ("needlebench", {"length": 500, "depth": 0, "version": "3"}, "v1 or v2"),
    ],
)
def test_what_a_draw_lacks_is_named(task: str, draw: Object, words: str) -> None:
    with pytest.raises(EvalError, match=words):
        prompt_messages(find_task(task), draw)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pi-llm", "pi-llm"),
        ("PI_LLM", "pi-llm"),
        ("pi_llm_exp_keys", "pi-llm-keys"),
        ("NeedleBench", "needlebench-v2-single-32k"),
        ("needlebench_v1", "needlebench-v1-single-32k"),
        ("needlebench-v2-mrs", "needlebench-v2-multi-reasoning-32k"),
        ("needlebench-v2-parallel-4k", "needlebench-v2-multi-retrieval-4k"),
        ("mrcr", "mrcr-own"),
    ],
)
def test_names_are_found(name: str, found: str) -> None:
    assert find_task(name).name == found


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(EvalError, match="tool-log"):
        find_task("tool-logs")


def test_every_task_makes_a_prompt_and_scores_its_own_sample() -> None:
    for task in load_tasks().values():
        if "1000k" in task.name or "256k" in task.name or "200k" in task.name:
            continue
        sample = task.sample(task.draw(0))
        assert prompt_messages(task, sample.draw) == sample.messages
        for scorer in task.scorers:
            value = task.score("no answer", sample.reference, scorer=scorer, params=sample.params)
            assert value.value is None or value.value < 40
        assert task.summary
        assert len(task) > 0
