"""What a scripted policy knows: one request as its bytes say it, and nothing else.

The body is read as a provider would read it off the wire. Tools that may not be called in this
request are not there, whatever the reason; folded text is there only as the marker that stands for
it. Nothing is remembered from one request to the next.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from sculptor.server.request_rules import refusal

_LEDGER = "[context ledger, "

Toolset = Literal["full", "paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The text of one message, in the view's order."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One tool call of the present turn and its answer; ``value`` is the answer where it is JSON.

    ``step`` counts from 0 the assistant messages with calls since the newest user message.
    """

    step: int
    name: str
    arguments: Mapping[str, Any]
    text: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One request: what was said, what may be called, and how the answer must look."""

    model: str
    said: tuple[Said, ...]
    results: tuple[Result, ...]
    tools: Mapping[str, Mapping[str, Any]]
    """Argument schemas by tool name, in the order offered; empty where none may be called."""
    must_call: str | bool
    """The tool that must be called, or whether any must be."""
    parallel: bool
    response_format: Mapping[str, Any]

    @property
    def question(self) -> str:
        """The text of the newest user message."""
        return next((said.text for said in reversed(self.said) if said.role == "user"), "")

    @property
    def steps(self) -> int:
        """How often tools were called in this turn."""
        return self.results[-1].step + 1 if self.results else 0

    @property
    def toolset(self) -> Toolset | None:
        """Which of our toolsets is offered, told by the schema of its first tool."""
        known = (self.tools.get("fragment_context") or {}).get("properties")
        if not isinstance(known, dict):
            return None
        if "fold_except" in known:
            return "full"
        return "paper" if "num_fragments" in known else None

    @property
    def has_failed(self) -> bool:
        """Whether the turn's last call was refused: then it is no use to go on calling."""
        value = self.results[-1].value if self.results else None
        return isinstance(value, dict) and "error" in value

    def hits(self) -> Iterator[Mapping[str, Any]]:
        """Yield what the present turn's searches found, in the order they were made."""
        for call in self.results_of("search_context"):
            answer = call.value if isinstance(call.value, dict) else {}
            for row in answer.get("results") or [answer]:
                found = row.get("hits") if isinstance(row, dict) else None
                yield from (hit for hit in found or () if isinstance(hit, dict))

    def texts(self, role: str) -> list[str]:
        """Return what a role said, in order."""
        return [said.text for said in self.said if said.role == role]

    def results_of(self, name: str) -> list[Result]:
        """Return the present turn's calls of one tool."""
        return [result for result in self.results if result.name == name]


def read_prompt(body: Mapping[str, Any]) -> Prompt:
    """Read a request's parsed body.

    Raises:
        ApiError: a tool's parameters are no schema.
    """
    messages = [item for item in body.get("messages") or () if isinstance(item, dict)]
    choice = body.get("tool_choice")
    tools = dict(_tools(body.get("tools") or ()))
    return Prompt(
        model=str(body.get("model") or ""),
        said=tuple(Said(role=str(m.get("role")), text=text_of(m)) for m in messages),
        results=tuple(_results(messages)),
        tools={} if choice == "none" else tools,
        must_call=_forced(choice),
        parallel=body.get("parallel_tool_calls") is not False,
        response_format=body.get("response_format") or {},
    )


def text_of(message: Mapping[str, Any]) -> str:
    """Return a message's text, without the ledger that the loop adds behind it."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = [str(part.get("text") or "") for part in content or () if isinstance(part, dict)]
    return "\n".join(text for text in texts if text and not text.startswith(_LEDGER))


def _results(messages: Sequence[Mapping[str, Any]]) -> Iterator[Result]:
    newest = max((i for i, m in enumerate(messages) if m.get("role") == "user"), default=-1)
    calls: dict[str, tuple[int, Mapping[str, Any]]] = {}
    step = -1
    for message in messages[newest + 1 :]:
        if message.get("tool_calls"):
            step += 1
            calls |= {call["id"]: (step, call) for call in message["tool_calls"]}
        elif message.get("role") == "tool" and message.get("tool_call_id") in calls:
            number, call = calls[message["tool_call_id"]]
            yield _result(number, call, text_of(message))


def _result(step: int, call: Mapping[str, Any], text: str) -> Result:
    body = call.get("function") or call.get("custom") or {}
    arguments = parse_json(str(body.get("arguments") or ""))
    return Result(
        step=step,
        name=str(body.get("name")),
        arguments=arguments if isinstance(arguments, dict) else {},
        text=text,
        value=parse_json(text),
    )


def _tools(tools: Sequence[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, tool in enumerate(tools):
        body = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(body, dict) and isinstance(body.get("name"), str):
            yield body["name"], _parameters(body, f"tools[{index}].function.parameters")


def _parameters(function: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = function.get("parameters")
    if not isinstance(parameters, dict | None):
        problem = "must be a JSON schema, which is an object"
        raise refusal(where, problem, code="invalid_function_parameters")
    return parameters or {}


def _forced(choice: object) -> str | bool:
    if isinstance(choice, dict):
        body = choice.get("function")
        return str(body.get("name")) if isinstance(body, dict) else False
    return choice == "required"


def parse_json(text: str) -> Any:
    """Return the value of a JSON text, or None where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
