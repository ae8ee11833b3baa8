"""Patterns written by a model, run in RE2.

RE2 never backtracks, so no pattern takes more than its size times the text's. Both factors are
bounded here as well, because a large automaton over megabytes is still minutes.
"""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from sculptor.errors import ToolError

MAX_PATTERN_CHARS = 1_000
BUDGET_S = 3.0
_MAX_STEPS_PER_TEXT = 1_000_000_000
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))


def pattern_matcher(pattern: str) -> Callable[[str], Iterator[tuple[int, int, float]]]:
    """Return what yields the matches of ``pattern`` in a text: code points, never empty.

    ``^`` and ``$`` match at every line, as in grep.

    Raises:
        ToolError: ``BAD_PATTERN`` where it is no RE2 pattern; later ``PATTERN_TOO_COSTLY``.
    """
    compiled = _compile(pattern)
    deadline = time.monotonic() + BUDGET_S

    def matches(text: str) -> Iterator[tuple[int, int, float]]:
        data = text.encode("utf-8", "surrogatepass")
        costly = compiled.programsize * len(data) > _MAX_STEPS_PER_TEXT
        if costly or time.monotonic() > deadline:
            raise _too_costly(pattern)
        at_byte = at = 0
        for found in compiled.finditer(data):
            start, end = found.span()
            if start == end:
                continue
            first = at + _characters(data, at_byte, start)
            at_byte, at = end, first + _characters(data, start, end)
            yield first, at, 1.0

    return matches


class _Found(Protocol):
    def span(self) -> tuple[int, int]: ...


class _Compiled(Protocol):
    @property
    def programsize(self) -> int: ...

    def finditer(self, text: bytes) -> Iterator[_Found]: ...


def _compile(pattern: str) -> _Compiled:
    import re2

    if len(pattern) > MAX_PATTERN_CHARS:
        raise _bad(pattern, f"it is longer than {MAX_PATTERN_CHARS} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: _Compiled = re2.compile(
            b"(?m)" + pattern.encode("utf-8", "surrogatepass"), options
        )
    except re2.error as refused:
        why = refused.args[0] if refused.args else ""
        raise _bad(pattern, why.decode() if isinstance(why, bytes) else str(why)) from refused
    # The library would keep 128 automata of up to 8 MiB each; no pattern comes twice here.
    re2.purge()
    return compiled


def _characters(data: bytes, start: int, end: int) -> int:
    return len(data[start:end].translate(None, _CONTINUATION_BYTES))


def _bad(pattern: str, why: str) -> ToolError:
    return ToolError(
        "BAD_PATTERN",
        f"The pattern cannot be used: {why}. The syntax is RE2: look-around such as (?=…) and back"
        ' references such as \\1 do not exist. For plain text use mode "exact".',
        {"pattern": pattern[:200]},
    )


def _too_costly(pattern: str) -> ToolError:
    return ToolError(
        "PATTERN_TOO_COSTLY",
        "The pattern is too large for this much text. Use fewer or smaller repetitions, or search"
        ' for a word of it with mode "exact".',
        {"pattern": pattern[:200]},
    )
