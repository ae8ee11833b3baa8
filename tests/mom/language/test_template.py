import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sculptor.mom.language.protocol import ARGUMENT_TOKENS, TOOL_TOKENS, Protocol
from sculptor.mom.language.template import render_prompt, render_training, render_turn
from sculptor.mom.language.tokenizer import load_tokenizer
from sculptor.tools.registry import toolset

TOKENIZER = load_tokenizer()
FULL = [tool.definition() for tool in toolset("full").tools.values()]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Unseen words.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Unseen words."},
                "unit": {"enum": ["C", "F"]},
                "days": {"type": ["integer", "null"]},
                "at": {"$ref": "#/$defs/place"},
                "query": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["city"],
            "$defs": {"place": {"type": "object", "properties": {"x": {"type": "number"}}}},
        },
    },
}

texts = st.text(max_size=12)
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.just({"type": "image_url", "image_url": {"url": "data:,"}}),
    st.just({"type": "input_audio", "input_audio": {}}),
)
contents = st.one_of(st.none(), texts, st.lists(parts, max_size=3))
arguments = st.one_of(
    texts,
    st.dictionaries(texts | st.sampled_from([*ARGUMENT_TOKENS]), texts, max_size=3).map(json.dumps),
)
calls = st.builds(
    lambda name, arguments, number: {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    st.sampled_from([*TOOL_TOKENS, "get_weather"]),
    arguments,
    st.integers(0, 5),
)
assistants = st.builds(
    lambda content, calls: {"role": "assistant", "content": content, "tool_calls": calls},
    contents,
    st.lists(calls, max_size=2),
)
others = st.builds(
    lambda role, content, number: {
        "role": role,
        "content": content,
        "tool_call_id": f"call_{number}",
    },
    st.sampled_from(["system", "developer", "user", "tool", "critic"]),
    contents,
    st.integers(0, 5),
)


def show(tokens: list[int]) -> str:
    """Return tokens as people read them."""
    known = {int(token): f"<{token.name}>" for token in Protocol}
    return "".join(known.get(token) or TOKENIZER.spelling(token).decode() for token in tokens)


@given(st.lists(assistants | others, max_size=4), assistants, st.lists(others, max_size=3))
def test_a_prompt_that_goes_on_begins_with_the_earlier_one(
    before: list[Any], turn: Any, after: list[Any]
) -> None:
    first = render_prompt(before, tools=FULL, tokenizer=TOKENIZER)
    first += render_turn(turn, tokenizer=TOKENIZER)
    second = render_prompt([*before, turn, *after], tools=FULL, tokenizer=TOKENIZER)
    assert second[: len(first)] == first
    assert second[-1] == Protocol.ASSISTANT


@given(st.lists(assistants | others, max_size=6))
def test_only_the_template_opens_and_closes(messages: list[Any]) -> None:
    tokens = render_prompt(messages, tokenizer=TOKENIZER)
    made = sum(len(message.get("tool_calls", ())) for message in messages)
    assert tokens.count(Protocol.END) == len(messages)
    assert tokens.count(Protocol.CALL) == tokens.count(Protocol.CALL_END) == made


@given(st.lists(assistants | others, max_size=6), st.sets(st.integers(0, 5)))
def test_loss_lies_on_what_the_model_wrote(messages: list[Any], trained: set[int]) -> None:
    done = render_training(messages, tools=FULL, trained=trained, tokenizer=TOKENIZER)
    assert [*done.tokens, Protocol.ASSISTANT] == render_prompt(
        messages, tools=FULL, tokenizer=TOKENIZER
    )
    wanted = [
        token
        for index, message in enumerate(messages)
        if index in trained and message["role"] == "assistant"
        for token in render_turn(message, tokenizer=TOKENIZER)
    ]
    assert [
        token for token, is_on in zip(done.tokens, done.trained, strict=True) if is_on
    ] == wanted


def test_a_conversation_with_calls() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {
                        "name": "fold_fragment",
                        "arguments": '{ "fragment_ids": ["f1a2b3", "f4 , c5"], "keep_last": 2 }',
                    },
                }
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": '{"ok":true}'},
        {"role": "assistant", "content": "Done."},
    ]
    assert show(render_prompt(messages, tokenizer=TOKENIZER)) == (
        "<BEGIN><SYSTEM>Be brief.<END><USER>Hi<PART><IMAGE><END>"
        '<ASSISTANT><CALL>fold_fragment<ARGUMENTS>{"fragment_ids":["f1a2b3","f4 , c5"],'
        '"keep_last":2}<CALL_END><END>'
        '<TOOL>fold_fragment<RESULT>{"ok":true}<END><ASSISTANT>Done.<END><ASSISTANT>'
    )


