import json
from collections.abc import Mapping

import pytest

from sculptor.errors import EvalError
from sculptor.evals.registry import find_task
from sculptor.evals.types import Json, Object

DRAW: dict[str, Json] = {
    "tracked_keys": ["bird", "tools"],
    "pairs": [["bird", "emu"], ["tools", "rasp"], ["bird", "kea"], ["tools", "file"]],
}
TEXT = (
    "As my secretary, I need you to carefully read a text stream where the values of multiple keys "
    "are being continuously updated.The 2 keys to track include bird, tools. I will ask you to "
    "identify the value of each key later.\n\n"
    "The text stream starts on the next line.\n"
    " bird: emu; tools: rasp; bird: kea; tools: file; \n\n"
    "What are the current value of each key (bird, tools) you are tracking? "
    "End your response with: 'The current value of <key> is <value>.'"
)


def prompt(draw: Object, name: str = "pi-llm") -> str:
    return str(find_task(name).sample(draw).messages[0]["content"])


def test_the_prompt_word_for_word() -> None:
    sample = find_task("pi-llm").sample(DRAW)
    assert prompt(DRAW) == TEXT
    assert sample.reference == {"bird": "kea", "tools": "file"}
    assert sample.params["n_updates"] == 2


@pytest.mark.parametrize(
    "draw",
    [
        {"list_tracked_keys": DRAW["tracked_keys"], "list_all_pairs": DRAW["pairs"]},
        {"draw": DRAW},
        {**DRAW, "options": {"prompt_updating": "colon", "response_format": "verbal_redundant"}},
        {
            **DRAW,
            "pairs": [{"key": k, "value": v} for k, v in (("bird", "emu"), ("tools", "rasp"))]
            + [{"bird": "kea"}, {"tools": "file"}],
        },
        {"pairs": DRAW["pairs"], "reference": {"bird": "kea", "tools": "file"}},
        {"tracked_keys": DRAW["tracked_keys"], "updates": DRAW["pairs"], "surplus": {"x": 1}},
    ],
)
def test_draws_in_other_hands_names(draw: Object) -> None:
    assert prompt(draw) == TEXT


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"prompt_updating": "hyphen"}, " bird - emu; tools - rasp; "),
        ({"prompt_updating": "equal"}, " bird = emu; tools = rasp; "),
        ({"update_style": "wordy"}, " update the value of bird by setting it to emu; update"),
        ({"probe_target": "latest"}, "What are the latest value of each key (bird, tools)"),
        ({"response_format": "verbal"}, "Format your response as: 'The current"),
        ({"extra_output_format": "succinct"}, "No extra text should be included"),
        ({"extra_output_format": "redundantIntegrity"}, "is <value>.'Provide the exact current"),
        ({"answer_format": "dict"}, "key-value pairs are: {<key>: <value>, ...}' (similar"),
        ({"prompt_forgetting": "forget_full"}, "forget all the previous updates to bird; bird: k"),
        ({"prompt_forgetting": "sayreset_none_[2]"}, "begins next. bird: kea"),
    ],
)
def test_options(options: Object, expected: str) -> None:
    assert expected in prompt({**DRAW, "options": options})


def test_a_fork_of_chance_must_be_in_the_draw() -> None:
    with pytest.raises(EvalError, match="forget_keys"):
        prompt({**DRAW, "prompt_forgetting": "forget_half"})
    forgotten = {**DRAW, "prompt_forgetting": "forget_half", "forget_keys": ["tools"]}
    assert "forget all the previous updates to tools; tools: file" in prompt(forgotten)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        ({}, "needs its pairs"),
        ({"pairs": DRAW["pairs"]}, "tracked_keys"),
        ({**DRAW, "pairs": [["bird"]]}, "written \\[key, value\\]"),
        ({**DRAW, "prompt_updating": "loud"}, "Unknown prompt_updating"),
        ({**DRAW, "tracked_keys": 3}, "list"),
        ({"seed": "x"}, "whole number"),
        ({"seed": 1, "n_tracked_updates": 401}, "pi-llm-long"),
    ],
)
def test_bad_draws_say_what_is_wrong(draw: Object, words: str) -> None:
    with pytest.raises(EvalError, match=words):
        prompt(draw)


