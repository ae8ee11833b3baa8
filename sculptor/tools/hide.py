"""``fold_fragment``, ``restore_fragment``, ``pin_fragment`` and ``undo``."""

from collections.abc import Iterator, Sequence
from typing import Any

from sculptor.context import Context
from sculptor.errors import FragmentNotFound, ToolError
from sculptor.guards import Stretch, coverage, newly_invisible
from sculptor.operations import Fold, OperationId, Pin, Restore, Undo
from sculptor.state import Fragment, FragmentId
from sculptor.tools.answers import acknowledge
from sculptor.tools.arguments import (
    FullFold,
    FullPin,
    FullRestore,
    FullUndo,
    PaperFold,
    PaperRestore,
)
from sculptor.tools.needs import Work

_WARNED_FACTS = 20


def paper_fold(context: Context, arguments: PaperFold) -> Work:
    """Hide one fragment."""
    yield from ()
    receipt = context.perform(
        Fold((FragmentId(arguments.fragment_id),)), author="model", reason="fold_fragment"
    )
    return acknowledge(receipt, folded=[arguments.fragment_id])


def paper_restore(context: Context, arguments: PaperRestore) -> Work:
    """Bring one fragment back."""
    yield from ()
    receipt = context.perform(
        Restore((FragmentId(arguments.fragment_id),)), author="model", reason="restore_fragment"
    )
    return acknowledge(receipt, restored=[arguments.fragment_id])


def full_fold(context: Context, arguments: FullFold) -> Work:
    """Hide fragments by name or range, or all but the last ones; say what only they held."""
    yield from ()
    if arguments.keep_last is not None:
        kept = arguments.keep_last
        hideable = [leaf.id for leaf in context.fragments() if not context.why_protected(leaf)]
        ids = hideable[: len(hideable) - kept] if kept else hideable
    else:
        ids = select(context, arguments.fragment_ids, skip_protected=True)
    receipt = context.perform(Fold(tuple(ids)), author="model", reason="fold_fragment")
    answer = acknowledge(receipt, folded=ids)
    return answer | (hidden_by(context, ids) if receipt.undo else {})


def full_restore(context: Context, arguments: FullRestore) -> Work:
    """Bring fragments back."""
    yield from ()
    ids = select(context, arguments.fragment_ids)
    receipt = context.perform(Restore(tuple(ids)), author="model", reason="restore_fragment")
    return acknowledge(receipt, restored=ids)


def full_pin(context: Context, arguments: FullPin) -> Work:
    """Protect fragments from folds and summaries, or release them."""
    yield from ()
    ids = select(context, arguments.fragment_ids)
    request = Pin(tuple(ids), pinned=arguments.pinned)
    receipt = context.perform(request, author="model", reason="pin_fragment")
    return acknowledge(receipt, **{"pinned" if arguments.pinned else "released": ids})


def full_undo(context: Context, arguments: FullUndo) -> Work:
    """Take one of the model's own operations out of force."""
    yield from ()
    receipt = context.perform(Undo(OperationId(arguments.operation)), author="model", reason="undo")
    return acknowledge(receipt, undone=arguments.operation)


def select(
    context: Context, names: Sequence[str], *, skip_protected: bool = False
) -> list[FragmentId]:
    """Return the fragments meant by IDs, ranges ``a..b`` and ``all``, in the order named.

    ``skip_protected`` leaves out protected ones where they were not named one by one.

    Raises:
        ToolError: nothing is named, or a range runs backwards.
        FragmentNotFound: an ID names no fragment of this context.
    """
    if not names:
        raise ToolError("INVALID_ARGUMENTS", "Name fragments in fragment_ids.")
    leaves = list(context.fragments())
    chosen: dict[FragmentId, None] = {}
    for name in names:
        several = name == "all" or ".." in name
        for leaf in _meant(context, name, leaves):
            if not (several and skip_protected and context.why_protected(leaf)):
                chosen[leaf.id] = None
    return list(chosen)


def _meant(context: Context, name: str, leaves: Sequence[Fragment]) -> Iterator[Fragment]:
    if name == "all":
        yield from leaves
        return
    first, dots, last = name.partition("..")
    order = {leaf.id: index for index, leaf in enumerate(leaves)}
    ends = [_position(context, part.strip(), order) for part in ([first, last] if dots else [name])]
    if ends[0] > ends[-1]:
        raise ToolError("INVALID_RANGE", f"{name!r} runs backwards; write {last}..{first}.")
    yield from leaves[ends[0] : ends[-1] + 1]


def _position(context: Context, name: str, order: dict[FragmentId, int]) -> int:
    position = order.get(FragmentId(name))
    if position is None:
        split = context.state.fragment(name)
        raise FragmentNotFound(name, split.children if split else list(order)[:10])
    return position


def hidden_by(context: Context, ids: Sequence[FragmentId]) -> dict[str, Any]:
    """Return what stands in no visible text after these fragments were hidden.

    Of ``key: value`` records it names the keys whose last value is hidden, of other text the
    identifiers, names and numbers.
    """
    hidden = set(ids)
    texts = [
        text
        for leaf in context.fragments()
        if leaf.id in hidden and (text := context.text_of(leaf))
    ]
    found: dict[str, Any] = {}
    stale = coverage(stretches(context)).lost
    if stale:
        found["last_value_hidden_for"] = list(stale[:_WARNED_FACTS])
        found["last_value_hidden_keys"] = len(stale)
    lost = newly_invisible(texts, (s.text for s in stretches(context) if not s.is_hidden), limit=12)
    if lost:
        found["now_hidden_only"] = lost
    return found


def stretches(context: Context) -> Iterator[Stretch]:
    """Yield the client's texts in order, each stretch shown or hidden."""
    for index, message in enumerate(context.messages):
        leaves = context.state.leaves_of(context.places[index])
        for number, part in enumerate(message.parts):
            if part.text_path is None:
                continue
            at = 0
            for leaf in leaves:
                if leaf.part == number and leaf.status != "visible":
                    yield Stretch(part.text[at : leaf.start], False)
                    yield Stretch(part.text[leaf.start : leaf.end], True)
                    at = leaf.end
            yield Stretch(part.text[at:], False)
