import json
import random
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from sculptor.mom.language import states
from sculptor.mom.language.grammar import Grammar, GrammarError, GrammarState
from sculptor.mom.language.protocol import ARGUMENT_TOKENS, TOOL_TOKENS, Protocol
from sculptor.mom.language.reply import ArgumentsPiece, CallOpened, ReplyReader, TextPiece
from sculptor.mom.language.template import render_turn
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.tools.registry import toolset
from tests.mom.language.random_schemas import instances, schemas

TOKENIZER = load_tokenizer()
FULL = [tool.definition() for tool in toolset("full").tools.values()]
CLOSING = [
    np.array([Protocol.CALL, Protocol.CALL_END, Protocol.END]),
    np.array(TOKENIZER.encode('"}]')),
]
SLOW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def tool(name: str, schema: Any) -> dict[str, Any]:
    """Return a tool's definition."""
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def answer_format(schema: Any) -> dict[str, Any]:
    """Return a response format in OpenAI's form."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def follow(state: GrammarState, tokens: list[int]) -> GrammarState:
    """Go on with tokens, each of which must be allowed."""
    for token in tokens:
        assert state.allowed()[token], (token, TOKENIZER.spelling(token))
        state = state.advance(token)
    return state


def accepted(state: GrammarState, tokens: list[int]) -> tuple[str, list[tuple[str, str]]]:
    """Return the text and the calls of a turn up to the first token that may not come."""
    for place, token in enumerate(tokens):
        if not state.allowed()[token]:
            return read(tokens[:place])
        state = state.advance(token)
    raise AssertionError("every token may come")


def walk(grammar: Grammar, seed: int) -> list[int]:
    """Return a turn of random allowed tokens, drawn towards its end the longer it is.

    Where free keys may come, a random walk hardly ever spells a required one: it is given up then.
    """
    draw = random.Random(seed)
    state, tokens = grammar.start(), list[int]()
    while not state.ended:
        allowed = state.allowed()
        assert allowed.any(), "a state that no token leaves"
        likely = next((kind for kind in CLOSING if allowed[kind].any()), None)
        if likely is None or draw.random() > 0.2 + len(tokens) / 100:
            likely = np.flatnonzero(allowed)
        token = int(draw.choice(likely[allowed[likely]]))
        tokens.append(token)
        state = state.advance(token)
        if len(tokens) > 400:
            reject()
    return tokens


def read(tokens: list[int]) -> tuple[str, list[tuple[str, str]]]:
    """Return the text and the calls of a turn."""
    reader = ReplyReader(tokenizer=TOKENIZER)
    text, calls = "", []
    for event in (event for token in tokens for event in reader.feed(token)):
        match event:
            case TextPiece(text=piece):
                text += piece
            case CallOpened(name=name):
                calls.append((name, ""))
            case ArgumentsPiece(text=piece):
                calls[-1] = (calls[-1][0], calls[-1][1] + piece)
            case _:
                pass
    return text, calls


def value_of(text: str) -> Any:
    """Return the value of JSON text in which no object holds a key twice."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in found}) == len(found), found
        return dict(found)

    return json.loads(text, object_pairs_hook=pairs)


