"""``fragment_context``: cut a stretch of the conversation into addressed pieces."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sculptor.changes import plan
from sculptor.context import Context
from sculptor.cutting import snap
from sculptor.errors import ToolError
from sculptor.messages import INSTRUCTION_ROLES, RESULT_ROLES, Message
from sculptor.operations import Cut, Fold, Piece, Range, Request
from sculptor.search import nearest
from sculptor.state import Fragment, FragmentId
from sculptor.tools.answers import acknowledge, describe
from sculptor.tools.arguments import FullFragment, PaperFragment
from sculptor.tools.cuts import MIN_MESSAGE_TOKENS, pieces_of
from sculptor.tools.hide import hidden_by
from sculptor.tools.needs import ToolAnswer, Work

DEFAULT_PIECES = 5

_PREVIEWED = 40
"""A longer table of pieces goes without their first and last words."""

_TOLD = 4
"""Pieces told of by a call that hides at once. The hidden ones are in view as markers with their
IDs, those spared are named; a table of them all would cost what hiding them saved."""


class Found(NamedTuple):
    """A range between two markers, and how often the first of them occurs."""

    range: Range
    message: int
    starts: int


def paper_fragment(context: Context, arguments: PaperFragment) -> Work:
    """Cut the range between two markers into equal pieces."""
    yield from ()
    found = _between(context, arguments.start_marker, arguments.end_marker, arguments.role)
    overlap = [leaf for leaf in _met(context, found.range) if leaf.status != "visible"]
    pieces = _pieces(context, found.range, arguments.num_fragments, None)
    request = _request(context, found.range, pieces, overlap)
    receipt = context.perform(request, author="model", reason="fragment_context")
    made = _met(context, found.range)
    answer = acknowledge(receipt, fragments=[describe(context, leaf) for leaf in made])
    return _with_note(answer, found)


def full_fragment(context: Context, arguments: FullFragment) -> Work:
    """Cut a range, or every long message of a role, and fold all but some of the pieces."""
    yield from ()
    if arguments.num_fragments and arguments.size_tokens:
        raise ToolError("INVALID_ARGUMENTS", "Give num_fragments or size_tokens, not both.")
    ranges, found = _ranges(context, arguments)
    cuts: list[Request] = []
    for where in ranges:
        pieces = _pieces(context, where, arguments.num_fragments, arguments.size_tokens)
        cuts.append(Cut(where, pieces))
    before = {leaf.id: leaf.status for leaf in context.fragments()}
    named = [] if arguments.fold_except is None else _named(context, cuts, found, arguments.role)
    folded = list(_all_but(named, arguments.fold_except or ()))
    orders = cuts if arguments.fold_except is None else [*cuts, Fold(tuple(folded))]
    receipt = context.perform(*orders, author="model", reason="fragment_context")
    shown = _shown(context, found, arguments.role)
    if not shown:
        note = f"No unprotected message is over {MIN_MESSAGE_TOKENS} tokens; nothing was cut."
        return {"ok": True, "changed": False, "fragments": [], "note": note}
    new = sum(leaf.id not in before for leaf in shown)
    changed = [leaf for leaf in shown if before.get(leaf.id) != leaf.status]
    if arguments.fold_except is None:
        table = [describe(context, leaf, preview=len(shown) <= _PREVIEWED) for leaf in shown]
        answer = acknowledge(receipt, fragments=table, new=new)
    else:
        answer = acknowledge(receipt, **_short(context, changed, new, len(shown)))
        if kept := [name for name in named if name not in set(folded)]:
            answer["kept"] = kept
        if receipt.undo:
            answer |= hidden_by(context, [leaf.id for leaf in changed if leaf.status == "folded"])
    return answer if found is None else _with_note(answer, found, changed)


def _shown(context: Context, found: Found | None, role: str) -> list[Fragment]:
    """Return the pieces between the markers, or those of all messages of a role."""
    if found is not None:
        return _met(context, found.range)
    wanted = set(_indexes(context, role))
    return [leaf for leaf in context.fragments() if context.index_of(leaf.place) in wanted]


def _short(context: Context, changed: Sequence[Fragment], new: int, shown: int) -> ToolAnswer:
    """Return the first rows of what a call changed, and how many pieces are not told of."""
    told: ToolAnswer = {
        "fragments": [describe(context, leaf) for leaf in changed[:_TOLD]],
        "new": new,
    }
    if len(changed) > _TOLD:
        told["others"] = len(changed) - _TOLD
    if shown > len(changed):
        told["unchanged"] = shown - len(changed)
    return told


def _ranges(context: Context, arguments: FullFragment) -> tuple[list[Range], Found | None]:
    """Return the free ranges to cut, and the marked range they lie in, if markers are given."""
    if arguments.start_marker or arguments.end_marker:
        if not (arguments.start_marker and arguments.end_marker):
            raise ToolError("INVALID_ARGUMENTS", "Give both markers, or neither.")
        found = _between(context, arguments.start_marker, arguments.end_marker, arguments.role)
        free = [_shared(where, found.range) for where in context.free_ranges(found.message)]
        return [where for where in free if where is not None], found
    free_ranges = [
        where
        for index in _indexes(context, arguments.role)
        if context.original_tokens(index) > MIN_MESSAGE_TOKENS
        for where in context.free_ranges(index)
    ]
    return [where for where in free_ranges if _is_worth(context, where)], None


def _is_worth(context: Context, where: Range) -> bool:
    index = context.index_of(where.place)
    text = "" if index is None else context.messages[index].parts[where.part].text
    return bool(text[where.start : where.end].strip())


def _named(
    context: Context, cuts: Sequence[Request], found: Found | None, role: str
) -> list[FragmentId]:
    """Return the IDs the cuts will make, with those of the role already there, as they stand."""
    state = context.state
    for request in cuts:
        made = plan(
            request,
            state,
            author="model",
            seed=context.seed,
            protection=context.why_protected,
        )
        state = state.after(made)
    if found is None:
        places = [context.places[index] for index in _indexes(context, role)]
    else:
        places = [found.range.place]
    leaves = [leaf for place in places for leaf in state.leaves_of(place)]
    if found is not None:
        leaves = [leaf for leaf in leaves if _overlaps(leaf, found.range)]
    return [leaf.id for leaf in leaves if context.why_protected(leaf) is None]


def _all_but(ids: Sequence[FragmentId], kept: Sequence[int]) -> Iterator[FragmentId]:
    """Return all pieces but those numbered in ``kept``; of no pieces no number is wrong.

    Raises:
        ToolError: a number is none of a piece.
    """
    count = len(ids)
    wrong = [number for number in kept if not 1 <= abs(number) <= count]
    if ids and wrong:
        told = f"1 to {count}, or -1 (the last) to -{count}" if count > 1 else "1 or -1"
        raise ToolError(
            "INVALID_ARGUMENTS",
            f"fold_except holds {', '.join(map(str, wrong))}; there would be {count} "
            f"piece{'s' if count > 1 else ''}, so its numbers are {told}. Nothing was changed.",
            {"pieces": count},
        )
    keep = {number - 1 if number > 0 else count + number for number in kept}
    return (name for index, name in enumerate(ids) if index not in keep)


def _request(
    context: Context, where: Range, pieces: tuple[Piece, ...], hidden: Sequence[Fragment]
) -> Cut:
    """Return the cut, widened to the one visible fragment it lies in, or refuse an overlap."""
    met = _met(context, where)
    if not met:
        return Cut(where, pieces)
    parent = met[0]
    inside = parent.start <= where.start and where.end <= parent.end
    if hidden or len(met) > 1 or not inside:
        raise ToolError(
            "OVERLAP",
            "This range holds fragments already; use their IDs, or cut inside one of them.",
            {"fragments": [leaf.id for leaf in met]},
        )
    text = _text(context, where)
    around = [(parent.start, where.start), (where.end, parent.end)]
    extra = [Piece(a, b, context.counter.count(text[a:b])) for a, b in around if a < b]
    whole = tuple(sorted([*extra, *pieces]))
    return Cut(Range(where.place, where.part, parent.start, parent.end), whole)


def _pieces(
    context: Context, where: Range, count: int | None, size_tokens: int | None
) -> tuple[Piece, ...]:
    if size_tokens is None:
        count = DEFAULT_PIECES if count is None else count
    text = _text(context, where)
    return pieces_of(context, where, text, num_fragments=count, size_tokens=size_tokens)


def _between(context: Context, start: str, end: str, role: str) -> Found:
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
    for index in _indexes(context, role):
        for number, part in enumerate(context.messages[index].parts):
            if part.text_path is not None:
                yield index, number, part.text


def _indexes(context: Context, role: str) -> Iterator[int]:
    for index, message in enumerate(context.messages):
        if message.role not in INSTRUCTION_ROLES and plays(message, role):
            yield index


def plays(message: Message, role: str) -> bool:
    """Whether a message is one of those a tool's ``role`` argument means."""
    if role == "all":
        return True
    return message.role in RESULT_ROLES if role == "tool" else message.role == role


