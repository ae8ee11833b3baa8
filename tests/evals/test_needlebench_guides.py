import pytest

from sculptor.errors import EvalError
from sculptor.evals.fields import Fields
from sculptor.evals.files import DataFiles
from sculptor.evals.needlebench.case import read_case
from sculptor.evals.needlebench.guides import guided
from sculptor.evals.registry import find_task
from sculptor.evals.types import Json

ENGLISH = "Where is it? Please answer in the format 'It is in ________.'"
CHINESE = "它在哪里？请按照'它在________。'的格式回答。"


def ask(question: str, **fields: Json) -> str:
    draw = {"version": "v1", "length": 0, "depth": 0, **fields}
    return guided(read_case(Fields(draw), DataFiles()), question)


def test_the_advice_stands_before_the_answer_format() -> None:
    assert ask(ENGLISH) == (
        "Where is it? Before answering, please consider what in the document is most relevant to "
        "this question. Please answer in the format 'It is in ________.'"
    )
    assert ask(CHINESE, language="Chinese") == (
        "它在哪里？在回答之前，请思考文档中与此问题最相关的内容是什么。请按照'它在________。'的格式回答。"
    )


def test_single_retrieval_without_the_advice_is_the_prompt_for_base_models() -> None:
    assert ask(ENGLISH, guide=False) == (
        "Where is it? Before answering, please consider what in the document is most relevant to "
        "this question. It is in "
    )
    assert ask(CHINESE, guide=False, language="Chinese") == (
        "它在哪里？在回答之前，请思考文档中与此问题最相关的内容是什么。它在"
    )


def test_the_other_tasks_do_without() -> None:
    assert ask(ENGLISH, task="multi-retrieval", guide=False, depths=[0]) == ENGLISH
    assert ask("Who?", task="multi-reasoning", guide=False) == "Who?"
    assert ask("Who?", task="multi-reasoning").startswith("Who?Before answering,")
    assert ask(ENGLISH, version="v2", guide=True) == ENGLISH


def test_a_question_without_the_clause_is_refused() -> None:
    with pytest.raises(EvalError, match="Please answer in the format"):
        ask("Where is it?")


def test_our_needles_serve_the_base_prompt() -> None:
    for language, end in (("English", "________.'"), ("Chinese", "的格式回答。")):
        draw: dict[str, Json] = {
            "version": "v1",
            "length": 300,
            "length_buffer": 0,
            "depth": 0,
            "language": language,
            "guide": False,
        }
        text = str(find_task("needlebench").sample(draw).messages[0]["content"])
        assert not text.endswith(end)