def compact(value: Any) -> str:
    """Return a value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def turn(text: str = "", *calls: tuple[str, Any]) -> list[int]:
    """Return the tokens of a turn."""
    made = [{"function": {"name": name, "arguments": compact(value)}} for name, value in calls]
    return render_turn({"content": text, "tool_calls": made}, tokenizer=TOKENIZER)


@SLOW
@given(schemas, st.integers(0, 2**32))
def test_whatever_is_allowed_satisfies_the_schema_of_a_call(schema: Any, seed: int) -> None:
    grammar = Grammar(TOKENIZER, tools=[tool("x", schema)], tool_choice="required", parallel=False)
    _, calls = read(walk(grammar, seed))
    assert [name for name, _ in calls] == ["x"]
    jsonschema.validate(value_of(calls[0][1]), schema)


@SLOW
@given(schemas, st.integers(0, 2**32))
def test_whatever_is_allowed_satisfies_the_response_format(schema: Any, seed: int) -> None:
    grammar = Grammar(TOKENIZER, response_format=answer_format(schema))
    text, calls = read(walk(grammar, seed))
    assert not calls
    jsonschema.validate(value_of(text), schema)


@SLOW
@given(st.data())
def test_what_satisfies_a_schema_is_allowed_token_by_token(data: st.DataObject) -> None:
    schema = data.draw(schemas)
    value = data.draw(instances(schema))
    jsonschema.validate(value, schema)
    called = Grammar(TOKENIZER, tools=[tool("x", schema), *FULL])
    assert follow(called.start(), turn("", ("x", value))).ended
    answered = Grammar(TOKENIZER, response_format=answer_format(schema))
    assert follow(answered.start(), turn(compact(value))).ended


@SLOW
@given(schemas, st.integers(0, 2**32))
def test_the_mask_and_the_step_agree(schema: Any, seed: int) -> None:
    grammar = Grammar(TOKENIZER, tools=[tool("x", schema), *FULL[:2]], parallel=False)
    tokens = walk(grammar, seed)
    cut = random.Random(seed).randrange(len(tokens))
    state = follow(grammar.start(), tokens[:cut])
    for token in range(TOKENIZER.vocab_size):
        if state.allowed()[token]:
            state.advance(token)
        else:
            with pytest.raises(GrammarError, match="cannot come here"):
                state.advance(token)


@pytest.mark.parametrize(
    "call",
    [
        (
            "fragment_context",
            {"role": "user", "size_tokens": 100_000, "fold_except": [1, -1]},
        ),
        (
            "fold_fragment",
            {"fragment_ids": ["f1a2b3", "f1a2b3..f4c5d6", "all"], "keep_last": 0},
        ),
        (
            "search_context",
            {"queries": ['a "b"', "c\n\td", "é🙂"], "latest_per_query": True},
        ),
        ("pin_fragment", {"pinned": False}),
        ("undo", {"operation": "o3"}),
    ],
    ids=str,
)
def test_calls_of_the_context_tools_are_allowed(call: tuple[str, Any]) -> None:
    grammar = Grammar(TOKENIZER, tools=FULL)
    assert follow(grammar.start(), turn("Let me see.", call, call)).ended


@pytest.mark.parametrize(
    ("name", "arguments", "before"),
    [
        ("fold_fragment", {"keep_last": -1}, '{"keep_last":'),
        ("fold_fragment", {"other": 1}, "{"),
        ("search_context", {}, "{"),
        ("search_context", {"queries": []}, '{"queries":['),
        ("search_context", {"queries": [""]}, '{"queries":["'),
        ("search_context", {"queries": ["a"], "max_results": 51}, '..."a"],"max_results":5'),
        ("search_context", {"queries": ["a"], "mode": "best"}, '..."a"],"mode":"'),
        ("undo", {"operation": 3}, '{"operation":'),
    ],
    ids=str,
)
def test_calls_that_break_a_schema_are_refused_where_they_do(
    name: str, arguments: Any, before: str
) -> None:
    state = Grammar(TOKENIZER, tools=FULL).start()
    text, ((called, said),) = accepted(state, turn("", (name, arguments)))
    assert (text, called) == ("", name)
    assert said == before.replace("...", '{"queries":[')


def test_a_tool_that_is_not_there_cannot_be_called() -> None:
    state = Grammar(TOKENIZER, tools=FULL).start()
    assert follow(state, turn("", ("undo", {"operation": "o1"}))).ended
    assert accepted(state, turn("", ("erase", {}))) == ("", [])


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_may_be_answered(text: str) -> None:
    assert follow(Grammar(TOKENIZER, tools=FULL).start(), turn(text)).ended


def test_a_name_that_begins_another_is_told_apart() -> None:
    empty = {"type": "object", "properties": {}}
    grammar = Grammar(TOKENIZER, tools=[tool("get", empty), tool("get_x", empty)])
    for name in ("get", "get_x"):
        assert follow(grammar.start(), turn("", (name, {}))).ended
    with pytest.raises(AssertionError):
        follow(grammar.start(), turn("", ("get_", {})))


def test_a_choice_of_tools_is_kept() -> None:
    call, other = turn("", ("undo", {"operation": "o1"})), turn("", ("fold_fragment", {}))
    none = Grammar(TOKENIZER, tools=FULL, tool_choice="none").start()
    assert not none.allowed()[Protocol.CALL]
    assert none.allowed()[Protocol.END]
    required = Grammar(TOKENIZER, tools=FULL, tool_choice="required").start()
    assert not required.allowed()[Protocol.END]
    assert follow(required, call).ended
    named = {"type": "function", "function": {"name": "undo"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named]}}
    for choice in (named, allowed):
        state = Grammar(TOKENIZER, tools=FULL, tool_choice=choice).start()
        assert follow(state, call).ended
        names = state.advance(Protocol.CALL).allowed()
        assert names[TOOL_TOKENS["undo"]]
        assert names.sum() == 1
        with pytest.raises(AssertionError):
            follow(state, other)


def test_one_call_a_turn_where_calls_may_not_be_parallel() -> None:
    call = ("undo", {"operation": "o1"})
    state = Grammar(TOKENIZER, tools=FULL, parallel=False).start()
    after = follow(state, turn("", call)[:-1])
    assert np.flatnonzero(after.allowed()).tolist() == [Protocol.END]


@pytest.mark.parametrize(
    ("choice", "tools", "problem"),
    [
        ("required", [], "no tools"),
        ({"type": "function", "function": {"name": "x"}}, FULL, "names 'x'"),
        ({"type": "allowed_tools", "allowed_tools": {"tools": []}}, FULL, "allowed_tools"),
        ("sometimes", FULL, "sometimes"),
    ],
)
def test_a_choice_nothing_satisfies_is_an_error(choice: Any, tools: Any, problem: str) -> None:
    with pytest.raises(GrammarError, match=problem):
        Grammar(TOKENIZER, tools=tools, tool_choice=choice)


def test_a_response_format_leaves_calls_free() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    state = Grammar(TOKENIZER, tools=FULL, response_format=answer_format(schema)).start()
    assert follow(state, turn('{"a":1}')).ended
    assert follow(state, turn("", ("undo", {"operation": "o1"}))).ended
    with pytest.raises(AssertionError):
        follow(state, turn("text"))
    plain = Grammar(TOKENIZER, response_format={"type": "text"}).start()
    assert follow(plain, turn("text")).ended
    any_object = Grammar(TOKENIZER, response_format={"type": "json_object"}).start()
    assert follow(any_object, turn('{"a":[1.5e-3,null,{"b":{}}]}')).ended
    with pytest.raises(AssertionError):
        follow(any_object, turn("[]"))


def test_a_key_with_a_token_of_its_own_comes_once() -> None:
    state = Grammar(TOKENIZER, tools=[tool("x", {"type": "object"})]).start()
    assert follow(state, turn("", ("x", {"query": 1, "b": {"query": 2}, "role": 3}))).ended
    once = follow(state, turn("", ("x", {"query": 1, "a": 2}))[:-3])
    again = once.advance(TOKENIZER.encode(",")[0])
    assert not again.allowed()[ARGUMENT_TOKENS["query"]]
    assert again.allowed()[ARGUMENT_TOKENS["role"]]


def test_nothing_follows_the_end() -> None:
    state = follow(Grammar(TOKENIZER).start(), turn("a"))
    assert state.ended
    assert not state.allowed().any()


def test_half_a_character_cannot_end_a_text() -> None:
    state = follow(Grammar(TOKENIZER).start(), TOKENIZER.encode_bytes("🙂".encode()[:2]))
    assert not state.allowed()[Protocol.END]
    assert state.allowed().sum() == 64


def test_masks_are_not_to_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Grammar(TOKENIZER).start().allowed()[0] = True


def test_a_long_turn_is_right_where_few_states_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_KEPT_STATES", 64)
    call = ("fold_fragment", {"fragment_ids": [f"f{number:05x}" for number in range(1000)]})
    grammar = Grammar(TOKENIZER, tools=FULL)
    assert follow(grammar.start(), turn("", call)).ended
    assert len(grammar._automaton._states) <= 64
    too_many = ("fold_fragment", {"fragment_ids": ["f00000"] * 1001})
    _, ((_, said),) = accepted(grammar.start(), turn("", too_many))
    assert said.count("f00000") == 1000


def test_arguments_that_nothing_satisfies_are_any_object() -> None:
    broken = {"type": "object", "required": ["a"], "additionalProperties": False}
    state = Grammar(TOKENIZER, tools=[tool("x", broken)]).start()
    assert follow(state, turn("", ("x", {"query": 1}))).ended
    with pytest.raises(AssertionError):
        follow(state, turn("", ("x", [1])))


def test_a_tool_without_parameters_takes_none() -> None:
    state = Grammar(TOKENIZER, tools=[{"function": {"name": "x"}}]).start()
    assert follow(state, turn("", ("x", {}))).ended
    with pytest.raises(AssertionError):
        follow(state, turn("", ("x", {"a": 1})))
