"""PI-LLM by the ideal policy and by the paper's: acceptance test 6 of the specification."""

from functools import cache
from typing import Any

import orjson
import pytest

from sculptor.context import Context
from sculptor.evals.registry import find_task
from sculptor.evals.types import Sample
from sculptor.loop import MessageCache, fold_to_fit, read_request
from sculptor.server.scripted.prompt import read_prompt
from sculptor.server.scripted.update_stream import UpdateStream, read_update_stream
from sculptor.tokens import TokenCounter
from sculptor.tools import ToolsetName
from tests.server.scripted_turns import answer, user

TASK = find_task("pi-llm")


@cache
def draw(updates: int, seed: int = 0, **options: Any) -> Sample:
    task = find_task("pi-llm-long") if updates > 400 else TASK
    return task.sample({"task": task.name, "seed": seed, "n_tracked_updates": updates, **options})


def accuracy(text: str, sample: Sample) -> float:
    return TASK.score(text, sample.reference).value or 0.0


@pytest.mark.parametrize("toolset", ["full", "paper"])
@pytest.mark.parametrize("updates", [2, 3, 4, 8, 16, 32, 64, 128, 256, 400, 1024])
def test_ideal_policy_is_right_at_every_update_count(updates: int, toolset: ToolsetName) -> None:
    sample = draw(updates)
    answered = answer(sample.messages, ours=toolset)
    assert accuracy(answered.text, sample) == 1.0
    assert len(answered.requests) <= 3
    first, last = answered.prompt_tokens[0], answered.prompt_tokens[-1]
    if updates >= 32:
        assert answered.calls()[0] == ["fragment_context"]
        assert last < first / 3
    if updates >= 256:
        assert last < 0.12 * first


@pytest.mark.parametrize("seed", range(1, 5))
def test_ideal_policy_uses_the_tools_over_the_wire(seed: int) -> None:
    sample = draw(32, seed)
    answered = answer(sample.messages)
    assert answered.calls() == [["fragment_context"]]
    assert all("error" not in result for result in answered.results())
    last_view = answered.requests[-1].messages[0].decode()
    assert "folded" in last_view
    for key, value in dict(sample.reference).items():  # type: ignore[arg-type, call-overload]
        assert f"{key}: {value}; " in last_view


def test_without_tools_the_view_is_read() -> None:
    sample = draw(64)
    answered = answer(sample.messages, ours=None)
    assert accuracy(answered.text, sample) == 1.0
    assert len(answered.requests) == 1


def test_short_streams_are_answered_at_once() -> None:
    answered = answer(draw(2).messages)
    assert answered.calls() == []


def test_calls_go_one_by_one_where_the_client_wants_that() -> None:
    sample = draw(16)
    answered = answer(
        sample.messages, ours="paper", model="scripted-paper", parallel_tool_calls=False
    )
    assert answered.calls() == [["fragment_context"], *[["fold_fragment"]] * 7]


@pytest.mark.parametrize(
    ("updates", "ceiling"), [(4, 0.773), (8, 0.944), (16, 0.997), (32, 0.999), (64, 1.0)]
)
def test_fixed_policy_reproduces_the_ceilings(updates: int, ceiling: float) -> None:
    """The stream stands in a message before the question's: the whole of it may be folded."""
    scores = []
    for seed in range(12):
        sample = draw(updates, seed)
        text = str(sample.messages[0]["content"])
        at = text.index("\n\nWhat are the")
        messages = [user(text[:at]), user(text[at:])]
        answered = answer(messages, model="scripted-paper")
        assert answered.turn.answer.model == "scripted-paper"
        scores.append(accuracy(answered.text, sample))
    assert sum(scores) / len(scores) == pytest.approx(ceiling, abs=0.035)


@pytest.mark.parametrize("inline", [False, True])
def test_fixed_policy_answers_from_what_is_visible(inline: bool) -> None:
    """Of one message the end is protected, so more stays than three tenths; some is lost."""
    sample = draw(6, 3)
    answered = answer(sample.messages, ours="paper", model="scripted-paper", inline=inline)
    assert answered.calls() == [["fragment_context"], ["fold_fragment"] * 7]
    told = accuracy(answered.text, sample)
    assert 0.6 < told < 1.0
    visible = answered.requests[-1].messages[0].decode()
    for line in answered.text.splitlines():
        key, value = line.removeprefix("The current value of ").removesuffix(".").split(" is ", 1)
        assert f"{key}: {value}; " in visible


def test_a_follow_up_is_answered_from_the_folded_view() -> None:
    sample = draw(64)
    first = answer(sample.messages)
    text = str(sample.messages[0]["content"])
    again = [*sample.messages, first.turn.answer.message, user(text[text.index("What are the") :])]
    second = answer(again, context=first.context)
    assert accuracy(second.text, sample) == 1.0
    assert len(second.requests) <= 2
    assert second.prompt_tokens[0] < 6_000


def test_the_fixed_policy_folds_a_stream_once() -> None:
    sample = draw(32)
    first = answer(sample.messages, model="scripted-paper")
    text = str(sample.messages[0]["content"])
    again = [*sample.messages, first.turn.answer.message, user(text[text.index("What are the") :])]
    second = answer(again, model="scripted-paper", context=first.context)
    assert second.text == first.text
    assert len(second.requests) == 1


