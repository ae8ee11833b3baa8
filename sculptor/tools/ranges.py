"""Which ranges a call means: between two markers quoted, or in every long message of a role.

A marker that does not occur is refused with the text that comes nearest to it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sculptor.context import Context
from sculptor.cutting import snap
from sculptor.errors import ToolError
from sculptor.messages import INSTRUCTION_ROLES, RESULT_ROLES, Message
from sculptor.operations import Range
from sculptor.search import nearest
from sculptor.state import Fragment
from sculptor.tools.arguments import FullFragment
from sculptor.tools.cuts import MIN_MESSAGE_TOKENS


class Found(NamedTuple):
    """A range between two markers, and how often the first of them occurs."""

    range: Range
    message: int
    starts: int


def find_ranges(context: Context, arguments: FullFragment) -> tuple[list[Range], Found | None]:
    """Return the free ranges to cut, and the marked range they lie in, if markers are given."""
    if arguments.start_marker or arguments.end_marker:
        if not (arguments.start_marker and arguments.end_marker):
            raise ToolError("INVALID_ARGUMENTS", "Give both markers, or neither.")
        found = find_between(context, arguments.start_marker, arguments.end_marker, arguments.role)
        free = [_shared(where, found.range) for where in context.free_ranges(found.message)]
        return [where for where in free if where is not None], found
    free_ranges = [
        where
        for index in indexes_of(context, arguments.role)
        if context.original_tokens(index) > MIN_MESSAGE_TOKENS
        for where in context.free_ranges(index)
    ]
    return [where for where in free_ranges if _is_worth(context, where)], None


def find_between(context: Context, start: str, end: str, role: str) -> Found:
    """Find the range from the first ``start`` to the first ``end`` at or after its end.

    Raises:
        ToolError: a marker is empty or not found, or the range is empty or protected.
    """
    if not start or not end:
        raise ToolError("EMPTY_RANGE", "A marker is empty; quote some words of the text.")
    starts = list(_occurrences(context, start, role))
    if not starts:
        raise _not_found(context, "START_NOT_FOUND", start, role)
    index, part, at = starts[0]
    text = context.messages[index].parts[part].text
    stop = text.find(end, at + len(start))
    if stop < 0:
        raise _no_end(context, (index, part, at), end, role)
    low, high = snap(text, at, up=False), snap(text, stop + len(end), up=True)
    limit = context.protected(index)
    if limit and (part, high) > (limit.part, limit.offset):
        high = limit.offset if part == limit.part else low
        if high <= low:
            raise ToolError("PROTECTED", f"This range cannot be cut: {limit.reason}.")
    return Found(Range(context.places[index], part, low, high), index, len(starts))


def indexes_of(context: Context, role: str) -> Iterator[int]:
    """Yield the messages of a role by index; instructions are never among them."""
    for index, message in enumerate(context.messages):
        if message.role not in INSTRUCTION_ROLES and plays(message, role):
            yield index


def plays(message: Message, role: str) -> bool:
    """Whether a message is one of those a tool's ``role`` argument means."""
    if role == "all":
        return True
    return message.role in RESULT_ROLES if role == "tool" else message.role == role


def met_by(context: Context, where: Range) -> list[Fragment]:
    """Return the fragments that share text with a range."""
    leaves = context.state.leaves_of(where.place)
    return [leaf for leaf in leaves if overlaps(leaf, where)]


def overlaps(leaf: Fragment, where: Range) -> bool:
    """Whether a fragment shares text with a range of its message."""
    return leaf.part == where.part and leaf.start < where.end and where.start < leaf.end


def text_at(context: Context, where: Range) -> str:
    """Return the whole text that a range is cut from."""
    index = context.index_of(where.place)
    return "" if index is None else context.messages[index].parts[where.part].text


def _is_worth(context: Context, where: Range) -> bool:
    return bool(text_at(context, where)[where.start : where.end].strip())


def _shared(a: Range, b: Range) -> Range | None:
    start, end = max(a.start, b.start), min(a.end, b.end)
    return Range(a.place, a.part, start, end) if a.part == b.part and start < end else None


def _no_end(context: Context, at: tuple[int, int, int], end: str, role: str) -> ToolError:
    index, part, start = at
    elsewhere = list(_occurrences(context, end, role))
    if any(place[:2] == (index, part) and place[2] <= start for place in elsewhere):
        return ToolError("END_BEFORE_START", "end_marker occurs only before start_marker.")
    if elsewhere:
        others = sorted({place[0] for place in elsewhere})
        text = f"start_marker lies in message {index}, end_marker only in {others}; cut each alone."
        return ToolError("CROSSES_MESSAGES", text, {"messages": [index, *others]})
    return _not_found(context, "END_NOT_FOUND", end, role)


def _not_found(context: Context, code: str, marker: str, role: str) -> ToolError:
    texts = [text for _, _, text in _texts(context, role)]
    near = [texts[m.index][m.start : m.end] for m in nearest(texts, marker)]
    hint = "Quote the text exactly as it stands" + (", e.g. one of nearest." if near else ".")
    return ToolError(code, f"{marker!r} does not occur. {hint}", {"nearest": near} if near else {})


def _occurrences(context: Context, marker: str, role: str) -> Iterator[tuple[int, int, int]]:
    for index, part, text in _texts(context, role):
        at = text.find(marker)
        while at >= 0:
            yield index, part, at
            at = text.find(marker, at + 1)


def _texts(context: Context, role: str) -> Iterator[tuple[int, int, str]]:
    for index in indexes_of(context, role):
        for number, part in enumerate(context.messages[index].parts):
            if part.text_path is not None:
                yield index, number, part.text
