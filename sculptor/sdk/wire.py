"""From what programs hold in their hands (dicts, pydantic models, texts) to bytes, and back.

A message given as bytes or text stays those very bytes. One given as an object is written once, as
the ``openai`` client would send it; from then on its bytes are the original.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import orjson

from sculptor.errors import InvalidMessage
from sculptor.messages import Message, parse_message

WireDict = dict[str, Any]
"""A JSON object of OpenAI's wire format, as programs pass it around."""


@runtime_checkable
class Dumpable(Protocol):
    """A pydantic model, such as the ``openai`` client's message and tool call objects."""

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the fields as plain values."""
        ...


MessageLike = Mapping[str, Any] | Dumpable | str | bytes
"""A message: an object of the wire format, its bytes, or the text of a user message."""


class ToolCall(NamedTuple):
    """What matters of a tool call."""

    id: str
    name: str
    arguments: str


def to_wire(value: object, *, where: str = "message") -> bytes:
    """Return the JSON of a value, pydantic models inside it included.

    Raises:
        InvalidMessage: something in it has no JSON form.
    """
    try:
        return orjson.dumps(value, default=_plain)
    except TypeError as error:
        raise InvalidMessage(f"{where} cannot be written as JSON: {error}.", where) from error


def read_message(message: MessageLike, where: str) -> Message:
    """Read one message; a bare text is a user message.

    Raises:
        InvalidMessage: it is no message of the wire format.
    """
    if isinstance(message, str):
        return parse_message(orjson.dumps({"role": "user", "content": message}), where=where)
    if isinstance(message, bytes):
        try:
            return parse_message(message, where=where)
        except orjson.JSONDecodeError as error:
            raise InvalidMessage(f"{where} is not JSON in UTF-8: {error}.", where) from error
    return parse_message(to_wire(message, where=where), where=where)


def read_call(tool_call: object) -> ToolCall:
    """Read a tool call from ``openai``'s object or a dict; what is missing is empty."""
    value = _plain(tool_call) if isinstance(tool_call, Dumpable) else tool_call
    if not isinstance(value, Mapping):
        return ToolCall("", "", "")
    body = value.get("function")
    if not isinstance(body, Mapping):
        body = {}
    arguments = body.get("arguments")
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        arguments = to_wire(arguments, where="arguments").decode()
    return ToolCall(str(value.get("id") or ""), str(body.get("name") or ""), arguments)


def _plain(value: object) -> object:
    if isinstance(value, Dumpable):
        left_out = getattr(value, "__api_exclude__", None)
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=left_out)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")
