"""Which of the values that a schema names satisfy what the schema says beside them.

Only what is certain refuses a value: a limit that is none, and a pattern that RE2 cannot read, are
passed over, and so is every keyword not named here.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Protocol, cast

from sculptor.mom.language.keywords import limit_of, of_type
from sculptor.mom.language.shapes import Json

_MOST_PATTERN_CHARS = 1_000
_SIZES: tuple[tuple[type, str, str], ...] = (
    (str, "minLength", "maxLength"),
    (list, "minItems", "maxItems"),
    (dict, "minProperties", "maxProperties"),
)


class _Pattern(Protocol):
    def search(self, text: str) -> object: ...


def fitting(values: Sequence[object], schema: Json) -> list[object]:
    """Return the values of a ``const`` or an ``enum`` that the schema around it leaves."""
    pattern = _readable(schema.get("pattern"))
    typed = of_type(values, schema.get("type"))
    return [value for value in typed if _fits(value, schema, pattern)]


def _fits(value: object, schema: Json, pattern: _Pattern | None) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _fits_number(value, schema)
    for kind, low, high in _SIZES:
        if isinstance(value, kind):
            size = len(cast("Sequence[object]", value))
            if not _fits_size(size, schema, low, high):
                return False
    if isinstance(value, str):
        return pattern is None or pattern.search(value) is not None
    required = schema.get("required")
    if isinstance(value, Mapping) and isinstance(required, list):
        return all(name in value for name in required if isinstance(name, str))
    return True


def _fits_size(size: int, schema: Json, low: str, high: str) -> bool:
    least, most = limit_of(schema, low), limit_of(schema, high)
    return (least is None or size >= least) and (most is None or size <= most)


def _fits_number(value: int | float, schema: Json) -> bool:
    low, above = limit_of(schema, "minimum"), limit_of(schema, "exclusiveMinimum")
    high, below = limit_of(schema, "maximum"), limit_of(schema, "exclusiveMaximum")
    step = limit_of(schema, "multipleOf")
    return (
        (low is None or value >= low)
        and (above is None or value > above)
        and (high is None or value <= high)
        and (below is None or value < below)
        and (step is None or step <= 0 or _is_multiple(value, step))
    )


def _is_multiple(value: int | float, step: float) -> bool:
    """Whether a number is a multiple of another, both as they are written: 0.3 is one of 0.1."""
    if not (math.isfinite(value) and math.isfinite(step)):
        return True
    return (Fraction(str(value)) / Fraction(str(step))).denominator == 1


def _readable(pattern: object) -> _Pattern | None:
    """Return a pattern made ready, or None; RE2, so that no pattern takes long."""
    if not isinstance(pattern, str) or len(pattern) > _MOST_PATTERN_CHARS:
        return None
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        made: _Pattern = re2.compile(pattern, options)
    except re2.error:
        return None
    re2.purge()  # the library would keep the automata of 128 patterns, each up to 8 MiB
    return made
