"""``summarize_fragment``: put a text written for a stated focus in the place of fragments."""

from collections.abc import Sequence
from typing import Any

from sculptor.context import Context
from sculptor.errors import FragmentProtected, ToolError
from sculptor.operations import Summarize
from sculptor.state import FragmentId, SummaryText
from sculptor.summaries import Summary, SummaryJob, admit
from sculptor.tools.answers import acknowledge
from sculptor.tools.arguments import FullSummarize, PaperSummarize
from sculptor.tools.hide import select
from sculptor.tools.needs import NeedSummaries, Summaries, Work


def paper_summarize(context: Context, arguments: PaperSummarize) -> Work:
    """Summarize one fragment."""
    ids = select(context, [arguments.fragment_id])
    return (yield from _summarize(context, ids, arguments.focus))


def full_summarize(context: Context, arguments: FullSummarize) -> Work:
    """Summarize fragments, with one call for all of them."""
    ids = select(context, arguments.fragment_ids, skip_protected=True)
    return (yield from _summarize(context, ids, arguments.focus))


def _summarize(context: Context, ids: Sequence[FragmentId], focus: str) -> Work:
    """Make summaries from originals and put in force those that are worth it."""
    jobs = [_job(context, name, focus) for name in ids]
    refused: dict[str, str] = {}
    worth: list[SummaryJob] = []
    for job in jobs:
        reason = admit(job, None, context.counter)
        if reason:
            refused[job.fragment_id] = reason
        else:
            worth.append(job)
    if not worth:
        raise ToolError("NOT_SUMMARIZED", "No summary would help; fold instead.", {"why": refused})
    made: Summaries = yield NeedSummaries(tuple(worth))
    texts: list[tuple[FragmentId, SummaryText]] = []
    for job in worth:
        text = made.texts.get(job.fragment_id, "")
        summary = Summary(text=text, model=made.model, prompt_hash=made.prompt_hash)
        reason = admit(job, summary, context.counter) if text else "the summarizer gave no text"
        if reason:
            refused[job.fragment_id] = reason
        else:
            texts.append((FragmentId(job.fragment_id), _text(context, focus, summary)))
    if not texts:
        raise ToolError("NOT_SUMMARIZED", "No summary was kept; originals stand.", {"why": refused})
    receipt = context.perform(
        Summarize(tuple(texts)),
        author="model",
        reason="summarize_fragment",
        cost_tokens=made.cost_tokens,
    )
    fields: dict[str, Any] = {"summarized": {name: text.tokens for name, text in texts}}
    if refused:
        fields["kept_original"] = refused
    return acknowledge(receipt, **fields)


def _job(context: Context, name: FragmentId, focus: str) -> SummaryJob:
    fragment = context.state.fragment(name)
    text = None if fragment is None else context.text_of(fragment)
    if fragment is None or text is None:
        raise ToolError("UNKNOWN_ID", f"{name} is not in the present messages.")
    reason = context.why_protected(fragment)
    if reason:
        raise FragmentProtected(name, reason)
    return SummaryJob(fragment_id=name, text=text, focus=focus, tokens=fragment.tokens)


def _text(context: Context, focus: str, summary: Summary) -> SummaryText:
    return SummaryText(
        text=summary.text,
        focus=focus,
        tokens=context.counter.count(summary.text),
        model=summary.model,
        prompt_hash=summary.prompt_hash,
    )
