"""What the management API answers, as values: a server gives them, programs read them.

These models describe the wire and hold no rule of their own. Messages are shown as JSON values
here; on the wire they are the client's own bytes. Fields that a newer server adds are left out, so
that an older program goes on working.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sculptor.state import Author, Status


class Answer(BaseModel):
    """The root of all answers."""

    model_config = ConfigDict(frozen=True)


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


class OperationAnswer(OfLane):
    """What was done, and the fragments it made or changed."""

    operation: str = Field(description="The ID that takes it back; empty: nothing was changed.")
    fragments: list[str]
    receipt: ReceiptAnswer


class DeletedAnswer(Answer):
    """Which session was deleted."""

    id: str
    deleted: Literal[True] = True
