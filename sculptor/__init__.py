"""Active context management for language models: reversible edits of what a model is shown.

``Context`` is for one's own loop, ``wrap`` for an ``openai`` client, ``Sculptor`` (and its twin
``AsyncSculptor``) for a server's management API. Importing this package loads none of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sculptor.sdk import AsyncSculptor, Context, Sculptor, wrap

__all__ = ["AsyncSculptor", "Context", "Sculptor", "wrap"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("sculptor.sdk"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
