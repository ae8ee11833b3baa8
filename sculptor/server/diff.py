"""What a view changes, message by message: the text as it came beside the text as shown.

A diff is made from the state and not by comparing texts, so each stretch says which fragment it is
and why it looks as it does. The originals of a message's stretches, joined, are its original text;
their rendered forms, joined, are the text that the view holds.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Literal, NamedTuple

from sculptor import markers
from sculptor.context import Context
from sculptor.messages import parse_message
from sculptor.rendering import stretches_of
from sculptor.state import HIDDEN, Fragment
from sculptor.tools.api_answers import DiffRow, StretchRow

StretchKind = Literal["same", "folded", "summarized", "marked"]


class _Run(NamedTuple):
    fragment: Fragment | None
    original: str
    rendered: str
    is_ours: bool
    """Whether the rendered text holds a marker of ours, in which nothing is doubled any more."""


def diff_of(context: Context) -> list[DiffRow]:
    """Return the messages that the view changes, in order."""
    return [
        _row(context, index)
        for index, message in enumerate(context.messages)
        if context.rendered(index).wire != message.wire
    ]


def _row(context: Context, index: int) -> DiffRow:
    message, rendered = context.messages[index], context.rendered(index)
    return DiffRow(
        index=index,
        role=message.role,
        tokens_before=context.original_tokens(index),
        tokens_after=rendered.tokens,
        original=message.text,
        rendered=parse_message(rendered.wire).text,
        stretches=list(_stretches(context, index)),
    )


def _stretches(context: Context, index: int) -> Iterator[StretchRow]:
    for number, part in enumerate(context.messages[index].parts):
        if part.text_path is None:
            continue
        runs_of_part = list(_runs(context, index, number))
        left = len(runs_of_part)
        for is_ours, group in groupby(runs_of_part, key=lambda run: run.is_ours):
            runs = list(group)
            left -= len(runs)
            if is_ours:
                yield from (_marked(number, run) for run in runs)
            else:
                original = "".join(run.original for run in runs)
                shown = original
                if context.is_marked:
                    shown = markers.escape(original, before_marker=left > 0)
                kind: StretchKind = "same" if shown == original else "marked"
                yield StretchRow(
                    part=number, kind=kind, fragment=None, original=original, rendered=shown
                )


def _runs(context: Context, index: int, number: int) -> Iterator[_Run]:
    part = context.messages[index].parts[number]
    leaves = [
        leaf for leaf in context.state.leaves_of(context.places[index]) if leaf.part == number
    ]
    shown = stretches_of(part, leaves, context.counter, inline=context.inline)
    at = 0
    for leaf in leaves:
        if leaf.start > at:
            yield _Run(None, part.text[at : leaf.start], next(shown).text, is_ours=False)
        stretch = next(shown)
        original = part.text[leaf.start : leaf.end]
        yield _Run(leaf, original, stretch.text, is_ours=bool(stretch.name))
        at = leaf.end
    if at < len(part.text):
        yield _Run(None, part.text[at:], next(shown).text, is_ours=False)


def _marked(part: int, run: _Run) -> StretchRow:
    leaf = run.fragment
    kind: StretchKind = "marked"
    if leaf is not None and leaf.status in HIDDEN:
        kind = "folded" if leaf.status == "folded" else "summarized"
    return StretchRow(
        part=part,
        kind=kind,
        fragment=leaf.id if leaf else None,
        original=run.original,
        rendered=run.rendered,
    )
