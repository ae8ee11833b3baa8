"""Calls spelled out in a message, through the loop and through a real server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from sculptor.server.run import serve_in_thread
from sculptor.server.scripted import Reply, ToolCall
from sculptor.server.scripted.spelled_calls import read_steps
from sculptor.server.settings import Settings
from tests.server.scripted_turns import answer, user

LOOKUP: Any = {
    "type": "function",
    "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}},
}
CLOCK: Any = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}


def step(*calls: tuple[str, dict[str, Any]], say: str = "") -> Reply:
    return Reply(text=say, calls=tuple(ToolCall(*call) for call in calls))


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ('call a {"x": 1}', [step(("a", {"x": 1}))]),
        ("call a {} and b {}", [step(("a", {}), ("b", {}))]),
        ("call a {}, and call b.c-d {}.", [step(("a", {}), ("b.c-d", {}))]),
        ("call a {} then b {}", [step(("a", {})), step(("b", {}))]),
        ('say "One moment." call a {}', [step(("a", {}), say="One moment.")]),
        (
            'call a {} and b {} then say "Now." call c {"q": " then d {} "}',
            [step(("a", {}), ("b", {})), step(("c", {"q": " then d {} "}), say="Now.")],
        ),
        ("call me later", []),
        ("Please call a {}", []),
        ("call a {broken", []),
        ("", []),
    ],
)
def test_steps_are_read_as_spelled(text: str, steps: list[Reply]) -> None:
    assert list(read_steps(text)) == steps


def test_our_tools_can_be_spelled_too() -> None:
    long = "\n".join(f"line {i} of the text" for i in range(2000))
    text = 'call fragment_context {"num_fragments": 4} then fold_fragment {"keep_last": 1}'
    answered = answer([user(long), {"role": "assistant", "content": "Yes?"}, user(text)])
    assert answered.calls() == [["fragment_context"], ["fold_fragment"]]
    assert answered.text.startswith('fold_fragment answered: {"ok":true')
    assert answered.context.tokens < answered.context.total_tokens / 2


def test_client_calls_are_handed_on_and_ours_are_not() -> None:
    text = 'say "Wait." call lookup {"k": 1} and search_context {"queries": ["k"]}'
    turn = answer([user(text)], tools=[LOOKUP]).turn
    assert [call["function"]["name"] for call in turn.answer.tool_calls] == ["lookup"]
    assert turn.answer.text == "Wait."
    assert turn.answer.finish_reason == "tool_calls"
    assert [message.role for message in turn.mixed] == ["assistant", "tool"]


def test_calls_spelled_side_by_side_go_one_by_one_where_asked() -> None:
    text = 'call search_context {"queries": ["a"]} and search_context {"queries": ["b"]}'
    answered = answer([user(text)], parallel_tool_calls=False)
    assert answered.calls() == [["search_context"], ["search_context"]]


@pytest.fixture(scope="module")
def client() -> Iterator[OpenAI]:
    values = {"port": 0, "store": "memory", "drain_seconds": 1, "backend": "scripted"}
    settings = Settings.model_validate(values)
    url, stop = serve_in_thread(settings)
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        yield made
    stop()


SPELLED = (
    'say "Looking." call lookup {"k": 1} and search_context {"queries": ["k"]} and clock {} '
    'then lookup {"k": 2}'
)


@pytest.mark.parametrize("stream", [False, True])
def test_client_tools_beside_ours_over_http(client: OpenAI, stream: bool) -> None:
    headers = {"x-sculptor": "on"}
    messages: list[Any] = [user(SPELLED)]
    rounds = []
    for _ in range(3):
        message = ask(client, messages, headers, stream=stream)
        messages.append(message)
        rounds.append([call["function"]["name"] for call in message.get("tool_calls") or ()])
        for call in message.get("tool_calls") or ():
            content = f"{call['function']['name']} of {call['function']['arguments']}"
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
    assert rounds == [["lookup", "clock"], ["lookup"], []]
    assert messages[1]["content"] == "Looking."
    assert messages[-1]["content"] == 'lookup answered: lookup of {"k":2}'


def ask(
    client: OpenAI, messages: list[Any], headers: dict[str, str], *, stream: bool
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model": "scripted",
        "messages": messages,
        "tools": [LOOKUP, CLOCK],
        "extra_headers": headers,
    }
    if not stream:
        completion = client.chat.completions.create(**fields)
        assert completion.model == "scripted"
        return dict(completion.choices[0].message.model_dump(exclude_none=True))
    with client.chat.completions.stream(**fields) as events:
        final = events.get_final_completion()
    assert final.model == "scripted"
    shown = json.loads(final.choices[0].message.model_dump_json(exclude_none=True))
    return {key: value for key, value in shown.items() if key != "parsed"}
