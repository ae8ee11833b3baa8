"""Half a character in an answer, which the client's own parser lets through, loses nothing."""

from typing import Any

import pytest
from openai import OpenAI

from sculptor import wrap

from .stub import serving

NEXT: Any = {"role": "user", "content": "Go on."}
LONG: Any = [
    {"role": "user", "content": "The committee met again and adjourned without a vote. " * 500},
    {"role": "assistant", "content": "Noted."},
    NEXT,
]
ANSWER = (
    b'{"id":"up","object":"chat.completion","created":7,"model":"up","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"a%bb"},"finish_reason":"stop"}]}'
)


@pytest.mark.parametrize(
    ("escaped", "text"), [(rb"\ud800", "a\ufffdb"), (rb"\ud83d\ude00", "a\U0001f600b")]
)
def test_half_a_character_is_replaced_and_a_whole_one_kept(escaped: bytes, text: str) -> None:
    with (
        serving(ANSWER % escaped) as stub,
        wrap(OpenAI(base_url=stub.url, api_key="k", max_retries=0)) as client,
    ):
        answer: Any = client.chat.completions.create(model="m", messages=LONG)
        assert "fragment_context" in stub.tools()
        assert answer.choices[0].message.content == text
        history = [*LONG, {"role": "assistant", "content": text}, NEXT]
        again: Any = client.chat.completions.create(model="m", messages=history)
        assert again.choices[0].message.content == text
        assert stub.bodies[-1]["messages"][-2]["content"] == text
