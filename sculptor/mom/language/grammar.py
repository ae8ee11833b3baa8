"""What the model may write next: the form of a turn, and the JSON schemas the request declares.

The choice between text and a call, which tool, and every value inside the schemas are the model's
own: a state allows each token that some well-formed turn goes on with, and no other. States and
their masks are kept, so that a token costs a look-up where its like was seen before.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from sculptor.mom.language.automaton import (
    END,
    Calls,
    Fixed,
    FreeText,
    Offer,
    Stack,
    Symbols,
    Value,
)
from sculptor.mom.language.protocol import TOOL_TOKENS
from sculptor.mom.language.schemas import Compiler
from sculptor.mom.language.shapes import Json
from sculptor.mom.language.states import Automaton, GrammarError, GrammarState
from sculptor.mom.language.template import ToolDefinition, tool_definitions
from sculptor.mom.language.tokenizer import Tokenizer
from sculptor.mom.language.vocabulary import PROTOCOL_SYMBOL, vocabulary_of

__all__ = ["Grammar", "GrammarError", "GrammarState"]

_NO_ARGUMENTS: Json = {"type": "object", "properties": {}, "additionalProperties": False}
_ANY_OBJECT: Json = {"type": "object"}


class Grammar:
    """All turns a request allows; may be used for any number of them, one thread at a time."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        tools: Sequence[Json] | None = None,
        tool_choice: object = None,
        response_format: Json | None = None,
        parallel: bool = True,
    ) -> None:
        """Compile what a request declares.

        Args:
            tokenizer: the vocabulary.
            tools: tool definitions in OpenAI's form.
            tool_choice: "auto" (default), "none", "required", or a named tool or allowed tools
                in OpenAI's form.
            response_format: in OpenAI's form; the text of a turn without calls must satisfy it.
            parallel: whether a turn may hold several calls.

        Raises:
            GrammarError: the tool choice asks for a tool that is not among the tools.
        """
        self._automaton = Automaton(vocabulary_of(tokenizer))
        must_call, chosen = _chosen(tool_choice, list(tool_definitions(tools)))
        offer = self._offer(chosen, parallel=parallel) if chosen else None
        schema = None if must_call else _format_schema(response_format)
        plain = None if schema is None else self._plain(schema)
        self._stacks = _first(offer, must_call=must_call, plain=plain)

    def start(self) -> GrammarState:
        """Return the state before the first token of a turn."""
        return self._automaton.state(self._stacks)

    def _offer(self, chosen: Sequence[ToolDefinition], *, parallel: bool) -> Offer:
        compiler = Compiler(self._automaton.nodes, atomic=True)
        tools: list[tuple[Symbols, int]] = []
        for tool in chosen:
            schema = {"type": "object", **tool.parameters} if tool.parameters else _NO_ARGUMENTS
            node = compiler.compile(schema)
            if node is None:
                node = compiler.compile(_ANY_OBJECT)
            tools.append((_name(tool.name), node or compiler.any_value))
        return Offer(tools=tuple(tools), many=parallel)

    def _plain(self, schema: Json) -> int:
        compiler = Compiler(self._automaton.nodes, atomic=False)
        node = compiler.compile(schema)
        return compiler.any_value if node is None else node


def _first(offer: Offer | None, *, must_call: bool, plain: int | None) -> frozenset[Stack]:
    """Return the stacks a turn begins with; where a call must come, it comes first.

    Text before it might go on for ever.
    """
    if must_call and offer is not None:
        return frozenset([(Calls(offer),)])
    if plain is None:
        return frozenset([(FreeText(offer),)])
    answer: Stack = (Fixed((END,)), Value(plain))
    return frozenset([answer] if offer is None else [answer, (Calls(offer),)])


def _name(name: str) -> Symbols:
    atomic = TOOL_TOKENS.get(name)
    return tuple(name.encode()) if atomic is None else (PROTOCOL_SYMBOL + atomic,)


def _chosen(choice: object, tools: list[ToolDefinition]) -> tuple[bool, list[ToolDefinition]]:
    """Return whether a call must be made, and which tools may be called."""
    if choice is None or choice == "auto":
        return False, tools
    if choice == "none":
        return False, []
    if choice == "required":
        return True, _present(tools, "tool_choice is required, but the request has no tools")
    if not isinstance(choice, Mapping):
        raise GrammarError(f"tool_choice {choice!r} is none of auto, none, required or a tool")
    fields = cast("Json", choice)
    allowed = fields.get("allowed_tools")
    if isinstance(allowed, Mapping):
        names = set(_names(cast("Json", allowed).get("tools")))
        found = [tool for tool in tools if tool.name in names]
        _present(found, "none of the allowed_tools is among the tools of the request")
        return cast("Json", allowed).get("mode") == "required", found
    wanted = next(_names([fields]), None)
    found = [tool for tool in tools if tool.name == wanted]
    return True, _present(found, f"tool_choice names {wanted!r}, which is not among the tools")


def _names(tools: object) -> Iterator[str]:
    for tool in tool_definitions(cast("Sequence[Json]", tools)):
        yield tool.name


def _present(tools: list[ToolDefinition], problem: str) -> list[ToolDefinition]:
    if not tools:
        raise GrammarError(problem)
    return tools


def _format_schema(wanted: Json | None) -> Json | None:
    """Return the schema of a response format, or None for free text."""
    kind = None if wanted is None else wanted.get("type")
    if wanted is None or kind not in ("json_object", "json_schema"):
        return None
    outer = wanted.get("json_schema")
    schema = cast("Json", outer).get("schema") if isinstance(outer, Mapping) else None
    return cast("Json", schema) if isinstance(schema, Mapping) else _ANY_OBJECT
