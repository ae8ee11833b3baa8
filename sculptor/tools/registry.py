"""The two toolsets, and how a call of the model becomes an effect and an answer.

A call that fails changes nothing and is answered with what to do next. ``tools/*.json`` at the top
of the repository is exported from here and held against it by a test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import orjson
from pydantic import ValidationError

from sculptor.context import Context
from sculptor.errors import ContextError, ToolError
from sculptor.tools import arguments as args
from sculptor.tools.answers import explain
from sculptor.tools.fragment import full_fragment, paper_fragment
from sculptor.tools.hide import (
    full_fold,
    full_pin,
    full_restore,
    full_undo,
    paper_fold,
    paper_restore,
)
from sculptor.tools.needs import ToolAnswer, Work
from sculptor.tools.search import detail, full_search, paper_search
from sculptor.tools.summarize import full_summarize, paper_summarize

ToolsetName = Literal["paper", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool: what the model reads of it, the shape of its arguments, and its effect."""

    name: str
    description: str
    arguments: type[args.Arguments]
    effect: Callable[[Context, Any], Work]

    def definition(self) -> dict[str, Any]:
        """Return the tool as an OpenAI function definition."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.arguments.schema_of(),
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """Tools that are offered together, in a fixed order, with the same bytes every time."""

    name: ToolsetName
    tools: Mapping[str, Tool]
    wire: tuple[bytes, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names of the tools."""
        return frozenset(self.tools)

    def apply(self, context: Context, name: str, arguments: str) -> Work:
        """Do what a call asks and return the answer for the model; a wrong call changes nothing.

        Yields what the tool needs from outside (see ``tools.needs``).
        """
        tool = self.tools.get(name)
        try:
            if tool is None:
                known = sorted(self.tools)
                raise ToolError("UNKNOWN_TOOL", f"No tool is called {name!r}.", {"tools": known})
            return (yield from tool.effect(context, _read(tool, arguments)))
        except (ToolError, ContextError) as error:
            return explain(error, context)


def _read(tool: Tool, arguments: str) -> args.Arguments:
    try:
        return tool.arguments.model_validate(orjson.loads(arguments or "{}"))
    except orjson.JSONDecodeError as error:
        text = f"The arguments of {tool.name} are no JSON object: {error}."
        raise ToolError("INVALID_ARGUMENTS", text) from None
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}"
            for item in error.errors(include_url=False)[:5]
        ]
        known = sorted(tool.arguments.model_fields)
        text = f"{tool.name} takes {', '.join(known)}."
        raise ToolError("INVALID_ARGUMENTS", text, {"problems": problems}) from None


_FRAGMENT = "Cut a range of the conversation into fragments with IDs, without changing the view. "
_FOLD = "Hide fragments: a one-line marker stays, the text is kept and stays searchable. "
_SEARCH = "Search the original messages, hidden text included. "

_PAPER = (
    (
        "fragment_context",
        "Cut the range from start_marker to end_marker into addressed fragments and return their "
        "IDs, which the other tools need.",
        args.PaperFragment,
        paper_fragment,
    ),
    (
        "fold_fragment",
        "Hide a fragment. A short marker stays in its place; restore_fragment brings it back.",
        args.PaperFold,
        paper_fold,
    ),
    (
        "summarize_fragment",
        "Replace a fragment by a summary written for a focus. restore_fragment brings the "
        "original back.",
        args.PaperSummarize,
        paper_summarize,
    ),
    (
        "restore_fragment",
        "Bring back the original text of a folded or summarized fragment.",
        args.PaperRestore,
        paper_restore,
    ),
    (
        "search_context",
        "Find exact text in the conversation, hidden text included. Returns excerpts with IDs.",
        args.PaperSearch,
        paper_search,
    ),
    (
        "get_search_detail",
        "Show more text around a result of search_context.",
        args.PaperDetail,
        detail,
    ),
)

_FULL = (
    (
        "fragment_context",
        _FRAGMENT + "Call it first: IDs come from its answer. Without markers it cuts every long "
        "message of role; cover all of the text you mean to hide. Cheapest in one call with "
        "fold_except.",
        args.FullFragment,
        full_fragment,
    ),
    (
        "fold_fragment",
        _FOLD + "Fold what is stale, repeated or off topic, many in one call. The answer says what "
        "no visible text holds any more.",
        args.FullFold,
        full_fold,
    ),
    (
        "summarize_fragment",
        "Put a summary for a focus in the place of each fragment.",
        args.FullSummarize,
        full_summarize,
    ),
    (
        "restore_fragment",
        "Bring originals back into view.",
        args.FullRestore,
        full_restore,
    ),
    (
        "search_context",
        _SEARCH + "Ask all queries in one call. For a value that was updated use "
        "latest_per_query. fuzzy tolerates typos, ranked finds by words, semantic by meaning.",
        args.FullSearch,
        full_search,
    ),
    (
        "get_search_detail",
        "Show more text around a search hit.",
        args.FullDetail,
        detail,
    ),
    (
        "pin_fragment",
        "Protect fragments from folds and summaries.",
        args.FullPin,
        full_pin,
    ),
    (
        "undo",
        "Take back one of your operations.",
        args.FullUndo,
        full_undo,
    ),
)


@cache
def toolset(name: ToolsetName) -> Toolset:
    """Return a toolset by name."""
    rows = _PAPER if name == "paper" else _FULL
    tools = {
        row[0]: Tool(name=row[0], description=row[1], arguments=row[2], effect=row[3])
        for row in rows
    }
    wire = tuple(orjson.dumps(tool.definition()) for tool in tools.values())
    return Toolset(name=name, tools=tools, wire=wire)


def answer_to_text(answer: ToolAnswer) -> str:
    """Return a tool's answer as the text of its result message."""
    return orjson.dumps(answer).decode()