def test_rows_of_the_published_set() -> None:
    row = {
        "prompt": json.dumps([{"role": "user", "content": "hello"}]),
        "answer_formatted": json.dumps({"bird": "kea"}),
        "experiment": "exp_updates",
        "n_updates": 8,
    }
    sample = find_task("pi-llm").sample(row)
    assert sample.messages == ({"role": "user", "content": "hello"},)
    assert sample.reference == {"bird": "kea"}
    assert sample.params["n_updates"] == 8


@pytest.mark.parametrize("name", ["pi-llm", "pi-llm-keys", "pi-llm-valuelength", "pi-llm-sculptor"])
def test_own_draws_are_plain_json_and_repeatable(name: str) -> None:
    task = find_task(name)
    for index in (0, 3, len(task) - 1):
        draw = task.draw(index, seed=7)
        assert json.loads(json.dumps(draw)) == draw
        assert task.draw(index, seed=7) == draw
        assert task.draw(index, seed=8) != draw
        assert task.sample(draw) == task.sample(json.loads(json.dumps(draw)))


def test_own_draws_hold_what_their_cell_says() -> None:
    task = find_task("pi-llm-tracked")
    sample = task.sample(task.draw(0))
    assert isinstance(sample.reference, Mapping)
    assert len(sample.reference) == 2
    assert str(sample.messages[0]["content"]).count("; ") == 46 * 125
    long = find_task("pi-llm-long")
    assert str(long.sample(long.draw(0)).messages[0]["content"]).count("; ") == 46 * 512


def test_the_first_cells_of_the_paper() -> None:
    assert len(find_task("pi-llm")) == 16 * 20
    sizes = [find_task("pi-llm-sculptor").draw(i)["options"] for i in range(7)]
    updates = [o["n_tracked_updates"] for o in sizes if isinstance(o, Mapping)]
    assert updates == [4, 8, 16, 32, 64, 128, 256]


def test_metrics_leave_missing_answers_out() -> None:
    rows = [({"n_updates": 4}, 1.0), ({"n_updates": 4}, None), ({"n_updates": 8}, 0.5)]
    figures = find_task("pi-llm").metrics(rows)
    assert figures["avg_accuracy"] == 0.75
    assert figures["total_samples"] == 2


def test_references_must_be_mappings() -> None:
    task = find_task("pi-llm")
    assert task.score("The current value of bird is emu.", '{"bird": "emu"}').value == 1.0
    for wrong in ("not json", "[1]", None):
        with pytest.raises(EvalError):
            task.score("x", wrong, scorer="original")
        assert task.score("x", wrong, scorer="opencompass").value == 0.0
    with pytest.raises(EvalError, match="original"):
        task.score("x", {"a": "b"}, scorer="nobody")


@pytest.mark.parametrize("scorer", ["original", "opencompass", "corrected"])
def test_degenerate_replies_are_scored_in_time_that_grows_with_their_length(scorer: str) -> None:
    # Read as the patterns are first written down, each of these takes minutes.
    answer = "The current value of bird is emu."
    for noise in ("\n" * 30_000, "a" * 60_000, "the current" + " " * 5_000):
        score = find_task("pi-llm").score(f"{noise}\n{answer}", {"bird": "emu"}, scorer=scorer)
        assert score.value == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        r"The current value of bird is \boxed{emu}.",
        r"bird = $\boxed{\text{emu}}$",
        '[{"key": "bird", "value": "emu"}, {"key": "tools", "value": "rasp"}]',
        "当前bird的值为「emu」。",
        "The current value of “bird” is “emu”.",
    ],
)
def test_the_corrected_scorer_reads_other_dresses(reply: str) -> None:
    task = find_task("pi-llm")
    assert task.score(reply, {"bird": "emu"}, scorer="corrected").value == 1.0
    assert task.score(reply, {"bird": "kea"}, scorer="corrected").value == 0.0
