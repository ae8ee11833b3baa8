"""What a model in this process demands of a chat completion request.

An upstream judges for itself what it takes; where there is none, both backends that answer here
refuse the same requests in the same words, with the codes that OpenAI has for them. Two things
differ from its API: a server of one model needs no ``model``, and what no model here can do (read
pictures, call tools that are no functions) is refused, as by those of its models that cannot. What
every list of messages must keep to, whoever answers, is held by ``sculptor.loop`` and
``sculptor.messages``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sculptor.chat import JsonObject
from sculptor.server.bodies import parse_body
from sculptor.server.envelope import ApiError

MOST_STOPS = 4
"""How many stop sequences a request may give."""

MOST_CHOICES = 128
"""How many answers a request may ask for."""

MOST_TOKENS = 2**31 - 1
"""The largest limit of an answer's tokens that is a number at all."""

_DECLARATIONS = ("tools", "tool_choice", "response_format")
_FORMATS = ("text", "json_object", "json_schema")
_MAY_GO_WITHOUT = ("assistant", "function")
"""Roles whose content may be null: of an answer that is calls alone, or of a function's."""

_UNREADABLE = frozenset(
    (
        *("image_url", "image", "input_image", "video_url", "video"),
        *("input_audio", "audio", "audio_url", "file", "input_file"),
    )
)
"""Types of parts that a model of text alone cannot read."""


def parse_request(body: bytes, *, text_only: bool = False) -> JsonObject:
    """Return a request's JSON; with ``text_only`` for a model that can read nothing else.

    Raises:
        ApiError: it is no object, its messages are no list of objects with content, or a member
            that every model must understand is none that can be used.
    """
    value = parse_body(body)
    for index, message in enumerate(objects_of(value, "messages")):
        _check_content(message, f"messages[{index}].content")
        if text_only:
            _check_text(message, f"messages[{index}].content")
    if not isinstance(value.get("model"), str | None):
        raise refusal("model", "must be the name of a model", code="invalid_type")
    if not isinstance(value.get("stream"), bool | None):
        raise refusal("stream", "must be true or false", code="invalid_type")
    _check_whole(value, "n", most=MOST_CHOICES)
    for name in ("max_completion_tokens", "max_tokens"):
        _check_whole(value, name, most=MOST_TOKENS)
    for name in _DECLARATIONS:
        _check_depth(value, name)
    _check_tools(value)
    _check_format(value)
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


def too_deep(param: str) -> ApiError:
    """Return the error of a parameter whose JSON has more levels than can be worked on."""
    return refusal(param, "is nested too deep; make its schemas flatter")


def _check_depth(value: JsonObject, name: str) -> None:
    try:
        orjson.dumps([value.get(name)])  # what it cannot write has more than some 250 levels
    except orjson.JSONEncodeError:
        raise too_deep(name) from None


def _check_content(message: JsonObject, where: str) -> None:
    if message.get("role") in _MAY_GO_WITHOUT or message.get("content") not in (None, []):
        return
    code = "invalid_value" if "content" in message else "missing_required_parameter"
    problem = "must be a string or a list of parts; give an empty string to say nothing"
    raise refusal(where, problem, code=code)


def _check_text(message: JsonObject, where: str) -> None:
    content = message.get("content")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _UNREADABLE:
            problem = f"is {kind}, and this model reads text alone; leave the part out, or put it"
            raise refusal(f"{where}[{index}].type", f"{problem} into words")


def _check_whole(value: JsonObject, name: str, *, most: int) -> None:
    number = value.get(name)
    if number is None:
        return
    problem = f"must be a whole number from 1 to {most:,}"
    # JSON of our reader has numbers past 64 bits as floats, and they are whole all the same.
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise refusal(name, problem, code="invalid_type")
    if number > most:
        raise refusal(name, problem, code="integer_above_max_value")
    if number < 1:
        raise refusal(name, problem, code="integer_below_min_value")
    if not isinstance(number, int):
        raise refusal(name, problem, code="invalid_type")


def _check_tools(value: JsonObject) -> None:
    for index, tool in enumerate(() if value.get("tools") is None else objects_of(value, "tools")):
        where = f"tools[{index}]"
        if tool.get("type") != "function":
            problem = "must be function, since models in this process call nothing else"
            raise refusal(f"{where}.type", problem, code=_code(tool, "type"))
        function = tool.get("function")
        if not isinstance(function, dict):
            problem = "must be an object with the function's name"
            raise refusal(f"{where}.function", problem, code=_code(tool, "function"))
        if not isinstance(function.get("name"), str) or not function["name"]:
            problem = "must be the name by which the function is called"
            raise refusal(f"{where}.function.name", problem, code=_code(function, "name"))


def _check_format(value: JsonObject) -> None:
    wanted, where = value.get("response_format"), "response_format"
    if wanted is None:
        return
    if not isinstance(wanted, dict):
        raise refusal(where, "must be an object with a type", code="invalid_type")
    if wanted.get("type") not in _FORMATS:
        problem = "must be text, json_object or json_schema"
        raise refusal(f"{where}.type", problem, code=_code(wanted, "type"))
    if wanted["type"] != "json_schema":
        return
    declared, where = wanted.get("json_schema"), f"{where}.json_schema"
    if not isinstance(declared, dict):
        problem = "must be an object with a name and a schema"
        raise refusal(where, problem, code=_code(wanted, "json_schema"))
    if not isinstance(declared.get("name"), str) or not declared["name"]:
        raise refusal(f"{where}.name", "must be a name for it", code=_code(declared, "name"))
    if not isinstance(declared.get("schema"), dict | None):
        problem = "must be a JSON schema, which is an object"
        raise refusal(f"{where}.schema", problem, code="invalid_type")


def _code(holder: JsonObject, name: str) -> str:
    """Return the code of a member that must be there and cannot be used as it is."""
    return "invalid_value" if name in holder else "missing_required_parameter"
