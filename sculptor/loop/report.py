"""What a client is told of a turn: one usage for its calls, and what it did and was billed.

A client decides from the prompt tokens whether to shorten its own list, so they are those of the
call that gave the visible answer; what was billed in all stands beside, call by call.
"""

from dataclasses import replace
from typing import Any

from sculptor.chat import Usage
from sculptor.context import Context
from sculptor.loop.turn import Billed, Turn


def told_usage(turn: Turn, *, is_summed: bool = False) -> Usage | None:
    """Return the prompt of the last call (``is_summed``: of all) and the completions of all.

    None where no call told its usage.
    """
    known = [billed.tokens for billed in turn.billed if billed.tokens is not None]
    if not known:
        return None
    told = replace(known[-1], completion_tokens=sum(usage.completion_tokens for usage in known))
    if not is_summed:
        return told
    return replace(
        told,
        prompt_tokens=sum(usage.prompt_tokens for usage in known),
        cached_tokens=sum(usage.cached_tokens for usage in known),
    )


def told_context(turn: Turn, context: Context) -> dict[str, Any]:
    """Return what ``x_context`` tells wherever the loop runs."""
    return {
        "version": context.version,
        "operations": context.depth,
        "steps": turn.steps,
        "view_tokens": context.tokens,
        "original_tokens": context.total_tokens,
        "billed": [_billed(row) for row in turn.billed],
    }


def _billed(row: Billed) -> dict[str, int | None]:
    tokens = row.tokens
    return {
        "prompt_tokens": tokens.prompt_tokens if tokens else None,
        "cached_tokens": tokens.cached_tokens if tokens else None,
        "completion_tokens": tokens.completion_tokens if tokens else None,
        "view_tokens": row.view_tokens,
    }
