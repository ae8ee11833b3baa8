"""Requests of ours differ from the client's only where they must, byte for byte."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sculptor.errors import InvalidMessage
from sculptor.loop import MessageCache, model_request, read_request
from sculptor.tools import toolset

from .scripted import request_of

FULL = toolset("full")
CLIENT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}

ODD = (
    b'{ "model" : "m",\n "messages": [ {"role":"user" , "content":"caf\\u00e9 \\ud83d\\ude00", '
    b'"x_unknown": 1.00e2} ] , "temperature":0.10, "tools":[ {"type":"function","function":'
    b'{"name":"get_weather" , "parameters":{}}} ], "stream" : false }\n '
)


def read(body: bytes) -> Any:
    return read_request(body, MessageCache())


def test_a_request_with_nothing_to_change_goes_out_byte_for_byte() -> None:
    assert model_request(read(ODD), None).body == ODD


def test_messages_keep_their_own_bytes() -> None:
    request = read(ODD)
    assert request.messages[0].wire in ODD
    assert request.messages[0].parts[0].text == "café 😀"


def test_our_tools_come_after_the_clients_own_bytes() -> None:
    body = model_request(read(ODD), None, tools=FULL.wire).body
    own = b'{"type":"function","function":{"name":"get_weather" , "parameters":{}}}'
    assert b'"tools":[' + own + b"," + FULL.wire[0] in body
    assert orjson.loads(body)["tools"] == [
        CLIENT_TOOL,
        *(orjson.loads(wire) for wire in FULL.wire),
    ]
    assert body.startswith(ODD.partition(b'"tools":[')[0])
    assert body.endswith(b', "stream" : false }\n ')


def test_tools_are_added_where_there_were_none() -> None:
    for tools in ({}, {"tools": []}, {"tools": None}):
        request = request_of([{"role": "user", "content": "hi"}], **tools)
        made = orjson.loads(model_request(request, None, tools=FULL.wire).body)
        assert [tool["function"]["name"] for tool in made["tools"]] == list(FULL.tools)
        assert (
            made.items() >= {"model": "m", "messages": [{"role": "user", "content": "hi"}]}.items()
        )


def test_an_empty_list_of_tools_goes_out_as_none() -> None:
    request = request_of([{"role": "user", "content": "hi"}], tools=[], tool_choice="auto", seed=7)
    made = orjson.loads(model_request(request, None).body)
    assert made == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 7}


def test_the_view_stands_in_the_messages_place() -> None:
    made = model_request(read(ODD), [b'{"role":"user","content":"folded"}'])
    assert orjson.loads(made.body)["messages"] == [{"role": "user", "content": "folded"}]
    assert made.messages == (b'{"role":"user","content":"folded"}',)
    assert b'"temperature":0.10' in made.body


def test_without_client_tools_ours_stay_defined_and_are_forbidden() -> None:
    request = request_of([{"role": "user", "content": "hi"}])
    made = orjson.loads(model_request(request, None, tools=FULL.wire, tools_off=True).body)
    assert made["tool_choice"] == "none"
    assert len(made["tools"]) == len(FULL.wire)


def test_with_client_tools_only_theirs_are_left() -> None:
    request = request_of([{"role": "user", "content": "hi"}], tools=[CLIENT_TOOL])
    made = orjson.loads(model_request(request, None, tools=FULL.wire, tools_off=True).body)
    assert made["tools"] == [CLIENT_TOOL]
    assert "tool_choice" not in made


def test_usage_is_asked_for_in_a_stream_and_only_there() -> None:
    message = [{"role": "user", "content": "hi"}]
    streamed = request_of(message, stream=True, stream_options={"include_obfuscation": False})
    made = orjson.loads(model_request(streamed, None, ask_usage=True).body)
    assert made["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    whole = model_request(request_of(message), None, ask_usage=True)
    assert "stream_options" not in orjson.loads(whole.body)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (b'{ "x":18446744073709551617 }', b'{ "x":18446744073709551617 ,"include_usage":true}'),
        (b'{"include_usage" : false, "x":1.50}', b'{"include_usage" : true, "x":1.50}'),
        (b"null", b'{"include_usage":true}'),
    ],
)
def test_asking_for_usage_leaves_the_other_options_as_written(given: bytes, made: bytes) -> None:
    body = b'{"messages":[{"role":"user","content":"hi"}], "stream":true,"stream_options":%b}'
    request = read_request(body % given, MessageCache())
    assert model_request(request, None, ask_usage=True).body == body % made


def test_a_stream_can_be_made_whole_and_back() -> None:
    streamed = request_of(
        [{"role": "user", "content": "hi"}], stream=True, stream_options={"include_usage": True}
    )
    made = orjson.loads(model_request(streamed, None, stream=False).body)
    assert made["stream"] is False
    assert "stream_options" not in made
    whole = request_of([{"role": "user", "content": "hi"}])
    assert orjson.loads(model_request(whole, None, stream=True).body)["stream"] is True


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"n": 1}, None),
        ({"n": 2}, "n"),
        ({"tools": [CLIENT_TOOL]}, None),
        ({"tools": None}, None),
        ({"tools": CLIENT_TOOL}, "tools"),
        ({"tools": "all"}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "undo"}}]}, "tool_name"),
        ({"tools": [{"type": "custom", "custom": {"name": "undo"}}]}, "tool_name"),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "none"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "required", "tools": [CLIENT_TOOL]}, None),
        (
            {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
            "tool_choice",
        ),
    ],
)
def test_what_the_loop_cannot_honour_makes_our_tools_stand_down(
    fields: dict[str, Any], reason: str | None
) -> None:
    request = request_of([{"role": "user", "content": "hi"}], **fields)
    assert request.stand_down(FULL.names) == reason


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[]", None),
        (b"{}", "messages"),
        (b'{"messages":{}}', "messages"),
        (b'{"messages":[]}', "messages"),
    ],
)
def test_a_malformed_body_is_refused_with_words(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidMessage) as raised:
        read(body)
    assert raised.value.param == param


def test_a_malformed_message_is_named_by_its_place() -> None:
    with pytest.raises(InvalidMessage, match=r"messages\[1\].role"):
        read(b'{"messages":[{"role":"user","content":"x"},{"role":"wizard"}]}')


def test_a_message_seen_before_is_the_same_object() -> None:
    cache = MessageCache()
    first, second = read_request(ODD, cache), read_request(ODD, cache)
    assert first.messages[0] is second.messages[0]


def test_the_cache_is_bounded_and_the_oldest_leave_first() -> None:
    cache = MessageCache(limit_bytes=200)
    wires = [b'{"role":"user","content":"%s"}' % (letter * 80) for letter in (b"a", b"b", b"c")]
    read = [cache.read(wire, None, "m") for wire in wires]
    assert cache.read(wires[2], None, "m") is read[2]
    assert cache.read(wires[0], None, "m") is not read[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.text(max_size=6).filter(
        lambda key: key not in {"messages", "tools", "tool_choice", "stream", "stream_options"}
    ),
    JSON,
    max_size=4,
)


@given(fields=FIELDS, indent=st.booleans(), stream=st.sampled_from([None, True, False]))
def test_every_other_field_survives_every_change(
    fields: dict[str, Any], indent: bool, stream: bool | None
) -> None:
    value = {"messages": [{"role": "user", "content": "x"}], **fields}
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0)
    view = [b'{"role":"user","content":"y"}']
    made = model_request(read(body), view, tools=FULL.wire, stream=stream, ask_usage=True)
    changed = orjson.loads(made.body)
    assert {key: item for key, item in changed.items() if key in fields} == fields
    assert changed["messages"] == [{"role": "user", "content": "y"}]
