"""The generated tasks: MRCR-style, RULER-style and the tool-use log."""

import itertools
import json
from collections.abc import Mapping, Sequence

import pytest

from sculptor.errors import EvalError
from sculptor.evals.registry import find_task
from sculptor.evals.ruler import LENGTHS
from sculptor.evals.tool_log import TURNS
from sculptor.evals.types import Json, Object, Sample
from sculptor.tokens import encoding

NAMES = [
    "mrcr-own",
    "tool-log",
    "ruler-own-vt",
    "ruler-own-niah-multikey-1",
    "ruler-own-niah-multikey-2",
    "ruler-own-niah-multikey-3",
    "ruler-own-niah-multivalue",
    "ruler-own-niah-multiquery",
    "ruler-own-fwe",
]


def content(sample: Sample) -> str:
    return "\n".join(str(message["content"]) for message in sample.messages)


def strings(value: Json) -> list[str]:
    assert isinstance(value, Sequence)
    return [str(item) for item in value]


@pytest.mark.parametrize("name", NAMES)
def test_samples_come_from_seed_and_index_alone(name: str) -> None:
    task = find_task(name)
    draw = task.draw(4, seed=3)
    assert task.draw(0, seed=3) != draw
    assert task.draw(4, seed=3) == draw
    again = task.sample(json.loads(json.dumps(draw)))
    assert again.messages == task.sample(draw).messages
    assert task.draw(4, seed=2) != draw
    assert again.id == f"{name}/3/4"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("ruler")])
@pytest.mark.parametrize("place", [0, 2])
def test_ruler_prompts_fit_and_hold_their_answers(name: str, place: int) -> None:
    task = find_task(name)
    sample = task.sample(task.draw(place))
    text, answers = content(sample), strings(sample.reference)
    assert (
        0.6 * LENGTHS[place] < len(encoding("cl100k_base").encode_ordinary(text)) < LENGTHS[place]
    )
    assert all(answer in text for answer in answers)
    assert task.score(" ".join(answers).upper(), sample.reference).value == 1
    assert task.score("nothing", sample.reference).value == 0
    some = task.score(answers[0], sample.reference).value
    assert some == pytest.approx(1 / len(answers))


def test_variables_form_one_chain_in_order() -> None:
    task = find_task("ruler-own-vt")
    sample = task.sample(task.draw(0))
    lines = [line for line in content(sample).split("\n") if line.startswith("VAR ")]
    names = strings(sample.reference)
    assert lines[0].startswith(f"VAR {names[0]} = ")
    assert lines[1:] == [f"VAR {b} = VAR {a}" for a, b in itertools.pairwise(names)]


def test_frequent_words_are_the_most_frequent() -> None:
    task = find_task("ruler-own-fwe")
    sample = task.sample(task.draw(0))
    words = content(sample).split("\n\n")[1].split(" ")
    ranked = sorted(set(words), key=words.count, reverse=True)
    assert ranked[1:4] == strings(sample.reference)
    assert ranked[0] == "..."


def test_mrcr_scores_by_prefix_and_likeness() -> None:
    task = find_task("mrcr")
    for index in range(3):
        sample = task.sample(task.draw(index))
        reference = sample.reference
        assert isinstance(reference, Mapping)
        answer, prefix = str(reference["answer"]), str(reference["prefix"])
        assert task.score(answer, reference).value == 1
        assert task.score(" " + answer, reference).value == 0
        assert task.score(" " + answer, reference, scorer="corrected").value == 1
        assert task.score(answer.removeprefix(prefix), reference).value == 0
        requests = [m["content"] for m in sample.messages if m["role"] == "user"]
        form_topic = str(requests[-1]).split("indexed) ")[1].split(". Do not")[0]
        kind, about = form_topic.split(" about ")
        asked = f"Write a {kind} about {about}."
        assert requests.count(asked) == (2, 4, 8)[index] == sample.params["n_needles"]
        replies = [
            str(after["content"])
            for before, after in zip(sample.messages, sample.messages[1:], strict=False)
            if before["content"] == asked
        ]
        assert answer.removeprefix(prefix) in replies
        for other in replies:
            if other != answer.removeprefix(prefix):
                value = task.score(prefix + other, reference).value
                assert value is not None
                assert value < 0.7


def test_tool_logs_are_a_valid_conversation_whose_last_values_count() -> None:
    task = find_task("tool-log")
    sample = task.sample(task.draw(1))
    calls = [m for m in sample.messages if m.get("tool_calls")]
    results = [m for m in sample.messages if m["role"] == "tool"]
    assert len(calls) == len(results) == TURNS
    history: dict[str, list[str]] = {}
    for call, result in zip(calls, results, strict=True):
        made = call["tool_calls"]
        assert isinstance(made, Sequence)
        assert isinstance(made[0], Mapping)
        assert made[0]["id"] == result["tool_call_id"]
        body = json.loads(str(result["content"]))
        for name, value in body["settings"].items():
            history.setdefault(f"{body['service']}.{name}", []).append(str(value))
    assert isinstance(sample.reference, Mapping)
    assert len(sample.reference) == 8
    for item, value in sample.reference.items():
        assert history[item][-1] == value
        assert len(set(history[item])) == len(history[item]) > 1
    every = [value for values in history.values() for value in values]
    assert len(set(every)) == len(every)


def test_tool_log_replies() -> None:
    task = find_task("tool-log")
    truth = {"billing.timeout_ms": "12345", "search.queue_limit": "54321"}
    plain = "billing.timeout_ms = 12345\nsearch.queue_limit = 54321"
    assert task.score(plain, truth).value == 1
    assert (
        task.score("**billing.timeout_ms**: `12345`, search.queue_limit is 1", truth).value == 0.5
    )
    assert task.score("billing.timeout_ms = 1\nbilling.timeout_ms = 12345", truth).value == 0.5
    assert task.score("12345 54321", truth).value == 0


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        (
            "mrcr-own",
            {"requests": [["a", "b"]], "form": "a", "topic": "b", "wanted": 2, "prefix": "x"},
        ),
        ("mrcr-own", {"requests": ["a"], "form": "a", "topic": "b", "wanted": 1, "prefix": "x"}),
        ("ruler-own-vt", {"length": 300, "seed": 1}),
        ("ruler-own-vt", {"length": 3000, "seed": 1, "kind": "nothing"}),
        ("tool-log", {"asked": ["a.b"], "turns": []}),
        ("tool-log", {"asked": ["a.b"], "turns": [{"service": "a"}]}),
        ("tool-log", {"turns": [{"service": "a", "change": True, "values": {"b": 1, "c": 2}}]}),
    ],
)
def test_bad_draws_are_refused(name: str, draw: Object) -> None:
    with pytest.raises(EvalError):
        find_task(name).sample(draw)


@pytest.mark.parametrize("name", ["tool-log", "ruler-own-vt"])
def test_bad_references_are_refused(name: str) -> None:
    with pytest.raises(EvalError):
        find_task(name).score("x", {} if name == "tool-log" else 3)


def test_metrics_group_by_difficulty() -> None:
    rows = [({"length": 4096}, 1.0), ({"length": 8192}, 0.0), ({"length": 8192}, None)]
    figures = find_task("ruler-own-vt").metrics(rows)
    assert figures == {"score": 0.5, "length_4096": 1.0, "length_8192": 0.0}
