"""Stored values as rows of the management API."""

from collections.abc import Iterable

from sculptor.context import Context
from sculptor.cutting import ends_of
from sculptor.operations import Operation, Receipt
from sculptor.state import Fragment, SummaryText
from sculptor.store.protocol import Totals
from sculptor.store.records import Lane, UsageRow
from sculptor.tools import api_answers as answers

_PREVIEW_CHARS = 80


def session_row(totals: Totals) -> answers.SessionRow:
    """Return one session of a listing."""
    session = totals.session
    return answers.SessionRow(
        id=session.id,
        created=session.created,
        used=session.used,
        messages=totals.messages,
        operations=totals.operations,
        billed_tokens=totals.billed_tokens,
    )


def lane_row(lane: Lane) -> answers.LaneRow:
    """Return one lane of a session."""
    return answers.LaneRow(
        id=lane.id,
        agent=lane.agent,
        version=lane.version,
        operations=lane.depth,
        admitted=lane.admitted,
        used=lane.used,
    )


def fragment_row(context: Context, fragment: Fragment) -> answers.FragmentRow:
    """Return one fragment of the present list."""
    text = context.text_of(fragment) or ""
    starts, ends = ends_of(text, _PREVIEW_CHARS)
    index = context.index_of(fragment.place)
    at = -1 if index is None else index
    return answers.FragmentRow(
        id=fragment.id,
        message=at,
        role=context.messages[at].role,
        part=fragment.part,
        start=fragment.start,
        end=fragment.end,
        tokens=fragment.tokens,
        status=fragment.status,
        pinned_by=fragment.pinned_by,
        protected=context.why_protected(fragment),
        summary=None if fragment.summary is None else _summary_row(fragment.summary),
        starts=starts,
        ends=ends if len(text) > _PREVIEW_CHARS else "",
    )


def operation_row(operation: Operation) -> answers.OperationRow:
    """Return one operation as recorded."""
    entries = (change.after or change.before for change in operation.changes)
    return answers.OperationRow(
        id=operation.id,
        kind=operation.kind,
        author=operation.author,
        reason=operation.reason,
        time=operation.time,
        version=operation.version,
        arguments=operation.arguments,
        fragments=[entry.id for entry in entries if isinstance(entry, Fragment)],
        receipt=receipt_row(operation.receipt),
    )


def receipt_row(receipt: Receipt) -> answers.ReceiptAnswer:
    """Return a receipt with what follows from it."""
    return answers.ReceiptAnswer(**receipt.to_json())


def usage_totals(rows: Iterable[UsageRow]) -> list[answers.UsageTotals]:
    """Return what upstream calls cost, one row a purpose."""
    by_purpose: dict[str, list[UsageRow]] = {}
    for row in rows:
        by_purpose.setdefault(row.purpose, []).append(row)
    return [
        answers.UsageTotals(
            purpose=same[0].purpose,
            calls=len(same),
            prompt_tokens=sum(row.prompt_tokens for row in same),
            cached_tokens=sum(row.cached_tokens for row in same),
            completion_tokens=sum(row.completion_tokens for row in same),
        )
        for same in by_purpose.values()
    ]


def _summary_row(summary: SummaryText) -> answers.SummaryRow:
    return answers.SummaryRow(
        text=summary.text, focus=summary.focus, tokens=summary.tokens, model=summary.model
    )
