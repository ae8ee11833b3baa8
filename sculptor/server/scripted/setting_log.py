"""Superseded values in tool results: the latest result that names a setting is the one that holds.

The prompt is that of the evaluation of forty turns of tool use: results show a service and some of
its settings, and the values that hold now are asked for, one ``service.setting = value`` a line.
With tools each setting's last mention is searched for, in one call where the toolset can.
"""

import re
from collections.abc import Iterator, Sequence

from sculptor.server.scripted.prompt import Prompt
from sculptor.server.scripted.reply import Reply, ToolCall

_QUESTION = re.compile(r"which value holds now for each of these settings: ([^?]+)\?")
_SHOWN = re.compile(r'"service": "(\w+)",\s+"settings": \{([^}]*)')
_VALUE = re.compile(r'"(\w+)": (\d+)(?=[,\s])')  # an excerpt may end within a number
_PAPER_RESULTS = 50
_PAPER_CONTEXT_CHARS = 200


def find_settings(prompt: Prompt) -> Reply | None:
    """Answer which values hold now, or return None for any other prompt."""
    asked = list(_QUESTION.finditer(prompt.question))
    if not asked:
        return None
    items = [item.strip() for item in asked[-1][1].split(",")]
    searches = [] if prompt.has_failed else list(_searches(prompt, items))
    if searches:
        return Reply(calls=tuple(searches if prompt.parallel else searches[:1]))
    texts = _excerpts(prompt) or prompt.texts("tool")
    values = {name: value for text in texts for name, value in _values(text)}
    lines = (f"{item} = {values[item]}" for item in items if item in values)
    return Reply(text="\n".join(lines))


def _searches(prompt: Prompt, items: Sequence[str]) -> Iterator[ToolCall]:
    """Yield the searches still to be made."""
    done = prompt.results_of("search_context")
    if prompt.toolset == "full" and not done:
        queries = [_pattern(*item.split(".", 1)) for item in items if "." in item]
        fields = {"queries": queries, "mode": "regex", "role": "tool", "context_size": 50}
        yield ToolCall("search_context", {**fields, "latest_per_query": True})
    if prompt.toolset == "paper":
        known = {call.arguments.get("query") for call in done}
        for query in dict.fromkeys(f'"{item.rpartition(".")[2]}": ' for item in items):
            if query not in known:
                limits = {"max_results": _PAPER_RESULTS, "context_size": _PAPER_CONTEXT_CHARS}
                yield ToolCall("search_context", {"query": query, "role": "all", **limits})


def _pattern(service: str, setting: str) -> str:
    return rf'"service": "{service}",\s+"settings": \{{[^}}]*"{setting}": \d+'


def _excerpts(prompt: Prompt) -> list[str]:
    """Return what the searches found, in the order of the conversation."""
    hits = sorted(prompt.hits(), key=lambda hit: (hit.get("message", 0), hit.get("char", 0)))
    return [str(hit.get("text") or "") for hit in hits]


def _values(text: str) -> Iterator[tuple[str, str]]:
    for service, settings in _SHOWN.findall(text):
        for setting, value in _VALUE.findall(settings):
            yield f"{service}.{setting}", value
