"""Folding to fit: what the loop does when a view is longer than the model's window.

The oldest unprotected text goes first and pins are kept; nothing is cut. It is a policy's
operation like any other: recorded, with a receipt, undone by name.
"""

from collections.abc import Iterator

from sculptor.context import Context
from sculptor.cutting import cut
from sculptor.loop.requests import ClientRequest
from sculptor.operations import Cut, Fold, Piece, Range, Receipt
from sculptor.state import FragmentId

MARKER_TOKENS = 30
"""About what a fold's marker takes; shorter text is not worth folding."""

_RESERVED_ANSWER_TOKENS = 1_024
_UNKNOWN_TOKENIZER_RESERVE = 0.05
_PIECE_TOKENS = 2_000
_MARKERS_SHARE = 4
_ROUNDS = 4


def view_room(window_tokens: int, request: ClientRequest, *, beside_tokens: int = 0) -> int:
    """Return how many tokens a view may have in a window, by the same count.

    Left free are the answer's share, a margin, and ``beside_tokens``: what goes beside the view.
    """
    asked = request.value.get("max_completion_tokens") or request.value.get("max_tokens")
    reserved = asked if isinstance(asked, int) else _RESERVED_ANSWER_TOKENS
    room = int(window_tokens * (1 - _UNKNOWN_TOKENIZER_RESERVE))
    return max(room - min(reserved, window_tokens // 2) - beside_tokens, 0)


def fold_to_fit(context: Context, limit_tokens: int) -> list[Receipt]:
    """Fold oldest text first until the view fits; return the receipts of what was done.

    The view may still be over the limit afterwards, where all that is left is protected.
    """
    receipts: list[Receipt] = []
    for _ in range(_ROUNDS):
        need = context.tokens - limit_tokens
        if need <= 0:
            break
        _cut_oldest(context, need, receipts, size_tokens=_piece_tokens(context, limit_tokens))
        chosen = tuple(_oldest(context, need))
        if not chosen:
            break
        reason = f"the view was {need} tokens over the window"
        receipts.append(context.perform(Fold(chosen), author="policy", reason=reason))
    return receipts


def _piece_tokens(context: Context, limit_tokens: int) -> int:
    """Return how large a fragment is cut: larger where markers would fill the window else.

    A marker stands for each, and takes up to twice `MARKER_TOKENS`; all together may have a
    quarter of the room.
    """
    most = max(1, limit_tokens // (_MARKERS_SHARE * 2 * MARKER_TOKENS))
    return max(_PIECE_TOKENS, -(-(context.total_tokens - limit_tokens) // most))


def _cut_oldest(context: Context, need: int, receipts: list[Receipt], *, size_tokens: int) -> None:
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
            size_tokens=size_tokens,
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
