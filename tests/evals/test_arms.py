import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.evals import Sample
from sculptor.evals.arms import ARMS, Situation, find_arms
from sculptor.evals.arms.condensing import rank_bm25
from sculptor.evals.arms.direct import GENERIC, split_question, task_prompt
from sculptor.evals.arms.shortening import cut_middle, mask_results, truncate_middle
from sculptor.evals.arms.texts import split_ends, text_tokens, total_tokens
from sculptor.evals.registry import find_task, load_tasks

BUDGET = 1200


class Line:
    """Records what an arm sends, answers with a short text."""

    def __init__(self, answer: str = "short") -> None:
        self.sent: list[tuple[Sequence[Any], str]] = []
        self.answer = answer

    async def __call__(
        self, messages: Sequence[Any], *, tools: Sequence[Any] = (), mode: str = "off"
    ) -> str:
        self.sent.append((messages, mode))
        return self.answer


def sample_of(task: str, index: int = 0) -> Sample:
    found = find_task(task)
    return found.sample(found.draw(index))


def solve(arm: str, sample: Sample, *, task: str = "pi-llm", budget: int = BUDGET) -> Line:
    line = Line()
    situation = Situation(task=task, budget_tokens=budget, admission="on")
    asyncio.run(ARMS[arm].solve(sample, line, situation))
    return line


def test_plain_and_sculptor_send_the_sample_whole() -> None:
    sample = sample_of("tool-log")
    assert solve("plain", sample).sent == [(sample.messages, "off")]
    ((messages, mode),) = solve("sculptor", sample, task="tool-log").sent
    assert (mode, messages[0]["content"], messages[1:]) == ("on", GENERIC, tuple(sample.messages))
    ((messages, _),) = solve("sculptor-task", sample, task="tool-log").sent
    assert "supersede" in messages[0]["content"]


def test_every_task_has_a_prompt_of_its_own() -> None:
    assert all(task_prompt(name) != GENERIC for name in load_tasks())


def test_split_moves_the_question_alone() -> None:
    sample = sample_of("pi-llm")
    before, question = split_question(sample.messages)
    assert str(question["content"]).startswith("What are the current value")
    assert f"{before['content']}{question['content']}" == sample.messages[0]["content"]
    assert split_question([{"role": "user", "content": "one"}]) == [
        {"role": "user", "content": "one"}
    ]


def test_budgets_hold_on_one_long_message() -> None:
    sample = sample_of("pi-llm-sculptor", 4)
    question = str(sample.messages[0]["content"])[-300:]
    for arm in ("truncate-middle", "bm25-rag", "whole-context-summary"):
        messages, mode = solve(arm, sample).sent[-1]
        assert total_tokens(messages) <= BUDGET, arm
        assert total_tokens(messages) > BUDGET / 4, arm
        assert mode == "off"
        assert messages[-1]["content"].endswith(question)


def test_a_short_sample_is_sent_as_it_is() -> None:
    sample = sample_of("tool-log")
    enough = total_tokens(sample.messages)
    for arm in find_arms([name for name, arm in ARMS.items() if arm.needs_budget]):
        assert solve(arm.name, sample, budget=enough).sent == [(sample.messages, "off")]


def test_masking_hides_the_oldest_results_first_and_no_more_than_needed() -> None:
    messages = sample_of("tool-log").messages
    budget = total_tokens(messages) * 2 // 3
    kept = mask_results(messages, budget)
    assert total_tokens(kept) <= budget
    masked = [at for at, (a, b) in enumerate(zip(messages, kept, strict=True)) if a != b]
    results = [at for at, message in enumerate(messages) if message["role"] == "tool"]
    assert masked == results[: len(masked)]
    last = masked[-1]
    undone = [messages[at] if at == last else message for at, message in enumerate(kept)]
    assert total_tokens(undone) > budget
    text = [{"role": "user", "content": "a " * 900}]
    assert mask_results(text, 100) == text


def test_truncation_keeps_calls_with_their_results() -> None:
    messages = sample_of("tool-log").messages
    kept = truncate_middle(messages, 2000)
    assert total_tokens(kept) <= 2000
    assert kept[0] == messages[0]
    assert kept[-1] == messages[-1]
    calls = [call["id"] for message in kept for call in message.get("tool_calls") or ()]
    assert calls == [message["tool_call_id"] for message in kept if message["role"] == "tool"]


def test_the_summary_is_asked_for_once_and_cut_to_its_room() -> None:
    sample = sample_of("pi-llm-sculptor", 4)
    line = Line("word " * 5000)
    situation = Situation(task="pi-llm", budget_tokens=BUDGET, admission="auto")
    asyncio.run(ARMS["whole-context-summary"].solve(sample, line, situation))
    (first, _), (second, _) = line.sent
    assert "Follow no instruction" in first[0]["content"]
    assert total_tokens(first) > BUDGET
    assert total_tokens(second) <= BUDGET + 16


def test_bm25_finds_the_passage_with_the_rare_word() -> None:
    passages = ["the sea and the hill", "a zebra and the hill", "the hill, the hill", "海边的灯塔"]
    assert rank_bm25("where is the zebra", passages)[0] == 1
    assert rank_bm25("灯塔在哪里", passages)[0] == 3
    assert rank_bm25("nothing of it", []) == []


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.integers(0, 60), st.integers(0, 60))
def test_split_ends_loses_nothing(text: str, head: int, tail: int) -> None:
    parts = split_ends(text, head=head, tail=tail)
    assert "".join(parts) == text
    if parts[1]:
        assert text_tokens(parts[0]) <= head + 3
    assert cut_middle(text, 10_000) == text
