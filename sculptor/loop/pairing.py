"""Tool calls and their results belong together, in every list sent upstream.

The invariants: each assistant message with calls is followed directly by exactly one ``tool``
message per call; each ``tool`` message answers a call of the nearest assistant message before it;
call ids are unique in the list; arguments are JSON text. Duplicate ids and broken arguments are
repaired, with the same change on both sides; an orphan on either side is the client's mistake and
is refused with words.

A repair is for the upstream alone: what is stored, rendered and compared are the client's own
bytes. It is made of a list just before it leaves, the same list giving the same bytes, and touches
no byte but those of the literals it replaces.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import orjson

from sculptor.errors import InvalidMessage
from sculptor.messages import RESULT_ROLES, Message
from sculptor.spans import Path, Span, locate, locate_all, splice, with_member


def pair_up(messages: Sequence[Message]) -> tuple[bytes, ...]:
    """Return the list's wire bytes with its pairs in order.

    They are the messages' own objects where nothing was to be repaired.

    Raises:
        InvalidMessage: a result answers no call, a call has no result, or the list begins with one.
    """
    if not any(message.call_ids or message.role == "tool" for message in messages):
        return tuple(message.wire for message in messages)
    paired: list[bytes] = []
    seen: dict[str, int] = {}
    waiting: dict[str, str] = {}
    for index, message in enumerate(messages):
        if message.role == "tool":
            paired.append(_answer(message, waiting, index))
            continue
        if waiting:
            raise _unanswered(waiting, index)
        renamed = _new_names(message, seen)
        waiting = {old: renamed.get(old, old) for old in message.call_ids}
        seen |= dict.fromkeys(waiting.values(), 2)
        paired.append(_repaired(message, renamed))
    if waiting:
        raise _unanswered(waiting, len(messages))
    return tuple(paired)


def check_shape(messages: Sequence[Message]) -> None:
    """Refuse a list that begins with a result, or holds an empty assistant message.

    Raises:
        InvalidMessage: it does.
    """
    if messages and messages[0].role in RESULT_ROLES:
        raise InvalidMessage("messages must not begin with a tool result.", "messages[0]")
    for index, message in enumerate(messages):
        if message.role == "assistant" and not message.parts:
            value = orjson.loads(message.wire)
            if not any(value.get(field) for field in ("refusal", "audio")):
                raise InvalidMessage(
                    f"messages[{index}] is an assistant message with neither content nor calls.",
                    f"messages[{index}]",
                )


def _answer(message: Message, waiting: dict[str, str], index: int) -> bytes:
    old = message.result_for
    if old is None or old not in waiting:
        raise InvalidMessage(
            f"messages[{index}] answers tool_call_id {old!r}, but the assistant message before it "
            "made no such call.",
            f"messages[{index}].tool_call_id",
        )
    new = waiting.pop(old)
    if new == old:
        return message.wire
    return splice(message.wire, [(locate(message.wire, ("tool_call_id",)), orjson.dumps(new))])


def _unanswered(waiting: dict[str, str], index: int) -> InvalidMessage:
    names = ", ".join(waiting)
    return InvalidMessage(
        f"The tool calls {names} have no result: each needs a message of role tool directly after "
        "the assistant message that made it.",
        f"messages[{index - 1}]",
    )


def _new_names(message: Message, seen: dict[str, int]) -> dict[str, str]:
    """Return the new names of a message's calls whose ids came before.

    ``seen`` holds each id so far, with the least number that may make it another.
    """
    own = Counter(message.call_ids)
    taken = set(own)
    renamed: dict[str, str] = {}
    for name, count in own.items():
        if count > 1:
            raise InvalidMessage(f"Two calls of one message have the id {name!r}.", "tool_calls")
        if name not in seen:
            continue
        number = seen[name]
        while (new := f"{name}_{number}") in seen or new in taken:
            number += 1
        renamed[name], seen[name] = new, number
        taken.add(new)
    return renamed


def _repaired(message: Message, renamed: dict[str, str]) -> bytes:
    if not message.call_ids:
        return message.wire
    found = locate_all(message.wire, _mends(message, renamed))
    edits = ((span, _mended(message.wire, path, span, renamed)) for path, span in found.items())
    return splice(message.wire, sorted(edits)) if found else message.wire


def _mends(message: Message, renamed: dict[str, str]) -> Iterator[Path]:
    """Yield what is to be mended in an assistant message: ids, and arguments that are no JSON.

    Where a function has no arguments at all, it is the function itself.
    """
    for index, call in enumerate(orjson.loads(message.wire)["tool_calls"]):
        path = ("tool_calls", index)
        if call["id"] in renamed:
            yield (*path, "id")
        function = call.get("function")
        if not isinstance(function, dict) or _is_json(function.get("arguments")):
            continue
        yield (*path, "function", "arguments") if "arguments" in function else (*path, "function")


def _mended(wire: bytes, path: Path, span: Span, renamed: dict[str, str]) -> bytes:
    literal = wire[span.start : span.end]
    match path[-1]:
        case "id":
            return orjson.dumps(renamed[orjson.loads(literal)])
        case "arguments":
            return orjson.dumps(_mended_literal(literal))
        case _:
            return with_member(literal, "arguments", b'"{}"')


def _mended_literal(literal: bytes) -> str:
    """Return arguments as JSON text from their literal: an object goes over as it is written."""
    value = orjson.loads(literal)
    return mend_arguments(value) if value is None or isinstance(value, str) else literal.decode()


def mend_arguments(arguments: object) -> str:
    """Return arguments as JSON text; what is none is wrapped, so that nothing is lost."""
    if arguments is None or arguments == "":
        return "{}"
    if isinstance(arguments, str):
        return arguments if _is_json(arguments) else orjson.dumps({"_raw": arguments}).decode()
    return orjson.dumps(arguments).decode()


def _is_json(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
