"""What a person does to a lane: the requests that an order of the management API comes to.

Persons and models are held to the same rules, and their operations stand in the same log; a person
may besides undo, release and fold what a model may not.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sculptor.context import Context
from sculptor.cutting import cut
from sculptor.errors import InvalidMessage, UndoRefused
from sculptor.operations import Cut, Fold, OperationId, Piece, Pin, Receipt, Request, Restore, Undo
from sculptor.server.api_models import OperationBody
from sculptor.server.envelope import ApiError
from sculptor.state import Fragment, FragmentId, Place
from sculptor.tools.fragment import MIN_MESSAGE_TOKENS
from sculptor.tools.hide import select

DEFAULT_SIZE_TOKENS = 1_000


class Edited(NamedTuple):
    """What an order did, and the fragments it speaks of."""

    receipt: Receipt
    fragments: list[FragmentId]


def edit(context: Context, body: OperationBody) -> Edited:
    """Do what a person asks, as one operation.

    Raises:
        ContextError, ToolError: it is refused; then nothing is changed.
        ApiError: an undo is refused, with the operations that stand in its way.
    """
    if body.kind == "fragment":
        return _cut(context, body)
    try:
        receipt = context.perform(_request(context, body), author="user", reason=body.reason)
    except UndoRefused as error:
        raise ApiError(
            409,
            str(error),
            code="undo_refused",
            param="operation",
            details={"blockers": list(error.blockers)},
        ) from error
    return Edited(receipt, changed_fragments(context, receipt))


def changed_fragments(context: Context, receipt: Receipt) -> list[FragmentId]:
    """Return the fragments that the newest operation made or changed; none if it did nothing."""
    if not receipt.undo:
        return []
    entries = (c.after or c.before for c in context.log.get(context.depth).changes)
    return [entry.id for entry in entries if isinstance(entry, Fragment)]


def _request(context: Context, body: OperationBody) -> Request:
    ids = tuple(select(context, body.fragment_ids)) if body.fragment_ids else ()
    match body.kind:
        case "fold":
            return Fold(ids)
        case "restore":
            return Restore(ids)
        case "undo":
            return Undo(OperationId(body.operation))
        case _:
            return Pin(ids, _places(context, body.messages), pinned=body.kind == "pin")


def _cut(context: Context, body: OperationBody) -> Edited:
    """Cut the messages named, or all long ones; what is cut already keeps its fragments."""
    indexes = [_checked(context, index) for index in body.messages] or list(_long(context))
    cuts = [request for index in indexes for request in _cuts(context, index, body)]
    receipt = context.perform(*cuts, author="user", reason=body.reason)
    leaves = [leaf.id for i in indexes for leaf in context.state.leaves_of(context.places[i])]
    if body.messages and not leaves:
        raise ApiError(409, _why_uncut(context, indexes), code="refused", param="messages")
    return Edited(receipt, leaves)


def _cuts(context: Context, index: int, body: OperationBody) -> Iterator[Cut]:
    size = None if body.num_fragments else body.size_tokens or DEFAULT_SIZE_TOKENS
    for where in context.free_ranges(index):
        text = context.messages[index].parts[where.part].text
        if not text[where.start : where.end].strip():
            continue
        pieces = cut(
            text,
            start=where.start,
            end=where.end,
            pieces=body.num_fragments,
            size_tokens=size,
            counter=context.counter,
        )
        yield Cut(where, tuple(Piece(piece.start, piece.end, piece.tokens) for piece in pieces))


def _long(context: Context) -> Iterator[int]:
    for index in range(len(context.messages)):
        if context.original_tokens(index) > MIN_MESSAGE_TOKENS:
            yield index


def _why_uncut(context: Context, indexes: Sequence[int]) -> str:
    reasons = {limit.reason for i in indexes if (limit := context.protected(i)) is not None}
    return f"Nothing was cut: {'; '.join(sorted(reasons)) or 'there is no text to cut'}."


def _places(context: Context, indexes: Sequence[int]) -> tuple[Place, ...]:
    return tuple(context.places[_checked(context, index)] for index in indexes)


def _checked(context: Context, index: int) -> int:
    count = len(context.messages)
    if not -count <= index < count:
        message = f"There is no message {index}; the conversation has {count}, counted from 0."
        raise InvalidMessage(message, "messages")
    return index % count
