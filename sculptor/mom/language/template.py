"""A chat as tokens: what the model reads before it answers, and what it writes.

Rendering is prefix-stable: the prompt of a conversation that goes on after an assistant message
begins with the earlier prompt and that message's turn, so that a snapshot taken at the end of a
turn is never read again. Each message's tokens depend on it and on those before it alone.

The form: ``BEGIN``, tools, messages, ``ASSISTANT``. A tool is ``DEFINE name ARGUMENTS params``, a
message ``ROLE content END``, a tool's answer ``TOOL name RESULT content END``, and an assistant's
call ``CALL name ARGUMENTS json CALL_END`` before the ``END`` of its turn.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import orjson

from sculptor.mom.language.protocol import TOOL_TOKENS, Protocol
from sculptor.mom.language.shapes import Json, compact, encode_json, render_parameters
from sculptor.mom.language.tokenizer import Tokenizer

_ROLES = {
    "system": Protocol.SYSTEM,
    "developer": Protocol.SYSTEM,
    "user": Protocol.USER,
    "assistant": Protocol.ASSISTANT,
    "tool": Protocol.TOOL,
    "function": Protocol.TOOL,
}
_IMAGES = frozenset({"image_url", "image", "input_image"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """A whole conversation for training."""

    tokens: list[int]
    trained: list[bool]
    """Which tokens the model wrote itself in the messages asked for; only these carry loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """What a request says of one function tool."""

    name: str
    parameters: Json


def render_prompt(
    messages: Sequence[Json], *, tools: Sequence[Json] | None = None, tokenizer: Tokenizer
) -> list[int]:
    """Return the tokens of a conversation up to the opening of the assistant's next turn.

    Args:
        messages: chat messages in OpenAI's form.
        tools: tool definitions in OpenAI's form; others than functions are not shown.
        tokenizer: the vocabulary.
    """
    tokens = _opening(tools, tokenizer)
    for message, names in _with_names(messages):
        tokens += _message(message, names, tokenizer)
    return [*tokens, Protocol.ASSISTANT]


def render_turn(message: Json, *, tokenizer: Tokenizer) -> list[int]:
    """Return what the model writes for one assistant message, its ``END`` included."""
    tokens = _content(message.get("content") or message.get("refusal"), tokenizer)
    for name, arguments in _calls(message):
        tokens += [Protocol.CALL, *encode_name(name, tokenizer=tokenizer), Protocol.ARGUMENTS]
        tokens += encode_json(compact(arguments), tokenizer=tokenizer)
        tokens.append(Protocol.CALL_END)
    return [*tokens, Protocol.END]


def render_training(
    messages: Sequence[Json],
    *,
    tools: Sequence[Json] | None = None,
    trained: Collection[int],
    tokenizer: Tokenizer,
) -> Rendering:
    """Return a conversation with its last message closed, and which of its tokens carry loss.

    Args:
        messages: chat messages in OpenAI's form.
        tools: tool definitions in OpenAI's form.
        trained: indexes of the assistant messages that carry loss.
        tokenizer: the vocabulary.
    """
    tokens = _opening(tools, tokenizer)
    mask = [False] * len(tokens)
    for index, (message, names) in enumerate(_with_names(messages)):
        piece = _message(message, names, tokenizer)
        tokens += piece
        mask += [False] + [index in trained and _is_turn(message)] * (len(piece) - 1)
    return Rendering(tokens=tokens, trained=mask)


def encode_name(name: str, *, tokenizer: Tokenizer) -> list[int]:
    """Return the one token of a context tool's name, or another name as text."""
    atomic = TOOL_TOKENS.get(name)
    return tokenizer.encode(name) if atomic is None else [atomic]


def tool_definitions(tools: Sequence[Json] | None) -> Iterator[ToolDefinition]:
    """Yield the function tools of a request; a tool of another kind is passed over."""
    for tool in tools or ():
        function = tool.get("function", tool)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            continue
        parameters = function.get("parameters")
        yield ToolDefinition(
            name=function["name"], parameters=parameters if isinstance(parameters, Mapping) else {}
        )


def _opening(tools: Sequence[Json] | None, tokenizer: Tokenizer) -> list[int]:
    tokens: list[int] = [Protocol.BEGIN]
    for tool in tool_definitions(tools):
        tokens += [Protocol.DEFINE, *encode_name(tool.name, tokenizer=tokenizer)]
        tokens += [Protocol.ARGUMENTS, *render_parameters(tool.parameters, tokenizer=tokenizer)]
    return tokens


def _with_names(messages: Sequence[Json]) -> Iterator[tuple[Json, dict[str, str]]]:
    """Yield each message with the names of the tools called before it, by call id."""
    names: dict[str, str] = {}
    for message in messages:
        yield message, names
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, Sequence) else ():
            if isinstance(call, Mapping) and isinstance(call.get("id"), str):
                names[call["id"]] = _named(call)[0]


def _message(message: Json, names: Mapping[str, str], tokenizer: Tokenizer) -> list[int]:
    role = _ROLES.get(str(message.get("role")), Protocol.OTHER_ROLE)
    if role is Protocol.ASSISTANT:
        return [role, *render_turn(message, tokenizer=tokenizer)]
    tokens: list[int] = [role]
    if role is Protocol.TOOL:
        name = names.get(str(message.get("tool_call_id"))) or message.get("name")
        tokens += encode_name(name, tokenizer=tokenizer) if isinstance(name, str) else []
        tokens.append(Protocol.RESULT)
    return [*tokens, *_content(message.get("content"), tokenizer), Protocol.END]


def _is_turn(message: Json) -> bool:
    return message.get("role") == "assistant"


def _content(content: object, tokenizer: Tokenizer) -> list[int]:
    if isinstance(content, str):
        return tokenizer.encode(content)
    tokens: list[int] = []
    for number, part in enumerate(content if isinstance(content, Sequence) else ()):
        tokens += [Protocol.PART] if number else []
        tokens += _part(part, tokenizer)
    return tokens


def _part(part: object, tokenizer: Tokenizer) -> list[int]:
    if isinstance(part, str):
        return tokenizer.encode(part)
    if not isinstance(part, Mapping):
        return [Protocol.OTHER_PART]
    fields = cast("Json", part)
    if str(fields.get("type")) in _IMAGES:
        return [Protocol.IMAGE]
    text = fields.get("text", fields.get("refusal"))
    return tokenizer.encode(text) if isinstance(text, str) else [Protocol.OTHER_PART]


def _calls(message: Json) -> Iterator[tuple[str, str]]:
    """Yield the name and the arguments of each call, the older single form included."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, Sequence) else ():
        if isinstance(call, Mapping):
            yield _named(cast("Json", call))
    if not calls and isinstance(message.get("function_call"), Mapping):
        yield _named(message)


def _named(call: Json) -> tuple[str, str]:
    function = call.get("function", call.get("function_call", call.get("custom")))
    fields = cast("Json", function) if isinstance(function, Mapping) else call
    arguments = fields.get("arguments", fields.get("input"))
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments or {}).decode()
    return str(fields.get("name", "")), arguments
