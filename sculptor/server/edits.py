"""What a person does to a lane: the requests that an order of the management API comes to.

Persons and models are held to the same rules, and their operations stand in the same log; a person
may besides undo, release and fold what a model may not.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sculptor.context import Context
from sculptor.errors import UndoRefused
from sculptor.operations import Fold, OperationId, Pin, Receipt, Request, Restore, Undo
from sculptor.server.api_models import OperationBody
from sculptor.server.envelope import ApiError
from sculptor.state import Fragment, FragmentId
from sculptor.tools.cuts import cuts_of, named_or_long, places
from sculptor.tools.hide import select


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
            return Pin(ids, places(context, body.messages), pinned=body.kind == "pin")


def _cut(context: Context, body: OperationBody) -> Edited:
    """Cut the messages named, or all long ones; what is cut already keeps its fragments."""
    indexes = named_or_long(context, body.messages)
    size, count = body.size_tokens, body.num_fragments
    cuts = [
        request
        for index in indexes
        for request in cuts_of(context, index, num_fragments=count, size_tokens=size)
    ]
    receipt = context.perform(*cuts, author="user", reason=body.reason)
    leaves = [leaf.id for i in indexes for leaf in context.state.leaves_of(context.places[i])]
    if body.messages and not leaves:
        raise ApiError(409, _why_uncut(context, indexes), code="refused", param="messages")
    return Edited(receipt, leaves)


def _why_uncut(context: Context, indexes: Sequence[int]) -> str:
    reasons = {limit.reason for i in indexes if (limit := context.protected(i)) is not None}
    return f"Nothing was cut: {'; '.join(sorted(reasons)) or 'there is no text to cut'}."
