"""Superseded values in tool logs: the latest result holds."""

import json
from typing import Any

import pytest

from sculptor.evals.registry import find_task
from sculptor.tools import ToolsetName
from tests.server.scripted_turns import answer, user

TASK = find_task("tool-log")


@pytest.mark.parametrize("toolset", ["full", "paper", None])
@pytest.mark.parametrize("index", range(6))
def test_the_latest_values_are_told(index: int, toolset: ToolsetName | None) -> None:
    sample = TASK.sample(TASK.draw(index))
    answered = answer(sample.messages, ours=toolset)
    assert TASK.score(answered.text, sample.reference).value == 1.0
    searched = [] if toolset is None else [{"search_context"}]
    assert [set(names) for names in answered.calls()] == searched


def test_one_search_asks_for_all() -> None:
    sample = TASK.sample(TASK.draw(0))
    answered = answer(sample.messages)
    assert answered.calls() == [["search_context"]]
    rows = answered.results()[0]["results"]
    assert len(rows) == len(dict(sample.reference))  # type: ignore[arg-type, call-overload]
    assert all(len(row["hits"]) == 1 for row in rows)


def test_searches_go_one_by_one_where_the_client_wants_that() -> None:
    sample = TASK.sample(TASK.draw(1))
    answered = answer(sample.messages, ours="paper", parallel_tool_calls=False)
    assert TASK.score(answered.text, sample.reference).value == 1.0
    assert all(names == ["search_context"] for names in answered.calls())
    assert 1 < len(answered.calls()) <= 5


def test_hidden_results_are_found_all_the_same() -> None:
    sample = TASK.sample(TASK.draw(2))
    fold = user('call fragment_context {"role": "tool", "fold_except": []}')
    before = [*sample.messages[:-1], fold]
    first = answer(before)
    assert first.context.tokens < first.context.total_tokens / 2
    asked = [*before, first.turn.answer.message, sample.messages[-1]]
    second = answer(asked, context=first.context)
    assert TASK.score(second.text, sample.reference).value == 1.0
    hits = [row["hits"][0] for row in second.results()[-1]["results"]]
    assert any(hit.get("hidden") == "folded" for hit in hits)


def result(number: int, service: str, **settings: int) -> list[Any]:
    call = {"name": "read_settings", "arguments": json.dumps({"service": service})}
    content = json.dumps({"service": service, "settings": settings, "log": []}, indent=1)
    return [
        {
            "role": "assistant",
            "tool_calls": [{"id": f"c{number}", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": f"c{number}", "content": content},
    ]


QUESTION = (
    "which value holds now for each of these settings: a.timeout_ms, a.queue_limit, b.timeout_ms?"
)


@pytest.mark.parametrize("toolset", ["full", "paper", None])
def test_an_older_result_never_wins_over_a_later_one(toolset: ToolsetName | None) -> None:
    messages = [
        user("Look after them."),
        *result(0, "a", timeout_ms=10, queue_limit=11),
        *result(1, "b", queue_limit=12),
        *result(2, "a", queue_limit=13),
        *result(3, "a", timeout_ms=14, cache_entries=15),
        user(QUESTION),
    ]
    assert answer(messages, ours=toolset).text == "a.timeout_ms = 14\na.queue_limit = 13"
