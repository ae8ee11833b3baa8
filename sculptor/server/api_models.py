"""What the management API takes and gives, as its documentation shows it.

These models describe the wire and hold no rule of their own. Messages are shown as JSON values
here; on the wire they are the client's own bytes.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sculptor.state import Author, Status
from sculptor.tools.arguments import FullRole, Mode, NotEmpty, Order

OperationAsked = Literal["fold", "restore", "pin", "unpin", "fragment", "undo"]

_ON_FRAGMENTS = frozenset({"fold", "restore"})


class Answer(BaseModel):
    """The root of what the API gives."""

    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """The root of what the API takes; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SessionRow(Answer):
    """One session of a listing; times are seconds since 1970."""

    id: str
    created: float
    used: float
    messages: int = Field(description="Client messages, those of all branches.")
    operations: int
    billed_tokens: int = Field(description="Prompt and completion tokens of all upstream calls.")


class SessionList(Answer):
    """Sessions, last used first."""

    sessions: list[SessionRow]
    limit: int
    offset: int


class LaneRow(Answer):
    """One path through a session's tree and the version in force at its head."""

    id: str
    agent: str = Field(description="The agent that named it, where one did.")
    version: str
    operations: int = Field(description="Operations that lead to its version.")
    admitted: bool = Field(description="Whether the tools are offered in its requests.")
    used: float


class UsageTotals(Answer):
    """What upstream calls cost for one purpose."""

    purpose: Literal["answer", "step", "summary"]
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class SessionAnswer(Answer):
    """One session with its lanes, last used first, and what it cost."""

    id: str
    created: float
    used: float
    lanes: list[LaneRow]
    usage: list[UsageTotals]


class OfLane(Answer):
    """What names the lane and version that an answer speaks of."""

    session: str
    lane: str
    version: str


class SummaryRow(Answer):
    """A text that stands for a fragment."""

    text: str
    focus: str
    tokens: int
    model: str


class FragmentRow(Answer):
    """An addressed piece of a message; ``start`` and ``end`` are code points in its part."""

    id: str
    message: int = Field(description="Index in the conversation's list of messages.")
    role: str
    part: int
    start: int
    end: int
    tokens: int
    status: Status
    pinned_by: Author | None
    protected: str | None = Field(description="Why it may not be hidden now, if it may not.")
    summary: SummaryRow | None
    starts: str = Field(description="Its first characters.")
    ends: str = Field(description="Its last characters, where the first do not show all.")


class FragmentList(OfLane):
    """Fragments in reading order."""

    fragments: list[FragmentRow]


class ReceiptAnswer(Answer):
    """What an operation did to the view."""

    tokens_before: int
    tokens_after: int
    first_changed: int | None = Field(description="The first message of the view that changed.")
    prefix_tokens: int = Field(description="Tokens before it, which a provider's cache still has.")
    undo: str = Field(description="The operation's ID; empty where nothing was changed.")
    cost_tokens: int
    rewritten_tokens: int
    calls_to_pay_back: int | None


class OperationRow(Answer):
    """One operation as recorded."""

    id: str
    kind: str
    author: Author
    reason: str
    time: float
    version: str
    arguments: dict[str, Any]
    fragments: list[str] = Field(description="IDs of the fragments it made or changed.")
    receipt: ReceiptAnswer


class OperationList(OfLane):
    """Operations, newest first."""

    operations: list[OperationRow]


class ViewAnswer(OfLane):
    """What a model is shown."""

    tokens: int
    original_tokens: int
    unchanged: bool = Field(description="Whether it is the client's list exactly.")
    messages: list[dict[str, Any]]


class StretchRow(Answer):
    """A run of one part's text, as it came and as it is shown."""

    part: int
    kind: Literal["same", "folded", "summarized", "marked"] = Field(
        description="marked: shown whole, with brackets added around it or doubled in it."
    )
    fragment: str | None
    original: str
    rendered: str


class DiffRow(Answer):
    """One changed message, side by side."""

    index: int
    role: str
    tokens_before: int
    tokens_after: int
    original: str
    rendered: str
    stretches: list[StretchRow]


class DiffAnswer(OfLane):
    """The messages that the view changes."""

    tokens_before: int
    tokens_after: int
    messages: list[DiffRow]


class SearchAsked(Asked):
    """Several queries at once, over originals, hidden text included."""

    queries: list[NotEmpty] = Field(min_length=1, max_length=100)
    mode: Mode = "exact"
    role: FullRole = "all"
    max_results: int = Field(10, ge=1, le=50, description="Hits a query.")
    context_size: int = Field(200, ge=50, le=1000, description="Characters on each side.")
    order: Order | None = Field(
        None, description="Of the hits; without it the first, and in loose modes the best."
    )


class HitRow(Answer):
    """One place where a query was found; ``char`` is its first code point in the part."""

    id: str
    message: int
    role: str
    char: int
    text: str | None = None
    fragment: str | None = None
    hidden: Status | None = None


class QueryRow(Answer):
    """What one query found; where it found nothing, what comes nearest."""

    query: str
    total: int
    hits: list[HitRow]
    nearest: list[str] | None = None
    hint: str | None = None


class SearchAnswer(OfLane):
    """What each query found, in the order asked."""

    results: list[QueryRow]


class OperationBody(Asked):
    """What a person wants done; it is recorded with the author ``user``."""

    kind: OperationAsked
    fragment_ids: list[NotEmpty] = Field(
        [], max_length=1000, description='IDs, ranges "f1a2b3..f4c5d6", or "all".'
    )
    messages: list[int] = Field(
        [],
        max_length=1000,
        description="Message indexes, to pin, unpin or cut; negative ones count from the end.",
    )
    num_fragments: int | None = Field(None, ge=1, le=1000, description="Pieces a message.")
    size_tokens: int | None = Field(
        None, ge=1, le=1_000_000, description="Or tokens a piece (1,000 without either)."
    )
    operation: str = Field("", description="The operation to undo, as receipts name it: o3.")
    lane: str | None = Field(None, description="The lane; without it the one used last.")
    reason: str = Field("", max_length=1000, description="Kept in the record.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind in _ON_FRAGMENTS and not self.fragment_ids:
            raise ValueError(f"{self.kind} needs fragment_ids")
        if self.kind in ("pin", "unpin") and not (self.fragment_ids or self.messages):
            raise ValueError(f"{self.kind} needs fragment_ids or messages")
        if self.kind == "undo" and not self.operation:
            raise ValueError("undo needs the operation to take back, e.g. o3")
        if self.num_fragments and self.size_tokens:
            raise ValueError("give num_fragments or size_tokens, not both")
        return self


class OperationAnswer(OfLane):
    """What was done, and the fragments it made or changed."""

    operation: str = Field(description="The ID that takes it back; empty: nothing was changed.")
    fragments: list[str]
    receipt: ReceiptAnswer


class DeletedAnswer(Answer):
    """Which session was deleted."""

    id: str
    deleted: Literal[True] = True


class ErrorBody(Answer):
    """What went wrong; some errors add fields of their own, such as ``blockers``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(Answer):
    """The envelope of every error."""

    error: ErrorBody
