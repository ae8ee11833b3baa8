"""Choosing the policy that a prompt asks for, and keeping to a forced tool choice."""

from collections.abc import Callable, Mapping, Sequence

from sculptor.server.scripted.ancestor_search import trace_ancestors
from sculptor.server.scripted.coverage_folding import fold_for_coverage
from sculptor.server.scripted.fixed_folding import fold_all_but_the_tail
from sculptor.server.scripted.introduction import introduce
from sculptor.server.scripted.prompt import Prompt
from sculptor.server.scripted.reply import Reply, ToolCall
from sculptor.server.scripted.samples import sample_asked
from sculptor.server.scripted.setting_log import find_settings
from sculptor.server.scripted.spelled_calls import make_spelled_calls, read_steps
from sculptor.server.scripted.summary_writing import write_summaries
from sculptor.tools import toolset

Policy = Callable[[Prompt], Reply | None]

IDEAL, PAPER = "scripted", "scripted-paper"
"""The model names: the ideal policies, and the paper's fixed one for PI-LLM."""

_COMMON: Sequence[Policy] = (trace_ancestors, find_settings)
_POLICIES: Mapping[str, Sequence[Policy]] = {
    IDEAL: (write_summaries, make_spelled_calls, fold_for_coverage, *_COMMON),
    PAPER: (write_summaries, make_spelled_calls, fold_all_but_the_tail, *_COMMON),
}


def model_name(asked: str) -> str:
    """Return the scripted model that a request's model name means."""
    return PAPER if asked.rpartition("/")[2] == PAPER else IDEAL


def decide(prompt: Prompt) -> Reply:
    """Return the reply of the first policy whose prompt this is.

    Raises:
        ApiError: the request demands a shape of which no sample can be made.
    """
    forced = _forced_call(prompt) if prompt.must_call else None
    if isinstance(prompt.must_call, str) and forced is not None:
        return Reply(calls=(forced,))
    replies = (policy(prompt) for policy in _POLICIES[model_name(prompt.model)])
    reply = next((reply for reply in replies if reply is not None), None) or introduce(prompt)
    if prompt.must_call is True and not reply.calls and forced is not None:
        return Reply(calls=(forced,))
    return reply


def _forced_call(prompt: Prompt) -> ToolCall | None:
    """Return the call that a forced choice leads to where no policy wants one, if any.

    The tool named; else a tool of the client's that this turn has not called yet, so that a client
    that forces a call in every request comes to its last tool; else, as a first step, a search.
    """
    name = prompt.must_call if isinstance(prompt.must_call, str) else _some_tool(prompt)
    if name is None or name not in prompt.tools:
        return None
    for step in read_steps(prompt.question):
        for call in step.calls:
            if call.name == name:
                return call
    where = f"tools[{list(prompt.tools).index(name)}].function.parameters"
    code = "invalid_function_parameters"
    return ToolCall(name, sample_asked(prompt.tools[name], where, code=code))


def _some_tool(prompt: Prompt) -> str | None:
    ours = toolset(prompt.toolset).names if prompt.toolset else frozenset[str]()
    called = {result.name for result in prompt.results}
    theirs = (name for name in prompt.tools if name not in ours and name not in called)
    return next(theirs, None if prompt.results else "search_context")
