"""The ledger: a short table that shows the model its fragments and budget.

It is an extra text part at the end of the view's last message, where the client's own user or tool
message stands there; never stored, never hashed, and never in a view that hides nothing. Our own
tools' answers carry the same figures, so a view that ends in one needs none.
"""

from itertools import islice

import orjson

from sculptor.context import Context
from sculptor.spans import elements, locate, splice, with_member

_ROWS = 24


def ledger_text(context: Context) -> str | None:
    """Return the ledger, or None where there is nothing to show."""
    fragments = list(context.fragments())
    if not fragments:
        return None
    hidden = sum(fragment.status != "visible" for fragment in fragments)
    if not hidden:
        return None
    rows = [
        f"{leaf.id} message {context.index_of(leaf.place)} {leaf.tokens} tokens {leaf.status}"
        + (f" pinned by {leaf.pinned_by}" if leaf.pinned_by else "")
        for leaf in islice(fragments, _ROWS)
    ]
    more = len(fragments) - len(rows)
    head = (
        f"[context ledger, not written by the user] view {context.tokens} of "
        f"{context.total_tokens} tokens; {len(fragments)} fragments, {hidden} hidden:"
    )
    return "\n".join([head, *rows, *([f"and {more} more"] if more else [])])


def with_ledger(context: Context, messages: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
    """Return the view with the ledger at its end, or None where it has no place for one."""
    last = context.messages[-1] if context.messages else None
    if last is None or last.role not in ("user", "tool"):
        return None
    if any(step.after == len(context.messages) - 1 for step in context.open_steps()):
        return None
    text = ledger_text(context)
    if text is None:
        return None
    return (*messages[:-1], _with_part(messages[-1], orjson.dumps({"type": "text", "text": text})))


def _with_part(wire: bytes, part: bytes) -> bytes:
    """Return a message with one more content part; of the rest every byte stays."""
    try:
        span = locate(wire, ("content",))
    except KeyError:
        return with_member(wire, "content", b"[%b]" % part)
    content = wire[span.start : span.end]
    if content.startswith(b'"'):
        content = b'[{"type":"text","text":%b},%b]' % (content, part)
    elif content.startswith(b"[") and any(elements(content, 0)):
        content = content[:-1] + b"," + part + b"]"
    else:
        content = b"[%b]" % part
    return splice(wire, [(span, content)])
