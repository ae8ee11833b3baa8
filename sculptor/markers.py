"""The lines that stand in a view for what is hidden, and how client text is kept apart from them.

Markers carry no authority: tools take IDs from state, never from text. So that a reader can still
tell a marker from a copy of one, client text that matches the grammar is shown with its opening
bracket doubled, in a view that holds a marker. Nothing is changed at rest.
"""

import re

OPEN, CLOSE = "⟦", "⟧"

_GRAMMAR = re.compile(r"⟦(?=/?f[0-9a-f]{5}(?:⟧| folded\b| summary\b))")
_PREVIEW_CHARS = 30
_RECORD = re.compile("[^:][:=].", re.DOTALL)
_RECORD_CHARS = 80


def looks_like_marker(text: str) -> bool:
    """Whether some stretch of ``text`` matches the marker grammar."""
    return OPEN in text and _GRAMMAR.search(text) is not None


def escape(text: str) -> str:
    """Return ``text`` with the opening bracket of each look-alike doubled."""
    return _GRAMMAR.sub(OPEN * 2, text) if OPEN in text else text


def folded(fragment_id: str, tokens: int, preview: str) -> str:
    """Return the line that stands for a folded fragment."""
    shown = f' · "{preview}"' if preview else ""
    return f"{OPEN}{fragment_id} folded · {tokens} tokens{shown}{CLOSE}"


def summarized(fragment_id: str, tokens: int, focus: str, summary: str) -> str:
    """Return the block that stands for a summarized fragment; the summary is labelled as such."""
    about = f" (focus: {escape(_one_line(focus))})" if focus else ""
    head = f"{OPEN}{fragment_id} summary{about} of {tokens} tokens{CLOSE}"
    return f"{head} {escape(summary)} {OPEN}/{fragment_id}{CLOSE}"


def bounded(fragment_id: str, text: str) -> str:
    """Return a visible fragment between its boundary markers (inline mode)."""
    return f"{OPEN}{fragment_id}{CLOSE} {text} {OPEN}/{fragment_id}{CLOSE}"


def preview_of(text: str) -> str:
    """Return the first and last words of ``text``, or nothing where it consists of records.

    In a list of records the ends are stale values, and showing them brings back the interference
    the fold was to remove.
    """
    if _count_records(text[:600]) >= 3:
        return ""
    words = _one_line(text[:200]), _one_line(text[-200:])
    first, last = words[0][:_PREVIEW_CHARS], words[1][-_PREVIEW_CHARS:]
    shown = first if len(text) <= 2 * _PREVIEW_CHARS else f"{first} … {last}"
    return escape(shown.replace('"', "'").replace(CLOSE, "]").replace(OPEN, "["))


def _count_records(text: str) -> int:
    """Count the pieces that a ``;`` or a line end closes and that end in a key and a value.

    Of each piece only its end is read: the longest value, and the mark and key before it.
    """
    *closed, _ = text.replace("\n", ";").split(";")
    return sum(_RECORD.search(piece[-_RECORD_CHARS - 2 :]) is not None for piece in closed)


def _one_line(text: str) -> str:
    return " ".join(text.replace(CLOSE, "]").split())
