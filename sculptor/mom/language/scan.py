"""Bytes of text and of JSON strings, one at a time: valid UTF-8, and escapes that make sense.

Three dialects, each a table from state and byte to state: free *text*, the inside of a JSON
*string*, and that of an object's *key* that the schema does not name. Keys take no ``\\u`` and no
``\\/``, so that each key has one spelling. Lone surrogates are never escaped. State 0 stands
between two characters; a quote that closes a string is not in the tables, for it leaves it.
"""

from collections.abc import Iterable
from functools import cache
from typing import Literal

Dialect = Literal["text", "string", "key"]

QUOTE = 0x22
BACKSLASH = 0x5C
REFUSED = -1

_ONE, _TWO, _THREE, _AFTER_E0, _AFTER_ED, _AFTER_F0, _AFTER_F4 = range(1, 8)
_ESCAPE, _U4, _U3, _U2, _U1, _AFTER_D, _HIGH2, _HIGH1, _LOW, _LOW_U, _LOW_D, _LOW_C = range(8, 20)
_STATES = 20

_DIGITS = b"0123456789"
_HEX = _DIGITS + b"abcdefABCDEF"


@cache
def table(dialect: Dialect) -> tuple[tuple[int, ...], ...]:
    """Return, for each state, the state after each byte, or ``REFUSED``."""
    rows = [[REFUSED] * 256 for _ in range(_STATES)]
    _utf8(rows)
    if dialect == "text":
        _set(rows, 0, range(0x80), 0)
        return tuple(map(tuple, rows))
    _set(rows, 0, (value for value in range(0x20, 0x80) if value not in (QUOTE, BACKSLASH)), 0)
    rows[0][BACKSLASH] = _ESCAPE
    _set(rows, _ESCAPE, b'"\\bfnrt', 0)
    if dialect == "string":
        _unicode_escapes(rows)
    return tuple(map(tuple, rows))


def _set(rows: list[list[int]], state: int, values: Iterable[int], after: int) -> None:
    for value in values:
        rows[state][value] = after


def _utf8(rows: list[list[int]]) -> None:
    """The well-formed byte sequences of the Unicode Standard, table 3-7."""
    _set(rows, 0, range(0xC2, 0xE0), _ONE)
    _set(rows, 0, (*range(0xE1, 0xED), 0xEE, 0xEF), _TWO)
    _set(rows, 0, range(0xF1, 0xF4), _THREE)
    _set(rows, 0, (0xE0,), _AFTER_E0)
    _set(rows, 0, (0xED,), _AFTER_ED)
    _set(rows, 0, (0xF0,), _AFTER_F0)
    _set(rows, 0, (0xF4,), _AFTER_F4)
    _set(rows, _ONE, range(0x80, 0xC0), 0)
    _set(rows, _TWO, range(0x80, 0xC0), _ONE)
    _set(rows, _THREE, range(0x80, 0xC0), _TWO)
    _set(rows, _AFTER_E0, range(0xA0, 0xC0), _ONE)
    _set(rows, _AFTER_ED, range(0x80, 0xA0), _ONE)
    _set(rows, _AFTER_F0, range(0x90, 0xC0), _TWO)
    _set(rows, _AFTER_F4, range(0x80, 0x90), _TWO)


def _unicode_escapes(rows: list[list[int]]) -> None:
    _set(rows, _ESCAPE, b"/", 0)
    _set(rows, _ESCAPE, b"u", _U4)
    _set(rows, _U4, _HEX, _U3)
    _set(rows, _U4, b"dD", _AFTER_D)
    _set(rows, _U3, _HEX, _U2)
    _set(rows, _U2, _HEX, _U1)
    _set(rows, _U1, _HEX, 0)
    _set(rows, _AFTER_D, b"01234567", _U2)
    _set(rows, _AFTER_D, b"89abAB", _HIGH2)
    _set(rows, _HIGH2, _HEX, _HIGH1)
    _set(rows, _HIGH1, _HEX, _LOW)
    _set(rows, _LOW, b"\\", _LOW_U)
    _set(rows, _LOW_U, b"u", _LOW_D)
    _set(rows, _LOW_D, b"dD", _LOW_C)
    _set(rows, _LOW_C, b"cdefCDEF", _U2)