def test_tools_are_shown_by_names_types_and_values_alone() -> None:
    shown = show(render_prompt([], tools=[WEATHER, {"type": "web_search"}], tokenizer=TOKENIZER))
    assert shown == (
        '<BEGIN><DEFINE>get_weather<ARGUMENTS>"city":string"unit":"C"|"F"?"days":integer|null?'
        '"at":{"x":number?}?"query":[string]?<ASSISTANT>'
    )


def test_odd_schemas_and_odd_content_are_shown_shortly() -> None:
    odd = {"a": True, "b": {"anyOf": [{"const": 1}, {"type": "null"}]}, "c": {"$ref": "#/x/0"}}
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(5):
        deep = {"type": "array", "items": deep}
    schema = {"properties": {**odd, "d": deep}, "x": [{"type": "boolean"}]}
    tools = [
        {"function": {"name": "x", "parameters": schema}},
        {"function": {"name": "y", "parameters": {"properties": 3}}},
    ]
    message = {"role": "user", "content": ["plain", 3, {"type": "refusal", "refusal": "no"}]}
    assert show(render_prompt([message], tools=tools, tokenizer=TOKENIZER)) == (
        '<BEGIN><DEFINE>x<ARGUMENTS>"a":any?"b":1|null?"c":boolean?"d":[[[array]]]?'
        "<DEFINE>y<ARGUMENTS><USER>plain<PART><OTHER_PART><PART>no<END><ASSISTANT>"
    )


def test_arguments_that_are_an_object_are_written_out() -> None:
    turn = {"tool_calls": [{"function": {"name": "x", "arguments": {"a": [1]}}}]}
    assert show(render_turn(turn, tokenizer=TOKENIZER)) == (
        '<CALL>x<ARGUMENTS>{"a":[1]}<CALL_END><END>'
    )


def test_the_older_form_of_a_call_and_a_refusal_are_read() -> None:
    old = {"role": "assistant", "function_call": {"name": "undo", "arguments": "{}"}}
    assert show(render_turn(old, tokenizer=TOKENIZER)) == ("<CALL>undo<ARGUMENTS>{}<CALL_END><END>")
    refused = {"role": "assistant", "content": None, "refusal": "No."}
    assert show(render_turn(refused, tokenizer=TOKENIZER)) == "No.<END>"


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    call = {"function": {"name": "x", "arguments": '{ "query": [" '}}
    turn = {"role": "assistant", "tool_calls": [call]}
    assert show(render_turn(turn, tokenizer=TOKENIZER)) == (
        '<CALL>x<ARGUMENTS>{ "query": [" <CALL_END><END>'
    )


def test_the_context_tools_and_their_words_take_few_tokens() -> None:
    assert len(render_prompt([], tools=FULL, tokenizer=TOKENIZER)) < 180
    fold = {"name": "fold_fragment", "arguments": '{"fragment_ids":["f1a2b3","f4c5d6"]}'}
    turn = {"role": "assistant", "tool_calls": [{"function": fold}]}
    assert len(render_turn(turn, tokenizer=TOKENIZER)) <= 23
    receipt = (
        '{"ok":true,"folded":["f1a2b3"],"view_tokens":{"before":5120,"after":870},'
        '"prefix_kept_tokens":40,"undo":"o3"}'
    )
    assert len(TOKENIZER.encode(receipt)) <= 42
    hit = (
        '{"id":"s1a2b3","message":0,"role":"user","char":120,"text":"otter: the pond; otter: den"}'
    )
    assert len(TOKENIZER.encode(hit)) <= 32
    assert len(TOKENIZER.encode("⟦f1a2b3 folded · 1204 tokens⟧")) == 13
