"""The lines that stand in a view for what is hidden, and how client text is kept apart from them.

Markers carry no authority: tools take IDs from state, never from text. So that a reader can still
tell a marker from a copy of one, in a view that holds a marker each opening bracket that stands
directly before a marker's body is doubled in client text. The grammar of a view: a run of opening
brackets before a body ends in a marker of ours if the run is odd, and is client text, of half as
many brackets, if it is even. A run at the end of client text directly before a marker of ours
stands before its body too, and is doubled like the rest; so is one at the end of a text part whose
body begins the next part, for some put the parts together. Nothing is changed at rest.
"""

import re

import orjson

from sculptor.cutting import ends_of

OPEN, CLOSE = "⟦", "⟧"

_BODY = "/?f[0-9a-f]{5}(?:⟧| folded| summary)"
_LOOK_ALIKE = re.compile(f"(?<!⟦)⟦++(?={_BODY})")
_LOOK_ALIKE_OR_END = re.compile(rf"(?<!⟦)⟦++(?={_BODY}|\Z)")
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BODY_CHARS = len("/f12345 summary")
_PREVIEW_CHARS = 30
_RECORD = re.compile("[^:][:=].", re.DOTALL)
_RECORD_CHARS = 80


def looks_like_marker(text: str) -> bool:
    """Whether some stretch of ``text`` matches the marker grammar."""
    return OPEN in text and _LOOK_ALIKE.search(text) is not None


def escape(text: str, *, before_marker: bool = False, rest: str = "") -> str:
    """Return ``text`` with the opening brackets of each look-alike doubled.

    ``before_marker`` says that a marker of ours follows it directly, ``rest`` what else does.
    """
    if OPEN not in text:
        return text
    if rest and not before_marker:
        return _escape_before(text, rest)
    pattern = _LOOK_ALIKE_OR_END if before_marker else _LOOK_ALIKE
    return pattern.sub(_doubled, text)


def head(text: str, rest: str) -> str:
    """Return of a text, and the ``rest`` behind it, what can be of a look-alike begun before it."""
    whole = text if len(text) > _bracket_run(text) + _BODY_CHARS else text + rest
    return whole[: _bracket_run(whole) + _BODY_CHARS]


def escape_json(text: str) -> str:
    """Return JSON text with the look-alikes in its strings doubled, however they are spelled.

    Every string without one stays as it is written; what is no JSON is treated as plain text.
    """
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return escape(text)
    return _STRING.sub(_escaped_string, text)


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
    head, tail = ends_of(text, 200)
    first, _ = ends_of(_one_line(head), _PREVIEW_CHARS)
    _, last = ends_of(_one_line(tail), _PREVIEW_CHARS)
    if len(text) <= _PREVIEW_CHARS:
        last = ""
    elif len(text) <= 2 * _PREVIEW_CHARS:
        last = "…"  # its last words would overlap the first
    else:
        last = f"… {last}"
    shown = f"{first} {last}".strip()
    return shown.replace('"', "'").replace(CLOSE, "]").replace(OPEN, "[")


def _count_records(text: str) -> int:
    """Count the pieces that a ``;`` or a line end closes and that end in a key and a value.

    Of each piece only its end is read: the longest value, and the mark and key before it.
    """
    *closed, _ = text.replace("\n", ";").split(";")
    return sum(_RECORD.search(piece[-_RECORD_CHARS - 2 :]) is not None for piece in closed)


def _escape_before(text: str, rest: str) -> str:
    """Double what stands in ``text`` of the brackets before a body, be that in ``rest`` or not."""

    def doubled(found: re.Match[str]) -> str:
        return found.group()[: max(0, len(text) - found.start())] + found.group()

    return _LOOK_ALIKE.sub(doubled, text + rest)[: -len(rest)]


def _bracket_run(text: str) -> int:
    """Return with how many opening brackets a text begins."""
    return len(text) - len(text.lstrip(OPEN))


def _doubled(found: re.Match[str]) -> str:
    return found.group() * 2


def _escaped_string(found: re.Match[str]) -> str:
    value: str = orjson.loads(found.group())
    shown = escape(value)
    return found.group() if shown == value else orjson.dumps(shown).decode()


def _one_line(text: str) -> str:
    return " ".join(text.replace(CLOSE, "]").split())
