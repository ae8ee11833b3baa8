"""Sculptor inside one's own program: a context for one's own loop, a wrapped client, an API client.

Nothing here is loaded before it is used: an ``openai`` client is needed for ``wrap`` alone, and
HTTP for ``Sculptor`` alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sculptor.sdk.context import Context
    from sculptor.sdk.management import AsyncSculptor, Sculptor
    from sculptor.sdk.wrapping import wrap

__all__ = ["AsyncSculptor", "Context", "Sculptor", "wrap"]

_HOMES = {
    "AsyncSculptor": "sculptor.sdk.management",
    "Context": "sculptor.sdk.context",
    "Sculptor": "sculptor.sdk.management",
    "wrap": "sculptor.sdk.wrapping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