def _met(context: Context, where: Range) -> list[Fragment]:
    leaves = context.state.leaves_of(where.place)
    return [leaf for leaf in leaves if _overlaps(leaf, where)]


def _overlaps(leaf: Fragment, where: Range) -> bool:
    return leaf.part == where.part and leaf.start < where.end and where.start < leaf.end


def _shared(a: Range, b: Range) -> Range | None:
    start, end = max(a.start, b.start), min(a.end, b.end)
    return Range(a.place, a.part, start, end) if a.part == b.part and start < end else None


def _text(context: Context, where: Range) -> str:
    index = context.index_of(where.place)
    return "" if index is None else context.messages[index].parts[where.part].text


def _with_note(answer: ToolAnswer, found: Found, changed: Sequence[Fragment] = ()) -> ToolAnswer:
    """Return the answer with what the markers may not have meant."""
    notes: list[str] = []
    if found.starts > 1:
        notes.append(
            f"start_marker occurs {found.starts} times; the first was used "
            f"(message {found.message})."
        )
    if wide := [leaf.id for leaf in changed if _is_hidden_past(leaf, found.range)]:
        told = ", ".join(wide)
        notes.append(f"Cut before, so hidden whole with text outside the markers: {told}.")
    return answer | {"note": " ".join(notes)} if notes else answer


def _is_hidden_past(leaf: Fragment, where: Range) -> bool:
    """Whether a piece is hidden that reaches past the range."""
    return leaf.status == "folded" and (leaf.start < where.start or where.end < leaf.end)