def test_the_right_one_of_two_streams_that_begin_alike_is_folded() -> None:
    sample = draw(32)
    text = str(sample.messages[0]["content"])
    start = text.index("next line.\n ") + len("next line.\n ")
    quoted = user(f"It will begin so: {text[start : start + 500]}")
    answered = answer([quoted, {"role": "assistant", "content": "Good."}, *sample.messages])
    assert answered.calls() == [["fragment_context"]]
    assert "note" not in answered.results()[0]
    assert "folded" not in answered.requests[-1].messages[0].decode()
    assert "folded" in answered.requests[-1].messages[2].decode()
    assert accuracy(answered.text, sample) == 1.0


@pytest.mark.parametrize("toolset", ["full", "paper"])
def test_a_value_hidden_by_somebody_else_is_brought_back(toolset: ToolsetName) -> None:
    sample = draw(32)
    messages = [*sample.messages, {"role": "assistant", "content": "Which keys?"}]
    question = str(sample.messages[0]["content"])
    messages.append(user(question[question.index("What are the") :]))
    context = Context(seed=b"0" * 16, counter=TokenCounter())
    context.extend(read_request(orjson.dumps({"messages": messages}), MessageCache()).messages)
    fold_to_fit(context, 1_500)
    assert context.tokens < 1_500
    answered = answer(messages, ours=toolset, context=context)
    assert accuracy(answered.text, sample) == 1.0
    assert ["restore_fragment"] in answered.calls()


@pytest.mark.parametrize(
    "options",
    [
        {"prompt_updating": "hyphen"},
        {"prompt_updating": "equal"},
        {"prompt_updating": "wordy"},
        {"prompt_forgetting": "forget_half_each_separate"},
        {"prompt_forgetting": "forget_half_each_inline"},
        {"prompt_forgetting": "forget_half_each_inline-control"},
        {"prompt_forgetting": "hackreset_none_[300]"},
        {"prompt_forgetting": "imagine_none_[300]"},
        {"prompt_forgetting": "mindful_none_[-4]"},
        {"prompt_forgetting": "activelocate"},
        {"extra_output_format": "succinct"},
        {"probe_target": "most recent"},
        {"len_item": 6, "len_item_style": "cap-strip", "extra_output_format": "redundantIntegrity"},
        {"random_update": False},
        {"n_tracked_keys": 3, "n_untracked_keys": 43, "n_untracked_updates": 12},
    ],
    ids=str,
)
def test_every_wording_of_the_prompt_is_read(options: dict[str, Any]) -> None:
    sample = draw(12, **options)
    for tools in ("full", None):
        answered = answer(sample.messages, ours=tools)  # type: ignore[arg-type]
        assert accuracy(answered.text, sample) == 1.0


def test_a_dictionary_is_answered_where_one_is_asked_for() -> None:
    sample = draw(4, n_tracked_keys=2, answer_format="dict")
    pairs = ", ".join(f"{key}: {value}" for key, value in dict(sample.reference).items())  # type: ignore[arg-type, call-overload]
    assert answer(sample.messages).text == f"The current key-value pairs are: {{{pairs}}}"


QUESTION = "What are the current value of each key (bird, water body) you are tracking?"


def read(*texts: str) -> UpdateStream | None:
    return read_update_stream(read_prompt({"messages": [user(text) for text in texts]}))


def seen(stream: UpdateStream | None) -> dict[str, str]:
    assert stream is not None
    return {key: update.value for key, update in stream.last.items()}


def test_text_torn_by_a_fold_is_not_read_as_an_update() -> None:
    stream = read(
        f"bird: emu; water body: la⟦f0a1b2 folded · 90 tokens⟧ke; bird: k⟦f0a1b3 folded · 9 tokens⟧"
        f"iwi; water body: bay; \n\n{QUESTION}"
    )
    assert seen(stream) == {"bird": "emu", "water body": "bay"}
    assert stream is not None
    assert stream.folded == ("f0a1b2", "f0a1b3")
    assert stream.text[stream.shown_from :].startswith("water body: bay")


def test_a_key_inside_another_key_is_not_mistaken_for_it() -> None:
    question = "What are the current value of each key (body, bird) you are tracking?"
    stream = read(f"body: arm; water body: lake; bird: emu; \n\n{question}")
    assert seen(stream) == {"body": "arm", "bird": "emu"}


def test_boundary_markers_of_inline_mode_hide_nothing() -> None:
    stream = read(
        f"⟦f0a1b2⟧ bird: emu; bird: owl; ⟦/f0a1b2⟧⟦f0a1b3⟧ water body: bay; ⟦/f0a1b3⟧\n{QUESTION}"
    )
    assert seen(stream) == {"bird": "owl", "water body": "bay"}


def test_a_question_without_a_stream_is_answered_with_nothing() -> None:
    stream = read("Hello.", QUESTION)
    assert stream is not None
    assert stream.answer() == "The current key-value pairs are: {}"
    assert read("Hello.") is None
