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


@pytest.mark.parametrize("text", ["", "3", '"x"', "[3]", "{", '{"a": 1}\n{'])
def test_what_is_no_draw_is_refused(text: str) -> None:
    if text == "":
        assert read_draws(text) == ([], False)
        return
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
        ([1], "JSON object"),
        ({"id": 4, "reply": 3, "reference": {}}, "line 4"),
        ({"id": 4, "reply": "x"}, "no reference"),
    ],
)
def test_bad_lines_are_named(line: object, words: str) -> None:
    with pytest.raises(EvalError, match=words):
        scored(line)
    with pytest.raises(EvalError, match="Line 2"):
        list(score_lines(find_task("pi-llm"), [json.dumps(LINE), "{"]))


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
