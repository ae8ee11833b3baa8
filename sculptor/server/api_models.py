"""What the management API takes, and the envelope of its errors, as its documentation shows it.

What it gives lies in ``sculptor.tools.api_answers``, which programs read too.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sculptor.tools.api_answers import Answer
from sculptor.tools.arguments import FullRole, Mode, NotEmpty, Order

OperationAsked = Literal["fold", "restore", "pin", "unpin", "fragment", "undo"]

_ON_FRAGMENTS = frozenset({"fold", "restore"})


class Asked(BaseModel):
    """The root of what the API takes; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
