"""From what a policy decides to what goes over the wire.

A reply obeys the request's limits like a provider's: the text ends before the first stop sequence
and within the tokens allowed, and is streamed in pieces. Calls are never cut. Ids are digests of
the request, so the same request is always answered with the same bytes.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from sculptor.chat import Completed, Delta, TextDelta, ToolCallDelta, Usage
from sculptor.server.request_rules import stops_of
from sculptor.tokens import TokenCounter

_PIECES = 40
_MIN_PIECE_CHARS = 16
_MESSAGE_OVERHEAD_TOKENS = 4


class ToolCall(NamedTuple):
    """A call to make."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a policy answers: text, calls, or text before calls."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()


def complete(
    reply: Reply, request: bytes, body: Mapping[str, Any], *, model: str, counter: TokenCounter
) -> Completed:
    """Return the whole answer to a request, within the request's limits."""
    name = hashlib.blake2b(request, digest_size=12).hexdigest()
    text, reason = _limited(reply.text, body, counter)
    calls = [
        {
            "id": f"call_{name}{number}",
            "type": "function",
            "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
        }
        for number, call in enumerate(reply.calls if reason == "stop" else ())
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if calls:
        message["tool_calls"] = calls
    return Completed(
        message=message,
        finish_reason="tool_calls" if calls else reason,
        usage=Usage(
            prompt_tokens=_prompt_tokens(body, counter),
            completion_tokens=_message_tokens(message, counter) - _MESSAGE_OVERHEAD_TOKENS,
        ),
        model=model,
        id=f"chatcmpl-{name}",
    )


def deltas(completed: Completed) -> Iterator[Delta]:
    """Yield an answer in pieces: some forty of its text, two of each call's arguments."""
    size = max(_MIN_PIECE_CHARS, -(-len(completed.text) // _PIECES))
    for at in range(0, len(completed.text), size):
        yield TextDelta(text=completed.text[at : at + size])
    for index, call in enumerate(completed.tool_calls):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        name = call["function"]["name"]
        yield ToolCallDelta(index=index, id=call["id"], name=name, arguments=arguments[:half])
        yield ToolCallDelta(index=index, arguments=arguments[half:])


def _limited(text: str, body: Mapping[str, Any], counter: TokenCounter) -> tuple[str, str]:
    found = (text.find(end) for end in stops_of(body) if end)
    text = text[: min((at for at in found if at >= 0), default=len(text))]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if not isinstance(limit, int):
        return text, "stop"
    offsets = counter.offsets(text)
    return (text, "stop") if len(offsets) <= limit else (text[: offsets[limit]], "length")


def _prompt_tokens(body: Mapping[str, Any], counter: TokenCounter) -> int:
    messages: Sequence[Any] = body.get("messages") or ()
    own = sum(_message_tokens(item, counter) for item in messages if isinstance(item, dict))
    tools = body.get("tools")
    return own + (counter.count(orjson.dumps(tools).decode()) if tools else 0)


def _message_tokens(message: Mapping[str, Any], counter: TokenCounter) -> int:
    content = message.get("content")
    parts = [{"text": content}] if isinstance(content, str) else content or ()
    texts = [str(part.get("text") or "") for part in parts if isinstance(part, dict)]
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call.get("custom") or {}
        arguments = function.get("arguments") or function.get("input") or ""
        texts.append(f"{function.get('name')} {arguments}")
    return _MESSAGE_OVERHEAD_TOKENS + counter.count_parts(texts)
