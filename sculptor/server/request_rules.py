"""What a model in this process demands of a chat completion request, as OpenAI does.

An upstream judges for itself what it takes; where there is none, both backends that answer here
refuse the same requests in the same words. What every list of messages must keep to, whoever
answers, is held by ``sculptor.loop`` and ``sculptor.messages``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sculptor.chat import JsonObject
from sculptor.server.bodies import parse_body
from sculptor.server.envelope import ApiError

MOST_STOPS = 4
"""How many stop sequences a request may give."""

_MAY_GO_WITHOUT = ("assistant", "function")
"""Roles whose content may be null: of an answer that is calls alone, or of a function's."""


def parse_request(body: bytes) -> JsonObject:
    """Return a request's JSON.

    Raises:
        ApiError: it is no object, or its messages are no list of objects with content.
    """
    value = parse_body(body)
    for index, message in enumerate(objects_of(value, "messages")):
        _check_content(message, f"messages[{index}].content")
    return value


def objects_of(value: Mapping[str, Any], name: str) -> Sequence[JsonObject]:
    """Return the objects in a list of a request; raises ``ApiError`` where it is none."""
    listed = value.get(name)
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise refusal(name, "must be a list of objects")
    return listed


def stops_of(value: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a request's stop sequences.

    Raises:
        ApiError: they are no strings, or too many.
    """
    stop = value.get("stop")
    listed = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise refusal("stop", "must be a string or a list of strings")
    if len(listed) > MOST_STOPS:
        problem = f"holds {len(listed)} sequences; give at most {MOST_STOPS}"
        raise refusal("stop", problem, code="array_above_max_length")
    return tuple(listed)


def refusal(param: str, problem: str, *, code: str = "invalid_value") -> ApiError:
    """Return the error of a parameter that cannot be used."""
    return ApiError(400, f"{param} {problem}.", code=code, param=param)


def _check_content(message: JsonObject, where: str) -> None:
    if message.get("role") in _MAY_GO_WITHOUT or message.get("content") not in (None, []):
        return
    code = "invalid_value" if "content" in message else "missing_required_parameter"
    problem = "must be a string or a list of parts; give an empty string to say nothing"
    raise refusal(where, problem, code=code)
