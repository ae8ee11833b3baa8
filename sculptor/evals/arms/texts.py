"""Cutting conversations to size: tokens of messages, and texts kept at both ends.

Tokens are o200k's, counted for the text alone; a message costs four more. A gap within a text is
told in one line, so that the text does not read as if nothing were missing.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sculptor.evals.types import Message
from sculptor.tokens import TokenCounter

MESSAGE_TOKENS = 4
_COUNTER = TokenCounter()


def text_tokens(text: str) -> int:
    """Return the tokens of a text."""
    return _COUNTER.count(text)


def message_tokens(message: Message) -> int:
    """Return the tokens of one message, tool calls included."""
    calls = message.get("tool_calls")
    return (
        MESSAGE_TOKENS + text_tokens(text_of(message)) + (text_tokens(str(calls)) if calls else 0)
    )


def total_tokens(messages: Sequence[Message]) -> int:
    """Return the tokens of messages."""
    return sum(map(message_tokens, messages))


def text_of(message: Message) -> str:
    """Return a message's text, empty where it has none."""
    content = message.get("content")
    return content if isinstance(content, str) else ""


def with_text(message: Message, text: str) -> Message:
    """Return the message with another text."""
    return {**message, "content": text}


def split_ends(text: str, *, head: int, tail: int) -> tuple[str, str, str]:
    """Return a text's first and last tokens with what lies between, which may be empty."""
    offsets = _COUNTER.offsets(text)
    if len(offsets) <= head + tail:
        return text, "", ""
    first, last = offsets[head], offsets[len(offsets) - tail] if tail else len(text)
    return text[:first], text[first:last], text[last:]


def pieces(text: str, *, tokens: int) -> Iterator[str]:
    """Yield a text in pieces of so many tokens, the last one shorter."""
    starts = [*_COUNTER.offsets(text)[::tokens], len(text)]
    for start, end in pairwise(starts):
        if start < end:
            yield text[start:end]


def units(messages: Sequence[Message]) -> list[list[Message]]:
    """Return messages in groups that must stay together: a call with its results."""
    groups: list[list[Message]] = []
    for message in messages:
        if message.get("role") == "tool" and groups:
            groups[-1].append(message)
        else:
            groups.append([message])
    return groups


def left_out(tokens: int) -> str:
    """Return the line that stands where text was left out."""
    return f"[… {tokens} tokens left out …]"
