"""Calls that a user message spells out, so that a test can have any tool called.

``call weather {"city": "Oslo"} and clock {}`` makes two calls side by side; ``then`` begins the
next step, made when the results of the one before are there; ``say "One moment." call …`` puts a
text in front of the calls. When all is done the answer tells what the last tools answered. A tool
that is not offered is not called, and the answer says so.
"""

import json
import re
from collections.abc import Iterator

from sculptor.server.scripted.prompt import Prompt
from sculptor.server.scripted.reply import Reply, ToolCall

_SAY = r'(?:say\s+"([^"\n]*)"\s*)?'
_BEGIN = re.compile(rf"\s*{_SAY}call\s+")
_NAME = re.compile(r"([\w.-]+)\s*(?=\{)")
_NEXT = re.compile(rf"[\s,]*(?:and\s+|(then)\s+{_SAY})(?:call\s+)?")
_DECODER = json.JSONDecoder()


def make_spelled_calls(prompt: Prompt) -> Reply | None:
    """Make the calls of the present step, or tell their results; None where none are spelled."""
    steps = list(read_steps(prompt.question))
    if not steps:
        return None
    if not prompt.parallel:
        steps = [Reply(text=step.text, calls=(call,)) for step in steps for call in step.calls]
    if prompt.steps >= len(steps):
        return Reply(text=tell_results(prompt))
    step = steps[prompt.steps]
    offered = tuple(call for call in step.calls if call.name in prompt.tools)
    if not offered:
        return Reply(text=_not_offered(prompt, step))
    return Reply(text=step.text, calls=offered)


def read_steps(text: str) -> Iterator[Reply]:
    """Yield the steps that a message spells out: what to say, and the calls to make."""
    found = _BEGIN.match(text)
    said, calls = (found[1] or "" if found else ""), list[ToolCall]()
    while found:
        call = _read_call(text, found.end())
        if call is None:
            break
        calls.append(call[0])
        found = _NEXT.match(text, call[1])
        if found and found[1]:
            yield Reply(text=said, calls=tuple(calls))
            said, calls = found[2] or "", []
    if calls:
        yield Reply(text=said, calls=tuple(calls))


def tell_results(prompt: Prompt) -> str:
    """Return what the tools of the last step answered, a line each."""
    last = (result for result in prompt.results if result.step == prompt.steps - 1)
    return "\n".join(f"{result.name} answered: {result.text}" for result in last)


def _read_call(text: str, at: int) -> tuple[ToolCall, int] | None:
    name = _NAME.match(text, at)
    if name is None:
        return None
    try:
        arguments, end = _DECODER.raw_decode(text, name.end())
    except json.JSONDecodeError:
        return None
    return ToolCall(name[1], arguments), end


def _not_offered(prompt: Prompt, step: Reply) -> str:
    names = ", ".join(call.name for call in step.calls)
    offered = ", ".join(prompt.tools) or "none"
    return f"No tool called {names} may be called in this request; offered: {offered}."
