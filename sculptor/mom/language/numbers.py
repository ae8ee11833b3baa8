"""JSON numbers one sign at a time: which beginnings can still become a number within its limits.

A number without limits may have an exponent, bounded so that it stays finite. One with limits is
written in decimals only, so that its first digits alone say whether it can still be reached.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

_INT_DIGITS = 19
_FRACTION_DIGITS = 24
_LARGEST_EXPONENT = 270

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)?(\.[0-9]*)?")
_FREE = re.compile(
    r"-?(?:(?:0|[1-9][0-9]{0,18})(?:\.(?:[0-9]{1,24})?)?)?"
    r"|-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,24})?[eE](?P<sign>[+-]?)(?P<exponent>[0-9]{0,3})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRange:
    """Which numbers are meant, limits included."""

    integral: bool
    low: Fraction | None = None
    high: Fraction | None = None

    @property
    def is_free(self) -> bool:
        """Whether decimals and exponents of any size are meant."""
        return not self.integral and self.low is None and self.high is None


def number_range(
    *,
    integral: bool,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> NumberRange:
    """Return the range of limits included (``low``, ``high``) or not (``above``, ``below``)."""
    lows = [_exact(value) for value in (low,) if value is not None]
    highs = [_exact(value) for value in (high,) if value is not None]
    if above is not None:
        lows.append(Fraction(math.floor(above) + 1) if integral else _after(above, math.inf))
    if below is not None:
        highs.append(Fraction(math.ceil(below) - 1) if integral else _after(below, -math.inf))
    least, most = max(lows, default=None), min(highs, default=None)
    if integral:
        least = None if least is None else Fraction(math.ceil(least))
        most = None if most is None else Fraction(math.floor(most))
    return NumberRange(integral=integral, low=least, high=most)


@lru_cache(maxsize=4096)
def can_begin(text: str, wanted: NumberRange) -> bool:
    """Whether some number meant begins with ``text``."""
    if wanted.is_free:
        found = _FREE.fullmatch(text)
        return found is not None and _is_finite(found)
    parsed = _DECIMAL.fullmatch(text)
    if parsed is None:
        return False
    sign, whole, fraction = parsed[1], parsed[2] or "", parsed[3]
    if fraction is not None and (wanted.integral or not whole):
        return False
    if len(whole) > _digits(wanted) or len(fraction or "") > _FRACTION_DIGITS + 1:
        return False
    low, high = (wanted.low, wanted.high) if not sign else (_minus(wanted.high), _minus(wanted.low))
    if sign and wanted.integral:
        low = max(Fraction(1), low) if low is not None else Fraction(1)
    return any(_meets(a, b, low, high) for a, b in _reach(whole, fraction, wanted))


@lru_cache(maxsize=4096)
def is_number(text: str, wanted: NumberRange) -> bool:
    """Whether ``text`` is one of the numbers meant."""
    if not text or not text[-1].isdigit() or not can_begin(text, wanted):
        return False
    if wanted.is_free:
        return True
    value = Fraction(text)
    above = wanted.low is None or value >= wanted.low
    return above and (wanted.high is None or value <= wanted.high)


def _is_finite(found: re.Match[str]) -> bool:
    exponent = found["exponent"]
    if not exponent or found["sign"] == "-":
        return True
    return int(exponent) <= _LARGEST_EXPONENT


def _reach(
    whole: str, fraction: str | None, wanted: NumberRange
) -> list[tuple[Fraction, Fraction]]:
    """Return the smallest and the largest size within each count of digits still to come."""
    if fraction is None and not whole:
        return [(Fraction(0), Fraction(10 ** _digits(wanted) - 1) + _tail(wanted, 0))]
    if fraction is not None:
        digits = fraction[1:]
        least = Fraction(int(whole + digits), 10 ** len(digits))
        return [(least, least + _tail(wanted, len(digits)))]
    value = int(whole)
    if value == 0:
        return [(Fraction(0), _tail(wanted, 0))]
    spare = range(_digits(wanted) - len(whole) + 1)
    return [
        (Fraction(value * 10**more), Fraction((value + 1) * 10**more - 1) + _tail(wanted, 0))
        for more in spare
    ]


def _tail(wanted: NumberRange, digits: int) -> Fraction:
    """Return the most that decimals still to come can add."""
    if wanted.integral:
        return Fraction(0)
    return Fraction(1, 10**digits) - Fraction(1, 10**_FRACTION_DIGITS)


def _meets(least: Fraction, most: Fraction, low: Fraction | None, high: Fraction | None) -> bool:
    """Whether a size that can be written lies both in reach and within the limits."""
    grid = 10**_FRACTION_DIGITS
    first: int = math.ceil((least if low is None else max(least, low)) * grid)
    last: int = math.floor((most if high is None else min(most, high)) * grid)
    return first <= last


def _digits(wanted: NumberRange) -> int:
    """Return how many digits may stand before the point."""
    sizes = [len(str(abs(int(limit)))) for limit in (wanted.low, wanted.high) if limit is not None]
    return max(_INT_DIGITS, *sizes, 0)


def _minus(value: Fraction | None) -> Fraction | None:
    return None if value is None else -value


def _exact(value: float) -> Fraction:
    """Return a limit as it is written: 0.1 is a tenth, so that "0.1" lies within it."""
    return Fraction(str(value))


def _after(value: float, toward: float) -> Fraction:
    return _exact(math.nextafter(value, toward))
