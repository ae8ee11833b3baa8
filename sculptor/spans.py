"""Where the values of a JSON text lie, so that one can be replaced and no other byte is touched.

A message goes upstream as it came; when a fold changes its text, only the bytes of that one string
literal are replaced. Parsing and dumping again would lose the client's number formats, escapes and
white space. Every function here takes JSON that a real parser has already accepted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson


class Span(NamedTuple):
    """Half-open range of byte offsets."""

    start: int
    end: int


Step = str | int
Path = tuple[Step, ...]
"""Where a value lies: keys of objects and indexes of arrays, from the outside in."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_MARK = re.compile(rb'["{}\[\]]')
_SCALAR = re.compile(rb"[^\s,\]}]+")
_SPACE = re.compile(rb"[\s,:]*+")

_OPEN, _CLOSE = frozenset(b"{["), frozenset(b"}]")
_QUOTE, _BACKSLASH = b'"\\'
_ARRAY = ord("[")


def value_end(raw: bytes, start: int) -> int:
    """Return where the value that begins at ``start`` ends."""
    first = raw[start]
    if first == _QUOTE:
        return _string_end(raw, start)
    if first not in _OPEN:
        return _match_end(_SCALAR, raw, start)
    depth, at = 1, start + 1
    while depth:
        found = _MARK.search(raw, at)
        if found is None:
            raise ValueError("JSON ends inside a value")
        at = found.start()
        if raw[at] == _QUOTE:
            at = _string_end(raw, at)
            continue
        depth += 1 if raw[at] in _OPEN else -1
        at += 1
    return at


def elements(raw: bytes, start: int) -> Iterator[Span]:
    """Yield the span of each element of the array that begins at ``start``."""
    at = _skip(raw, start + 1)
    while raw[at] not in _CLOSE:
        end = value_end(raw, at)
        yield Span(at, end)
        at = _skip(raw, end)


def members(raw: bytes, start: int) -> Iterator[tuple[str, Span]]:
    """Yield each key with its value's span, of the object that begins at ``start``."""
    at = _skip(raw, start + 1)
    while raw[at] not in _CLOSE:
        key_end = _match_end(_STRING, raw, at)
        key: str = orjson.loads(raw[at:key_end])
        at = _skip(raw, key_end)
        end = value_end(raw, at)
        yield key, Span(at, end)
        at = _skip(raw, end)


def members_and_elements(raw: bytes, start: int, name: str) -> tuple[dict[str, Span], list[Span]]:
    """Return the spans of an object's values by key, and those inside the array under ``name``.

    The array is long and is read once for both.
    """
    places: dict[str, Span] = {}
    inside: list[Span] = []
    at = _skip(raw, start + 1)
    while raw[at] not in _CLOSE:
        key_end = _match_end(_STRING, raw, at)
        key: str = orjson.loads(raw[at:key_end])
        at = _skip(raw, key_end)
        if key == name and raw[at] == _ARRAY:
            inside = list(elements(raw, at))
            end = _skip(raw, inside[-1].end if inside else at + 1) + 1
        else:
            end = value_end(raw, at)
        places[key] = Span(at, end)
        at = _skip(raw, end)
    return places, inside


def locate(raw: bytes, path: Sequence[str | int], start: int = 0) -> Span:
    """Return the span of the value at ``path``; of equal keys the last counts, as in parsers.

    Raises:
        KeyError: no value lies there.
    """
    at = _skip(raw, start)
    for step in path:
        at = _child(raw, at, step).start
    return Span(at, value_end(raw, at))


def locate_all(raw: bytes, paths: Iterable[Path]) -> dict[Path, Span]:
    """Return the span at each of many paths, each level of the text being read once for all.

    Raises:
        KeyError: no value lies at one of them.
    """
    asked = list(paths)
    wanted: dict[Step, Any] = {}
    for path in asked:
        inside = wanted
        for step in path:
            inside = inside.setdefault(step, {})
    found: dict[Path, Span] = {}
    if wanted:
        _walk(raw, _skip(raw, 0), wanted, (), found)
    return {path: found[path] for path in asked}


def splice(raw: bytes, edits: Sequence[tuple[Span, bytes]]) -> bytes:
    """Return ``raw`` with each span replaced; spans are in order and do not overlap."""
    pieces: list[bytes] = []
    at = 0
    for span, new in edits:
        pieces += (raw[at : span.start], new)
        at = span.end
    pieces.append(raw[at:])
    return b"".join(pieces)


def with_member(raw: bytes, key: str, value: bytes) -> bytes:
    """Return the object ``raw`` with ``key`` set to ``value``: in its place, or at the end."""
    start = _skip(raw, 0)
    found = [span for name, span in members(raw, start) if name == key]
    if found:
        return splice(raw, [(found[-1], value)])
    end = value_end(raw, start) - 1
    empty = raw[_skip(raw, start + 1)] in _CLOSE
    added = (b"" if empty else b",") + orjson.dumps(key) + b":" + value
    return raw[:end] + added + raw[end:]


def _walk(
    raw: bytes, at: int, wanted: dict[Step, Any], above: Path, found: dict[Path, Span]
) -> None:
    """Note in ``found`` the spans of the values that ``wanted`` names, and of those inside them."""
    listed = enumerate(elements(raw, at)) if raw[at] == _ARRAY else members(raw, at)
    spans: dict[Step, Span] = {step: span for step, span in listed if step in wanted}
    for step, inside in wanted.items():
        found[*above, step] = spans[step]
        if inside:
            _walk(raw, spans[step].start, inside, (*above, step), found)


def _child(raw: bytes, at: int, step: str | int) -> Span:
    found: Span | None = None
    if isinstance(step, int):
        for index, span in enumerate(elements(raw, at)):
            if index == step:
                return span
    else:
        for key, span in members(raw, at):
            found = span if key == step else found
    if found is None:
        raise KeyError(step)
    return found


def _string_end(raw: bytes, start: int) -> int:
    """Return where a string ends: at the next quote, which is found at memory speed.

    Only where that quote is escaped the string is read character by character.
    """
    quote = raw.find(b'"', start + 1)
    if quote > 0 and raw[quote - 1] != _BACKSLASH:
        return quote + 1
    return _match_end(_STRING, raw, start)


def _match_end(pattern: re.Pattern[bytes], raw: bytes, start: int) -> int:
    found = pattern.match(raw, start)
    if found is None:
        raise ValueError(f"no JSON value at byte {start}")
    return found.end()


def _skip(raw: bytes, at: int) -> int:
    return _match_end(_SPACE, raw, at)
