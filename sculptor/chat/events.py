"""What a chat completion is made of, whoever sent it and in whatever form.

A streamed answer is a list of deltas that ends in one ``Completed``; an answer that came whole is
that ``Completed`` alone. Fields we do not know are carried as they came, so that a client reads
from us what it would have read from the provider.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

JsonObject = dict[str, Any]
"""A parsed JSON object of the wire."""

CallKind = Literal["function", "custom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """A piece of the answer's text, with what stood beside it on the choice (``logprobs``, ...)."""

    text: str
    choice: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of one tool call; ``id`` and ``name`` come once, with the first piece of an index.

    ``arguments`` is the input text where ``kind`` is ``custom``.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    kind: CallKind = "function"
    fields: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraDelta:
    """Delta fields of other kinds (reasoning, refusal, audio, ...), and choice fields, verbatim.

    ``answer`` holds top-level fields that are new or changed; they stay in force from here on.
    """

    fields: JsonObject
    choice: JsonObject | None = None
    answer: JsonObject | None = None


Delta = TextDelta | ToolCallDelta | ExtraDelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one model call cost in tokens; ``raw`` is the provider's own object."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    raw: JsonObject = field(default_factory=dict)

    def to_wire(self) -> JsonObject:
        """Return the wire object: the provider's details with our three sums in force."""
        wire = dict(self.raw)
        wire["prompt_tokens"] = self.prompt_tokens
        wire["completion_tokens"] = self.completion_tokens
        wire["total_tokens"] = self.prompt_tokens + self.completion_tokens
        details = wire.get("prompt_tokens_details")
        wire["prompt_tokens_details"] = {
            **(details if isinstance(details, dict) else {}),
            "cached_tokens": self.cached_tokens,
        }
        return wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A whole answer: the assistant message as wire JSON, and how and by what it was made.

    ``choice`` holds the choice's other fields (``logprobs``, ``content_filter_results``),
    ``fields`` the answer's other top-level fields (``system_fingerprint``, ``service_tier``).
    """

    message: JsonObject
    finish_reason: str
    usage: Usage | None = None
    model: str = ""
    id: str = ""
    created: int = 0
    choice: JsonObject = field(default_factory=dict)
    fields: JsonObject = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of the answer; empty if there is none."""
        content = self.message.get("content")
        if isinstance(content, list):
            return "".join(
                str(part.get("text") or "") for part in content if isinstance(part, dict)
            )
        return content if isinstance(content, str) else ""

    @property
    def tool_calls(self) -> list[JsonObject]:
        """The tool calls of the answer, as wire JSON."""
        calls: list[JsonObject] = self.message.get("tool_calls") or []
        return calls


def read_usage(raw: object) -> Usage | None:
    """Return the usage a provider reported, or None where it is no such object."""
    if not isinstance(raw, dict) or not raw:
        return None
    details = raw.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if cached is None:  # two providers report it elsewhere
        cached = raw.get("prompt_cache_hit_tokens", raw.get("cached_tokens"))
    return Usage(
        prompt_tokens=_count(raw.get("prompt_tokens")),
        completion_tokens=_count(raw.get("completion_tokens")),
        cached_tokens=_count(cached),
        raw=raw,
    )


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0
