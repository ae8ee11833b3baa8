"""Which failures are tried again, and after how long.

Connect errors and passing statuses are tried again, at most twice, after a random wait below a
bound that doubles (full jitter, see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
The upstream's own word on how long to wait is obeyed, up to a limit; past it the error is handed
on, so that the client decides. Official SDKs retry too and attempts multiply: once our tries are
spent on what waiting does not mend, the client is told not to try again.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
TRANSIENT_STATUSES = frozenset({408, 409, 429, 503, 529})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """How often and how patiently an upstream is tried again."""

    max_retries: int = 2
    base_s: float = 0.5
    cap_s: float = 8.0
    retry_after_cap_s: float = 30.0


def compute_delay(
    settings: RetrySettings,
    *,
    attempt: int,
    headers: Mapping[str, str] | None = None,
    rng: Callable[[], float] = random.random,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> float | None:
    """Return the seconds to wait before retry number ``attempt`` (from 0), or None for no retry."""
    if attempt >= settings.max_retries:
        return None
    asked = parse_retry_after(headers, now=now) if headers is not None else None
    if asked is None:
        return rng() * min(settings.cap_s, settings.base_s * 2.0**attempt)
    return asked if asked <= settings.retry_after_cap_s else None


def parse_retry_after(
    headers: Mapping[str, str], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Return the wait in seconds that ``retry-after-ms`` or ``retry-after`` asks for, if any."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if not text:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - now()).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
