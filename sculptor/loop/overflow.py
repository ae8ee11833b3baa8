"""Folding to fit: what the loop does when a view is longer than the model's window.

The oldest unprotected text goes first and pins are kept; nothing is cut. It is a policy's
operation like any other: recorded, with a receipt, undone by name.
"""

from collections.abc import Iterator

from sculptor.context import Context
from sculptor.cutting import cut
from sculptor.operations import Cut, Fold, Piece, Range, Receipt
from sculptor.state import FragmentId

MARKER_TOKENS = 30
"""About what a fold's marker takes; shorter text is not worth folding."""

_PIECE_TOKENS = 2_000
_ROUNDS = 4


def fold_to_fit(context: Context, limit_tokens: int) -> list[Receipt]:
    """Fold oldest text first until the view fits; return the receipts of what was done.

    The view may still be over the limit afterwards, where all that is left is protected.
    """
    receipts: list[Receipt] = []
    for _ in range(_ROUNDS):
        need = context.tokens - limit_tokens
        if need <= 0:
            break
        _cut_oldest(context, need, receipts)
        chosen = tuple(_oldest(context, need))
        if not chosen:
            break
        reason = f"the view was {need} tokens over the window"
        receipts.append(context.perform(Fold(chosen), author="policy", reason=reason))
    return receipts


def _cut_oldest(context: Context, need: int, receipts: list[Receipt]) -> None:
    """Make fragments of the oldest free text, enough to hide ``need`` tokens."""
    found = sum(
        leaf.tokens
        for leaf in context.fragments()
        if leaf.status == "visible" and not context.why_protected(leaf)
    )
    cuts: list[Cut] = []
    for where, text in _free(context):
        if found >= need + MARKER_TOKENS * len(cuts):
            break
        made = cut(
            text,
            start=where.start,
            end=where.end,
            size_tokens=_PIECE_TOKENS,
            counter=context.counter,
        )
        pieces = tuple(Piece(piece.start, piece.end, piece.tokens) for piece in made)
        tokens = sum(piece.tokens for piece in pieces)
        if tokens > 2 * MARKER_TOKENS:
            cuts.append(Cut(where, pieces))
            found += tokens
    if cuts:
        receipts.append(context.perform(*cuts, author="policy", reason="overflow"))


def _free(context: Context) -> Iterator[tuple[Range, str]]:
    for index, message in enumerate(context.messages):
        for where in context.free_ranges(index):
            yield where, message.parts[where.part].text


def _oldest(context: Context, need: int) -> Iterator[FragmentId]:
    freed = 0
    for leaf in context.fragments():
        if freed >= need:
            return
        hideable = leaf.status == "visible" and leaf.tokens > MARKER_TOKENS
        if hideable and not context.why_protected(leaf):
            freed += leaf.tokens - MARKER_TOKENS
            yield leaf.id
