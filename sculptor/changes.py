"""What each request would change in a state, and why some are refused.

Nothing here has an effect: a request and a state give changes, or an error. A request that finds
its goal reached already (folding what is folded) gives no change and is no error.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from sculptor.errors import FragmentNotFound, FragmentProtected, InvalidMessage, UndoRefused
from sculptor.operations import Cut, Fold, Operation, Pin, Request, Restore, Summarize, operation_id
from sculptor.state import (
    Author,
    Change,
    EntryKey,
    Fragment,
    FragmentId,
    MessagePin,
    Place,
    State,
    Status,
    SummaryText,
    backwards,
    fragment_id,
    pin_key,
)

Protection = Callable[[Fragment], str | None]
"""Tells why a fragment may not be hidden now, or None."""


def plan(
    request: Request, state: State, *, author: Author, seed: bytes, protection: Protection
) -> list[Change]:
    """Return what ``request`` changes; undo is planned from its record by ``plan_undo``.

    Raises:
        FragmentNotFound: an ID names no fragment, or one that was split.
        FragmentProtected: a pin or the context's own protection stands in the way.
    """
    match request:
        case Cut():
            return _cut(request, state, seed)
        case Fold(ids=ids):
            fragments = _hideable(ids, state, protection)
            return [_set(f, "folded", None) for f in fragments if f.status != "folded"]
        case Summarize(texts=texts):
            fragments = _hideable([name for name, _ in texts], state, protection)
            news = [text for _, text in texts]
            return [
                _set(f, "summarized", text)
                for f, text in zip(fragments, news, strict=True)
                if f.summary != text
            ]
        case Restore(ids=ids):
            fragments = [_leaf(name, state) for name in ids]
            return [_set(f, "visible", None) for f in fragments if f.status != "visible"]
        case Pin():
            return [*_pin_fragments(request, state, author), *_pin_places(request, state, author)]
        case _:
            raise TypeError(f"no plan for {request!r}")


def plan_undo(
    operation: Operation, state: State, history: Callable[[int], Operation]
) -> list[Change]:
    """Return the changes that take ``operation`` out of force.

    Raises:
        UndoRefused: what it made was changed since, or it is out of force; the IDs say by what.
    """
    moved = [
        change for change in operation.changes if state.entries.get(change.key) != change.after
    ]
    if moved:
        blockers = sorted({depth for c in moved for depth in _later(c, operation, state, history)})
        if blockers:
            raise UndoRefused(operation.id, [operation_id(depth) for depth in blockers])
        raise UndoRefused(operation.id, why="it is not in force any more")
    return list(backwards(operation.changes))


def _later(
    change: Change, operation: Operation, state: State, history: Callable[[int], Operation]
) -> Iterable[int]:
    """Walk from the entry's value back to ``operation``, yielding what lies between."""
    entry = state.entries.get(change.key)
    seen: set[int] = set()
    while entry is not None and entry.by > operation.depth and entry.by not in seen:
        seen.add(entry.by)
        yield entry.by
        between = history(entry.by)
        entry = next((c.before for c in between.changes if c.key == change.key), None)


def _cut(request: Cut, state: State, seed: bytes) -> list[Change]:
    where = request.range
    pieces = [piece for piece in request.pieces if piece.end > piece.start]
    contiguous = all(a.end == b.start for a, b in pairwise(pieces))
    if (
        not pieces
        or not contiguous
        or (pieces[0].start, pieces[-1].end) != (where.start, where.end)
    ):
        raise InvalidMessage("The pieces of a cut must cover its range without gaps.", "pieces")
    parent = _only_parent(request, state)
    changes: list[Change] = []
    named = state
    for piece in pieces:
        name = fragment_id(seed, where.place, where.part, piece.start, piece.end, named)
        fragment = Fragment(
            id=name,
            place=where.place,
            part=where.part,
            start=piece.start,
            end=piece.end,
            tokens=piece.tokens,
        )
        changes.append(Change(EntryKey(name), None, fragment))
        # Only its name is taken: laying out the leaves anew for each piece would cost their square.
        named = State(named.entries.insert(EntryKey(name), fragment), state.leaves)
    if parent is not None:
        children = tuple(FragmentId(str(change.key)) for change in changes)
        split = replace(parent, status="split", children=children)
        changes.append(Change(EntryKey(parent.id), parent, split))
    return changes


def _only_parent(request: Cut, state: State) -> Fragment | None:
    """Return the visible fragment that the range is exactly, None where the range is free."""
    where = request.range
    met = [
        leaf
        for leaf in state.leaves_of(where.place)
        if leaf.part == where.part and leaf.start < where.end and where.start < leaf.end
    ]
    if not met:
        return None
    parent = met[0]
    if len(met) > 1 or parent.status != "visible":
        raise FragmentProtected(parent.id, "the range crosses fragments that exist already")
    if (parent.start, parent.end) != (where.start, where.end) or len(request.pieces) < 2:
        raise FragmentProtected(parent.id, "only the whole of a visible fragment can be cut anew")
    if parent.pinned_by:
        raise FragmentProtected(parent.id, f"pinned by the {parent.pinned_by}")
    return parent


def _leaf(name: str, state: State) -> Fragment:
    fragment = state.fragment(name)
    if fragment is None:
        raise FragmentNotFound(name, [str(key) for key in list(state.entries)[:10]])
    if fragment.status == "split":
        raise FragmentNotFound(name, fragment.children)
    return fragment


def _hideable(ids: Sequence[str], state: State, protection: Protection) -> list[Fragment]:
    fragments = [_leaf(name, state) for name in ids]
    for fragment in fragments:
        reason = protection(fragment)
        if reason:
            raise FragmentProtected(fragment.id, reason)
    return fragments


def _set(fragment: Fragment, status: Status, summary: SummaryText | None) -> Change:
    after = replace(fragment, status=status, summary=summary)
    return Change(EntryKey(fragment.id), fragment, after)


def _pin_fragments(request: Pin, state: State, author: Author) -> Iterable[Change]:
    for name in request.ids:
        fragment = _leaf(name, state)
        if request.pinned == (fragment.pinned_by is not None):
            continue
        _check_release(fragment.id, fragment.pinned_by, author)
        after = replace(fragment, pinned_by=author if request.pinned else None)
        yield Change(EntryKey(fragment.id), fragment, after)


def _pin_places(request: Pin, state: State, author: Author) -> Iterable[Change]:
    for place in request.places:
        held = state.entries.get(pin_key(place))
        if request.pinned == (held is not None):
            continue
        _check_release("the message", state.pin_of(place), author)
        after = MessagePin(place=place, pinned_by=author) if request.pinned else None
        yield Change(pin_key(place), held, after)


def _check_release(name: str, pinned_by: Author | None, author: Author) -> None:
    if author == "model" and pinned_by in ("user", "policy"):
        raise FragmentProtected(name, f"pinned by the {pinned_by}, who alone can release it")


def pin_reason(fragment: Fragment, state: State) -> str | None:
    """Tell which pin holds a fragment, its message's included, or None."""
    by = fragment.pinned_by or state.pin_of(Place(*fragment.place))
    return f"pinned by the {by}" if by else None
