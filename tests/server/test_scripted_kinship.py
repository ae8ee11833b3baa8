"""Kinship chains by search: acceptance test 7 of the specification."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.evals.needlebench.kinship import GENERATIONS, templates
from sculptor.evals.registry import find_task
from sculptor.server.scripted import kinship
from sculptor.server.scripted.kinship import Kin, ancestors, descendants, eldest, read_kin
from sculptor.tools import ToolsetName
from tests.server.scripted_turns import answer, user

CHAINS = find_task("needlebench-v2-multi-reasoning-128k")
PAPER = find_task("needlebench-sculptor")
CHALLENGE = find_task("needlebench-v2-atc")
OLD_CHALLENGE = find_task("needlebench-v1-atc")


def cell(task: Any, **wanted: Any) -> Any:
    draw = next(c for c in task.cells if all(c.get(k) == v for k, v in wanted.items()))
    return task.sample({**draw, "counter": wanted.get("counter", 1)})


def score(task: Any, text: str, sample: Any) -> float | None:
    value: float | None = task.score(text, sample.reference, params=sample.params).value
    return value


@pytest.mark.parametrize("toolset", ["full", "paper"])
@pytest.mark.parametrize("needles", [2, 3, 4, 5])
@pytest.mark.parametrize("length", [1000, 16_000, 128_000])
def test_chains_of_the_paper_s_settings(length: int, needles: int, toolset: ToolsetName) -> None:
    sample = cell(PAPER, length=length, num_needles=needles)
    answered = answer(sample.messages, ours=toolset)
    assert score(PAPER, answered.text, sample) == 100
    assert len(answered.requests) <= 20
    assert answered.calls() == [["search_context"]] * (len(answered.requests) - 1)
    assert len(answered.calls()) >= 2


@pytest.mark.parametrize("toolset", ["full", "paper", None])
@pytest.mark.parametrize("depth", [0, 40, 100])
@pytest.mark.parametrize("length", [1000, 8000, 32_000])
@pytest.mark.parametrize("language", ["English", "Chinese"])
def test_chains_in_both_languages(
    language: str, length: int, depth: int, toolset: ToolsetName | None
) -> None:
    sample = cell(CHAINS, language=language, length=length, depth=depth, num_needles=5)
    answered = answer(sample.messages, ours=toolset)
    assert score(CHAINS, answered.text, sample) == 100


def test_the_last_search_confirms_that_nobody_is_older() -> None:
    sample = cell(PAPER, length=16_000, num_needles=3)
    answered = answer(sample.messages)
    oldest = str(sample.reference)
    last = answered.results()[-1]["results"]
    assert [row["query"] for row in last] == [f"{oldest}'s", f"For {oldest},"]
    assert all(row["total"] == 0 for row in last)


def test_a_refused_search_is_answered_from_the_view() -> None:
    sample = cell(PAPER, length=1000, num_needles=2)
    name = str(sample.reference)
    turn: list[Any] = [
        *sample.messages,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "search_context", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": '{"error": "INVALID_ARGUMENTS"}'},
    ]
    answered = answer(turn)
    assert answered.calls() == []
    assert f"\\boxed{{{name}}}" in answered.text


@pytest.mark.parametrize("question", range(4))
@pytest.mark.parametrize("count", [2, 64, 512])
def test_the_challenge_is_read_in_the_view(question: int, count: int) -> None:
    sample = cell(CHALLENGE, num_needles=count, question_type=question)
    assert score(CHALLENGE, answer(sample.messages).text, sample) == 100


@pytest.mark.parametrize("language", ["English", "Chinese"])
@pytest.mark.parametrize("count", [2, 26, 98])
def test_the_first_version_s_challenge_too(language: str, count: int) -> None:
    sample = cell(OLD_CHALLENGE, num_needles=count, language=language)
    assert score(OLD_CHALLENGE, answer(sample.messages).text, sample) == 100


def test_chinese_questions_of_the_challenge() -> None:
    story = "王华是小明的奶奶。刘芳作为王华的妈妈，对王华的成长有重要影响。"
    asked = {
        "'小明'的3代祖先是谁？": "刘芳",
        "'刘芳'的3代子孙是谁？": "小明",
        "'小明'和'刘芳'之间的关系距离是多少？": "3",
        "'刘芳'和'小明'之间的关系距离是多少？": "3",
        "'小明'和'王刚'之间的关系距离是多少？": "unknown",
        "'小明'的9代祖先是谁？": "unknown",
    }
    for question, expected in asked.items():
        text = f"打乱的家族关系文本如下：\n{story}\n\n{question}"
        assert f"\\boxed{{{expected}}}" in answer([user(text)]).text


ENGLISH = st.sampled_from(["Ann Lee", "Bo O'Neil", "J. Smith Jr.", "Zoe de la Cruz"])
CHINESE = st.sampled_from(["张强", "王华", "欧阳小明", "马克"])


@settings(max_examples=200)
@given(st.data())
def test_every_form_of_sentence_is_read(data: st.DataObject) -> None:
    language = data.draw(st.sampled_from(["English", "Chinese"]))
    style = data.draw(st.sampled_from(["v2", "v1", "elder-only"]))
    names = ENGLISH if language == "English" else CHINESE
    elder, younger = data.draw(st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]))
    form = data.draw(st.sampled_from(templates(language, style)))
    term = data.draw(st.sampled_from(list(GENERATIONS[language])))
    text = form.format(A=elder, B=younger, R=term)
    found = set(read_kin(f"Some filler\n{text}\nmore of it."))
    expected = GENERATIONS[language][term] if "{R}" in form else 1
    assert Kin(elder, younger, expected) in found
    assert {(kin.elder, kin.younger) for kin in found} == {(elder, younger)}


@pytest.mark.parametrize(
    "text",
    [
        "Example 1: If James Hill's father is Jasmine Lane, and no more is known.",
        "例子1.如果张强的父亲是马克，除此以外没有更多的信息。",
        "For instance, Andrew Williams could still be the biological father of Christopher Baker.",
        "Petra's father is Ke",
        "a name that is typically feminine can still be the father of another person.",
    ],
)
def test_what_only_looks_like_kin_is_not_read(text: str) -> None:
    assert list(read_kin(text)) == []


def test_a_circle_of_elders_comes_to_an_end() -> None:
    circle = [Kin("A", "B", 1), Kin("B", "A", 1), Kin("C", "B", 2)]
    assert ancestors("B", circle) == {"A": 1, "C": 2}
    assert eldest("B", circle) == "C"
    assert eldest("Z", circle) == "Z"
    assert descendants("C", circle) == {"B": 2, "A": 3}


def test_generations_agree_with_the_benchmark_s() -> None:
    assert {**GENERATIONS["English"], **GENERATIONS["Chinese"]} == dict(kinship.GENERATIONS)
