"""The loop: what the model is sent, what the client is handed, and what is in force afterwards."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from sculptor.chat import Completed, ExtraDelta, TextDelta, ToolCallDelta, Usage
from sculptor.context import Context, Step
from sculptor.loop import Budget, ModelRequest, Turn, pass_through
from sculptor.loop.pairing import pair_up
from sculptor.loop.turn import Call, Emit, Next
from sculptor.messages import Message, parse_message

from .scripted import (
    FILLER,
    ScriptedModel,
    call,
    calls,
    context_of,
    message,
    messages_of,
    request_of,
    run,
    says,
    tools_of,
)

WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
HISTORY = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "port: 8080\n" + FILLER * 120},
    {"role": "assistant", "content": "Noted."},
    {"role": "user", "content": "Which port?"},
]
FOLD_ALL = {"num_fragments": 4, "fold_except": []}


def begin(**fields: Any) -> tuple[Context, Any]:
    request = request_of(HISTORY, **fields)
    return context_of(request.messages), request


def text_of(deltas: list[Any]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def test_without_a_call_the_request_differs_by_the_tools_alone() -> None:
    context, request = begin(temperature=0.5)
    model = ScriptedModel(says("8080"))
    deltas, turn = run(context, request, model)
    sent = orjson.loads(model.requests[0].body)
    assert sent.pop("tools")
    assert sent == orjson.loads(request.body)
    assert orjson.dumps(sent["messages"]) in request.body
    assert text_of(deltas) == turn.answer.text == "8080"
    assert turn.steps == 0
    assert context.depth == 0
    assert not context.steps


def test_a_fold_shortens_the_next_request_and_stays_in_force() -> None:
    context, request = begin()
    model = ScriptedModel(calls(call("fragment_context", **FOLD_ALL)), says("8080"))
    _, turn = run(context, request, model)
    first, second = map(messages_of, model.requests)
    assert len(orjson.dumps(second[1])) < len(orjson.dumps(first[1])) / 4
    assert "folded" in second[1]["content"]
    assert [m["role"] for m in second[4:]] == ["assistant", "tool"]
    assert turn.steps == 1
    assert turn.answer.text == "8080"
    assert [operation.author for operation in [context.log.get(1)]] == ["model"]


def test_the_same_tools_with_the_same_bytes_go_out_in_every_call() -> None:
    context, request = begin(tools=[WEATHER])
    model = ScriptedModel(
        calls(call("fragment_context", num_fragments=2)),
        calls(call("search_context", queries=["port"])),
        says("8080"),
    )
    run(context, request, model)
    assert len({sent.tools for sent in model.requests}) == 1
    assert tools_of(model.requests[0])[0] == "get_weather"


def test_a_step_stands_whole_after_the_message_it_follows() -> None:
    context, request = begin()
    made = [call("search_context", "x", queries=["port"]), call("undo", "y", operation="o9")]
    model = ScriptedModel(calls(*made, text="Looking."), says("8080"))
    run(context, request, model)
    (step,) = context.steps
    assert step.after == 3
    assert not step.replaces
    assert [m.role for m in step.messages] == ["assistant", "tool", "tool"]
    assert step.messages[0].text == "Looking."
    assert [m.result_for for m in step.messages[1:]] == list(step.messages[0].call_ids)
    pair_up([parse_message(wire) for wire in model.requests[1].messages])


def test_ids_that_an_upstream_repeats_are_ours_and_unique() -> None:
    context, request = begin()
    search = call("search_context", "call_1", queries=["port"])
    model = ScriptedModel(calls(search), calls(search), calls(search), says("8080"))
    run(context, request, model)
    names = [m.call_ids for step in context.steps for m in step.messages if m.call_ids]
    assert len(set(names)) == 3
    assert ("call_1",) not in names


def test_text_before_an_internal_call_stays_as_a_preamble_in_both_forms() -> None:
    for stream in (False, True):
        context, request = begin(stream=stream)
        search = call("search_context", queries=["port"])
        model = ScriptedModel(calls(search, text="Let me look."), says("It is 8080."))
        deltas, turn = run(context, request, model)
        assert text_of(deltas) == "Let me look.\n\nIt is 8080."
        assert turn.answer.message["content"] == text_of(deltas)
        assert turn.produced.text == "It is 8080."


def test_no_gap_is_written_where_there_was_no_text_before() -> None:
    context, request = begin()
    model = ScriptedModel(calls(call("search_context", queries=["port"])), says("It is 8080."))
    deltas, _ = run(context, request, model)
    assert text_of(deltas) == "It is 8080."


def test_calls_of_the_client_pass_untouched_and_end_the_turn() -> None:
    context, request = begin(tools=[WEATHER])
    model = ScriptedModel(calls(call("get_weather", "abc", city="Rome"), text="One moment."))
    deltas, turn = run(context, request, model)
    (made,) = turn.answer.tool_calls
    assert made["function"] == {"name": "get_weather", "arguments": '{"city":"Rome"}'}
    assert turn.answer.finish_reason == "tool_calls"
    assert turn.minted == (made["id"],)
    assert not turn.mixed
    assert joined_calls(deltas) == [(made["id"], "get_weather", '{"city":"Rome"}')]


def test_internal_and_client_calls_of_one_step_are_split_and_joined_again() -> None:
    context, request = begin(tools=[WEATHER])
    model = ScriptedModel(
        calls(
            call("search_context", "s", queries=["port"]),
            call("get_weather", "w", city="Rome"),
            call("fragment_context", "f", **FOLD_ALL),
        )
    )
    deltas, turn = run(context, request, model)
    assert [made["function"]["name"] for made in turn.answer.tool_calls] == ["get_weather"]
    assert {delta.index for delta in deltas if isinstance(delta, ToolCallDelta)} == {0}
    produced, *results = turn.mixed
    assert len(produced.call_ids) == 3
    assert [m.result_for for m in results] == [produced.call_ids[0], produced.call_ids[2]]
    assert context.depth == 1

    answer = parse_message(orjson.dumps(turn.answer.message))
    rome = message("tool", "sunny", tool_call_id=turn.minted[0])
    follow = [*request.messages, answer, rome]
    resumed = context_after(context, follow, turn)
    sent = [parse_message(wire) for wire in resumed.view().messages]
    assert [m.role for m in sent[-4:]] == ["assistant", "tool", "tool", "tool"]
    assert pair_up(sent) == tuple(message.wire for message in sent)
    resumed.append(message("user", "Thanks. And tomorrow?"))
    closed = [parse_message(wire) for wire in resumed.view().messages]
    assert [m.call_ids for m in closed[-3:]] == [turn.minted, (), ()]
    assert pair_up(closed) == tuple(message.wire for message in closed)


def test_nothing_internal_ever_reaches_the_client() -> None:
    context, request = begin(tools=[WEATHER], stream=True)
    pieces: list[Any] = [
        ToolCallDelta(index=0, id="s", name="search_context", arguments=""),
        ToolCallDelta(index=1, id="w", name="get_weather", arguments=""),
        ToolCallDelta(index=0, arguments='{"queries":'),
        ToolCallDelta(index=1, arguments='{"city":'),
        ToolCallDelta(index=0, arguments='["port"]}'),
        ToolCallDelta(index=1, arguments='"Rome"}'),
        calls(call("search_context", "s", queries=["port"]), call("get_weather", "w", city="Rome")),
    ]
    deltas, turn = run(context, request, ScriptedModel(pieces))
    shown = repr(deltas) + repr(turn.answer)
    assert "search_context" not in shown
    assert "queries" not in shown
    assert joined_calls(deltas) == [(turn.minted[0], "get_weather", '{"city":"Rome"}')]


def test_at_the_limit_of_steps_one_last_call_goes_without_our_tools() -> None:
    context, request = begin()
    search = call("search_context", queries=["port"])
    model = ScriptedModel(*[calls(search)] * 3, says("8080"))
    _, turn = run(context, request, model, budget=Budget(max_steps=3))
    assert turn.steps == 3
    assert turn.answer.text == "8080"
    choices = [orjson.loads(sent.body).get("tool_choice") for sent in model.requests]
    assert choices == [None, None, None, "none"]
    assert len({sent.tools for sent in model.requests}) == 1


def test_steps_of_the_same_turn_count_from_request_to_request() -> None:
    context, request = begin()
    search = message("assistant", None, tool_calls=[call("search_context", "a", queries=["x"])])
    found = message("tool", "{}", tool_call_id="a")
    context.steps = [Step(3, (search, found)), Step(3, (search, found), replaces=True)]
    model = ScriptedModel(says("8080"))
    run(context, request, model, budget=Budget(max_steps=2))
    assert orjson.loads(model.requests[0].body)["tool_choice"] == "none"


def test_the_limits_on_time_and_on_input_tokens_hold_too() -> None:
    search = call("search_context", queries=["port"])
    context, request = begin()
    model = ScriptedModel(calls(search, tokens=(600, 1)), calls(search, tokens=(600, 1)), says("x"))
    run(context, request, model, budget=Budget(max_input_tokens=1_000))
    assert orjson.loads(model.requests[2].body)["tool_choice"] == "none"

    context, request = begin()
    ticks: Iterator[float] = iter([0.0, 1.0, 11.0])
    model = ScriptedModel(calls(search), says("x"))
    run(context, request, model, budget=Budget(max_seconds=10.0), clock=lambda: next(ticks))
    assert orjson.loads(model.requests[1].body)["tool_choice"] == "none"


def test_a_model_that_calls_our_tools_though_they_are_off_is_not_obeyed() -> None:
    context, request = begin()
    model = ScriptedModel(calls(call("fragment_context", **FOLD_ALL), text="Done."))
    deltas, turn = run(context, request, model, budget=Budget(max_steps=0))
    assert context.depth == 0
    assert turn.answer.finish_reason == "stop"
    assert not turn.answer.tool_calls
    assert turn.answer.text == text_of(deltas) == "Done."


def test_a_call_of_ours_cut_short_is_not_run_and_the_model_asked_once_more() -> None:
    context, request = begin()
    cut = call("fragment_context", **FOLD_ALL)
    model = ScriptedModel(calls(cut, text="Let me", finish="length"), says("It is 8080."))
    deltas, turn = run(context, request, model)
    assert context.depth == 0
    assert context.steps == []
    assert turn.answer.finish_reason == "stop"
    assert turn.answer.text == text_of(deltas) == "Let me\n\nIt is 8080."
    assert len(turn.billed) == 2
    first, second = model.requests
    assert "tool_choice" not in orjson.loads(first.body)
    assert orjson.loads(second.body)["tool_choice"] == "none"
    assert second.messages == first.messages


def test_it_is_asked_no_third_time() -> None:
    context, request = begin()
    cut = calls(call("fragment_context", **FOLD_ALL), text="So", finish="length")
    model = ScriptedModel(cut, cut)
    _, turn = run(context, request, model)
    assert (turn.answer.finish_reason, turn.answer.text) == ("length", "So\n\nSo")
    assert not turn.answer.tool_calls
    assert context.depth == 0


def test_a_call_of_the_client_cut_short_ends_as_cut() -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    context, request = begin(tools=tools)
    cut = calls(call("weather", city="Os"), call("fold_fragment"), text="Hm.", finish="length")
    _, turn = run(context, request, ScriptedModel(cut))
    assert turn.answer.finish_reason == "length"
    assert [each["function"]["name"] for each in turn.answer.tool_calls] == ["weather"]
    assert context.depth == 0


def test_a_wrong_call_is_answered_with_what_to_do_next() -> None:
    context, request = begin()
    broken = {"id": "b", "type": "function", "function": {"name": "undo", "arguments": "{nope"}}
    model = ScriptedModel(calls(call("fold_fragment", fragment_ids=["f00000"]), broken), says("x"))
    run(context, request, model)
    first, second = [orjson.loads(m.text) for m in context.steps[0].messages[1:]]
    assert first["error"] == "UNKNOWN_ID"
    assert "fragment_context" in first["hint"]
    assert second["error"] == "INVALID_ARGUMENTS"
    sent = messages_of(model.requests[1])[-3]["tool_calls"][1]["function"]["arguments"]
    assert orjson.loads(sent) == {"_raw": "{nope"}


def test_what_each_call_cost_is_told() -> None:
    context, request = begin()
    model = ScriptedModel(
        calls(call("fragment_context", **FOLD_ALL), tokens=(1700, 30)), says("x", tokens=(300, 5))
    )
    before = context.tokens
    _, turn = run(context, request, model)
    assert [row.tokens and row.tokens.prompt_tokens for row in turn.billed] == [1700, 300]
    assert turn.billed[0].view_tokens == before
    assert turn.billed[1].view_tokens == context.tokens
    assert turn.answer.usage == Usage(prompt_tokens=300, completion_tokens=5)


def test_other_fields_of_the_answer_pass_through() -> None:
    context, request = begin()
    extra = ExtraDelta(fields={"reasoning_content": "thinking"})
    whole = Completed(
        message={"role": "assistant", "content": "x", "reasoning_content": "thinking"},
        finish_reason="stop",
        fields={"system_fingerprint": "fp"},
        choice={"logprobs": {"content": []}},
    )
    deltas, turn = run(context, request, ScriptedModel([extra, TextDelta(text="x"), whole]))
    assert extra in deltas
    assert turn.answer.message["reasoning_content"] == "thinking"
    assert turn.answer.fields == {"system_fingerprint": "fp"}
    assert turn.answer.choice == {"logprobs": {"content": []}}


def test_the_ledger_ends_the_view_only_where_there_are_fragments() -> None:
    context, request = begin()
    model = ScriptedModel(calls(call("fragment_context", **FOLD_ALL)), says("8080"))
    run(context, request, model)
    assert "ledger" not in model.requests[0].body.decode()
    later = [*HISTORY, {"role": "assistant", "content": "8080"}, {"role": "user", "content": "Ok?"}]
    request = request_of(later)
    resumed = context_after(context, request.messages, None)
    resumed.steps = []
    for shown in (True, False):
        model = ScriptedModel(says("yes"))
        run(resumed, request, model, show_ledger=shown)
        assert ("ledger" in orjson.dumps(messages_of(model.requests[0])[-1]).decode()) is shown
    assert all(b"ledger" not in m.wire for m in resumed.messages)


def test_an_error_of_the_model_leaves_as_it_is() -> None:
    context, request = begin()
    model = ScriptedModel(calls(call("fragment_context", **FOLD_ALL)), KeyError("lost"))
    with pytest.raises(KeyError, match="lost"):
        run(context, request, model)
    assert context.depth == 1


def test_a_request_can_pass_with_one_call_and_its_answer_as_it_is() -> None:
    made = ModelRequest(body=b"{}", messages=(), tools=(), value={}, stream=False)
    whole = calls(call("get_weather", "up", city="Rome"))
    turn = pass_through(made, 7)
    assert next(turn) == Call(made)
    assert isinstance(turn.send(None), Next)
    assert turn.send(TextDelta(text="x")) == Emit(TextDelta(text="x"))
    assert isinstance(turn.send(None), Next)
    with pytest.raises(StopIteration) as stop:
        turn.send(whole)
    outcome: Turn = stop.value.value
    assert outcome.answer is whole
    assert outcome.answer.tool_calls[0]["id"] == "up"
    assert outcome.billed[0].view_tokens == 7


def joined_calls(deltas: list[Any]) -> list[tuple[str, str, str]]:
    """Put streamed calls together, as a strict client does."""
    made: dict[int, list[Any]] = {}
    for delta in deltas:
        if not isinstance(delta, ToolCallDelta):
            continue
        if delta.index not in made:
            assert delta.index == len(made)
            assert delta.id
            assert delta.name
            made[delta.index] = [delta.id, delta.name, ""]
        else:
            assert delta.id is None
        made[delta.index][2] += delta.arguments
    return [(item[0], item[1], item[2]) for item in made.values()]


def context_after(old: Context, messages: Any, turn: Turn | None) -> Context:
    """Return the context of the next request: the same state, one more answer."""
    context = Context(
        seed=old.seed, counter=old.counter, state=old.state, version=old.version, depth=old.depth
    )
    listed: list[Message] = list(messages)
    context.extend(listed)
    context.steps = list(old.steps)
    if turn is not None and turn.mixed:
        index = len(listed) - 2
        context.steps.append(Step(index, turn.mixed, replaces=True))
    return context


def test_the_same_calls_three_times_in_a_row_are_the_last() -> None:
    context, request = begin()
    same, other = call("search_context", queries=["a"]), call("search_context", queries=["b"])
    model = ScriptedModel(
        calls(same), calls(same), calls(other), calls(same), calls(same), calls(same), says("x")
    )
    _, turn = run(context, request, model)
    assert turn.steps == 6
    assert turn.answer.text == "x"
    choices = [orjson.loads(each.body).get("tool_choice") for each in model.requests]
    assert choices == [None] * 6 + ["none"]


def test_a_view_is_fitted_before_each_call_after_a_step() -> None:
    context, request = begin()
    model = ScriptedModel(calls(call("fragment_context", num_fragments=2)), says("x"))
    seen: list[int] = []
    run(context, request, model, fit=lambda each: seen.append(each.depth))
    assert seen == [context.depth]
