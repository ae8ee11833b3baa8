"""How long a retry waits."""

from datetime import UTC, datetime

import pytest

from sculptor.server.retries import RetrySettings, compute_delay, parse_retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_waits_double_below_a_cap_and_end() -> None:
    settings = RetrySettings(max_retries=6)
    most = [compute_delay(settings, attempt=n, rng=lambda: 1.0) for n in range(7)]
    assert most == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, None]
    assert compute_delay(settings, attempt=3, rng=lambda: 0.25) == 1.0
    assert compute_delay(RetrySettings(), attempt=2) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:20 GMT"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:20 -0000"}, 20.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_upstreams_word(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers, now=lambda: NOW) == seconds


def test_the_upstreams_word_is_obeyed_up_to_a_limit() -> None:
    settings = RetrySettings()
    assert compute_delay(settings, attempt=0, headers={"retry-after": "30"}) == 30
    assert compute_delay(settings, attempt=0, headers={"retry-after": "30.5"}) is None
    assert compute_delay(settings, attempt=0, headers={"a": "b"}, rng=lambda: 1.0) == 0.5
