"""``fragment_context``: cut a stretch of the conversation into addressed pieces."""

from collections.abc import Iterator, Sequence

from sculptor.changes import plan
from sculptor.context import Context
from sculptor.errors import ToolError
from sculptor.operations import Cut, Fold, Piece, Range, Request
from sculptor.state import Fragment, FragmentId
from sculptor.tools.answers import acknowledge, describe
from sculptor.tools.arguments import FullFragment, PaperFragment
from sculptor.tools.cuts import MIN_MESSAGE_TOKENS, pieces_of
from sculptor.tools.hide import hidden_by
from sculptor.tools.needs import ToolAnswer, Work
from sculptor.tools.ranges import (
    Found,
    find_between,
    find_ranges,
    indexes_of,
    met_by,
    overlaps,
    text_at,
)

DEFAULT_PIECES = 5

_PREVIEWED = 40
"""A longer table of pieces goes without their first and last words."""

_TOLD = 4
"""Pieces told of by a call that hides at once. The hidden ones are in view as markers with their
IDs, those spared are named; a table of them all would cost what hiding them saved."""


def paper_fragment(context: Context, arguments: PaperFragment) -> Work:
    """Cut the range between two markers into equal pieces."""
    yield from ()
    found = find_between(context, arguments.start_marker, arguments.end_marker, arguments.role)
    overlap = [leaf for leaf in met_by(context, found.range) if leaf.status != "visible"]
    pieces = _pieces(context, found.range, arguments.num_fragments, None)
    request = _request(context, found.range, pieces, overlap)
    receipt = context.perform(request, author="model", reason="fragment_context")
    made = met_by(context, found.range)
    answer = acknowledge(receipt, fragments=[describe(context, leaf) for leaf in made])
    return _with_note(answer, found)


def full_fragment(context: Context, arguments: FullFragment) -> Work:
    """Cut a range, or every long message of a role, and fold all but some of the pieces."""
    yield from ()
    if arguments.num_fragments and arguments.size_tokens:
        raise ToolError("INVALID_ARGUMENTS", "Give num_fragments or size_tokens, not both.")
    ranges, found = find_ranges(context, arguments)
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
        return met_by(context, found.range)
    wanted = set(indexes_of(context, role))
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
        places = [context.places[index] for index in indexes_of(context, role)]
    else:
        places = [found.range.place]
    leaves = [leaf for place in places for leaf in state.leaves_of(place)]
    if found is not None:
        leaves = [leaf for leaf in leaves if overlaps(leaf, found.range)]
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
    met = met_by(context, where)
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
    text = text_at(context, where)
    around = [(parent.start, where.start), (where.end, parent.end)]
    extra = [Piece(a, b, context.counter.count(text[a:b])) for a, b in around if a < b]
    whole = tuple(sorted([*extra, *pieces]))
    return Cut(Range(where.place, where.part, parent.start, parent.end), whole)


def _pieces(
    context: Context, where: Range, count: int | None, size_tokens: int | None
) -> tuple[Piece, ...]:
    if size_tokens is None:
        count = DEFAULT_PIECES if count is None else count
    text = text_at(context, where)
    return pieces_of(context, where, text, num_fragments=count, size_tokens=size_tokens)


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
