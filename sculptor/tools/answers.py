"""What tools tell the model: fragments, receipts and what to do after a mistake."""

from collections.abc import Sequence
from typing import Any

from sculptor.context import Context
from sculptor.cutting import ends_of
from sculptor.errors import (
    ContextError,
    FragmentNotFound,
    FragmentProtected,
    OperationNotFound,
    ToolError,
    UndoRefused,
)
from sculptor.operations import Receipt
from sculptor.state import Fragment
from sculptor.tools.needs import ToolAnswer

_PREVIEW_CHARS = 60
_LISTED_IDS = 40


def describe(context: Context, fragment: Fragment, *, preview: bool = True) -> dict[str, Any]:
    """Return one row of the fragment table."""
    row: dict[str, Any] = {
        "id": fragment.id,
        "message": context.index_of(fragment.place),
        "tokens": fragment.tokens,
        "chars": [fragment.start, fragment.end],
        "state": fragment.status,
    }
    if fragment.pinned_by:
        row["pinned_by"] = fragment.pinned_by
    text = context.text_of(fragment)
    if preview and text:
        row["starts"], ends = ends_of(text, _PREVIEW_CHARS)
        if len(text) > _PREVIEW_CHARS:
            row["ends"] = ends
    return row


def acknowledge(receipt: Receipt, **fields: Any) -> ToolAnswer:
    """Return the answer of an operation: what was asked for, and what it did to the view."""
    answer: ToolAnswer = {"ok": True, **fields}
    if not receipt.undo:
        return answer | {"changed": False, "view_tokens": receipt.tokens_after}
    answer["view_tokens"] = {"before": receipt.tokens_before, "after": receipt.tokens_after}
    answer["prefix_kept_tokens"] = receipt.prefix_tokens
    if receipt.cost_tokens:
        answer["cost_tokens"] = receipt.cost_tokens
    return answer | {"undo": receipt.undo}


def explain(error: ToolError | ContextError, context: Context) -> ToolAnswer:
    """Return the answer to a wrong call: what was wrong and what to do next."""
    match error:
        case ToolError():
            return {"error": error.code, "message": error.message, **error.details}
        case FragmentNotFound(fragment_id=name):
            return _unknown_id(name, error.known, context)
        case FragmentProtected():
            hint = "Choose other fragments; protected text always stays visible."
            return {"error": "PROTECTED", "message": str(error), "hint": hint}
        case UndoRefused(blockers=blockers):
            answer: ToolAnswer = {"error": "UNDO_REFUSED", "message": str(error)}
            return answer | ({"undo_first": list(reversed(blockers))} if blockers else {})
        case OperationNotFound():
            hint = f"Operations so far: o1 to o{context.depth}." if context.depth else "None yet."
            return {"error": "UNKNOWN_OPERATION", "message": str(error), "hint": hint}
        case _:
            return {"error": "REFUSED", "message": str(error)}


def _unknown_id(name: str, children: Sequence[str], context: Context) -> ToolAnswer:
    split = context.state.fragment(name)
    if split is not None and split.children:
        message = f"{name} was cut into smaller fragments; use their IDs."
        return {"error": "SPLIT", "message": message, "valid_ids": list(children)}
    valid = [fragment.id for fragment in context.fragments()]
    hint = (
        "Use one of valid_ids."
        if valid
        else "There are no fragments yet: call fragment_context first; IDs come from its answer."
    )
    return {
        "error": "UNKNOWN_ID",
        "message": f"No fragment has the ID {name!r}.",
        "valid_ids": valid[:_LISTED_IDS],
        "hint": hint,
    }
