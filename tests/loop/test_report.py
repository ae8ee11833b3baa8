"""What is told of a turn: the prompt of the visible answer, the completions of all its calls."""

import pytest

from sculptor.chat import Completed, Usage
from sculptor.loop import Billed, Turn, told_context, told_usage, turn_of

from .scripted import context_of, request_of, says


def turn(*spent: tuple[int, int, int] | None) -> Turn:
    """Return a turn whose calls told these tokens: of the prompt, cached, of the completion."""
    completed = says("8080")
    assert isinstance(completed, Completed)
    billed = tuple(Billed(tokens=_usage(*each) if each else None, view_tokens=7) for each in spent)
    whole = turn_of(completed)
    return Turn(answer=whole.answer, produced=whole.produced, billed=billed, steps=2)


def _usage(prompt: int, cached: int, completion: int) -> Usage:
    raw = {"prompt": prompt}
    return Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, raw=raw)


@pytest.mark.parametrize(
    ("is_summed", "expected"), [(False, (300, 200, 12)), (True, (600, 300, 12))]
)
def test_usage_of_several_calls(is_summed: bool, expected: tuple[int, int, int]) -> None:
    told = told_usage(turn((100, 0, 5), None, (200, 100, 3), (300, 200, 4)), is_summed=is_summed)
    assert told is not None
    assert (told.prompt_tokens, told.cached_tokens, told.completion_tokens) == expected
    assert told.raw == {"prompt": 300}


def test_nothing_told_is_nothing_known() -> None:
    assert told_usage(turn(None, None)) is None


def test_every_call_is_billed() -> None:
    context = context_of(request_of([{"role": "user", "content": "Hi"}]).messages)
    told = told_context(turn((100, 10, 5), None), context)
    assert told["billed"] == [
        {"prompt_tokens": 100, "cached_tokens": 10, "completion_tokens": 5, "view_tokens": 7},
        {
            "prompt_tokens": None,
            "cached_tokens": None,
            "completion_tokens": None,
            "view_tokens": 7,
        },
    ]
    assert told["steps"] == 2
    assert told["view_tokens"] == told["original_tokens"] == context.total_tokens
