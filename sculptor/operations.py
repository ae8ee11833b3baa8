"""Operations: what may be asked, what is recorded, and what is answered.

A request says what somebody wants; an ``Operation`` records what was done, with its arguments,
author, reason, time and exact changes, summary texts included. Replaying the record needs no model
and gives the same versions, for a version's name is a digest of its parent's and of the record.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, NewType

import orjson

from sculptor.messages import digest
from sculptor.state import (
    Author,
    Change,
    EntryKey,
    FragmentId,
    Place,
    SummaryText,
    entry_from_json,
    entry_to_json,
)

VersionId = NewType("VersionId", str)
OperationId = NewType("OperationId", str)
OperationKind = Literal["fragment", "fold", "summarize", "restore", "pin", "unpin", "undo", "batch"]


class Range(NamedTuple):
    """A stretch of one part's text, in code points."""

    place: Place
    part: int
    start: int
    end: int


class Piece(NamedTuple):
    """One cut-out of a range, with its tokens."""

    start: int
    end: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Make fragments of a range: contiguous pieces that cover it."""

    range: Range
    pieces: tuple[Piece, ...]
    kind: Literal["fragment"] = "fragment"


@dataclass(frozen=True, slots=True)
class Fold:
    """Hide fragments."""

    ids: tuple[FragmentId, ...]
    kind: Literal["fold"] = "fold"


@dataclass(frozen=True, slots=True)
class Summarize:
    """Put a text in the place of each fragment."""

    texts: tuple[tuple[FragmentId, SummaryText], ...]
    kind: Literal["summarize"] = "summarize"


@dataclass(frozen=True, slots=True)
class Restore:
    """Bring originals back."""

    ids: tuple[FragmentId, ...]
    kind: Literal["restore"] = "restore"


@dataclass(frozen=True, slots=True)
class Pin:
    """Protect fragments or whole messages, or (``pinned=False``) release them."""

    ids: tuple[FragmentId, ...] = ()
    places: tuple[Place, ...] = ()
    pinned: bool = True

    @property
    def kind(self) -> Literal["pin", "unpin"]:
        """``pin`` or ``unpin``."""
        return "pin" if self.pinned else "unpin"


@dataclass(frozen=True, slots=True)
class Undo:
    """Take one operation out of force."""

    operation: OperationId
    kind: Literal["undo"] = "undo"


Request = Cut | Fold | Summarize | Restore | Pin | Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an operation answers.

    Tokens are those of the whole view. ``first_changed`` is the index, in the view, of the first
    message that changed (None: none did); ``prefix_tokens`` how many tokens before the first
    change stay as they were, so that a provider's cache of them holds. ``undo`` names the
    operation; it is empty where nothing was changed. ``cost_tokens`` were spent on summaries.
    """

    tokens_before: int
    tokens_after: int
    first_changed: int | None = None
    prefix_tokens: int = 0
    undo: str = ""
    cost_tokens: int = 0

    @property
    def rewritten_tokens(self) -> int:
        """Tokens that a provider must read anew, because the change lies before them."""
        return 0 if self.first_changed is None else self.tokens_after - self.prefix_tokens

    @property
    def calls_to_pay_back(self) -> int | None:
        """Calls after which the tokens saved outweigh those read anew; None: they never do."""
        saved = self.tokens_before - self.tokens_after
        spent = self.rewritten_tokens + self.cost_tokens
        return None if saved <= 0 else -(-spent // saved)

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as the tools and the management API show it."""
        return {
            **asdict(self),
            "rewritten_tokens": self.rewritten_tokens,
            "calls_to_pay_back": self.calls_to_pay_back,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One reversible change, as recorded; ``depth`` counts operations from the first version."""

    depth: int
    parent: VersionId
    kind: OperationKind
    arguments: dict[str, Any]
    author: Author
    reason: str
    time: float
    changes: tuple[Change, ...]
    receipt: Receipt

    @property
    def id(self) -> OperationId:
        """The short name by which it is undone, unique on its lane."""
        return operation_id(self.depth)

    @property
    def version(self) -> VersionId:
        """The name of the version it makes: a digest of its parent and of what it changed."""
        record = {
            "kind": self.kind,
            "arguments": self.arguments,
            "author": self.author,
            "reason": self.reason,
            "changes": changes_to_json(self.changes),
        }
        body = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
        return VersionId(digest(b"version", self.parent.encode(), body).hex())


FIRST_VERSION = VersionId("0" * 32)


def operation_id(depth: int) -> OperationId:
    """Return the name of the operation at ``depth``."""
    return OperationId(f"o{depth}")


def depth_of(operation: str) -> int | None:
    """Return the depth an operation's name tells, or None where it is no such name."""
    digits = operation[1:]
    is_name = operation[:1] == "o" and digits.isascii() and digits.isdecimal() and len(digits) < 10
    return int(digits) if is_name and digits[0] != "0" else None


def arguments_of(requests: Sequence[Request]) -> dict[str, Any]:
    """Return what was asked, as JSON values; several requests are a batch."""
    if len(requests) != 1:
        return {"operations": [{"kind": r.kind, **arguments_of([r])} for r in requests]}
    match requests[0]:
        case Cut(range=r, pieces=pieces):
            borders = [[piece.start, piece.end, piece.tokens] for piece in pieces]
            return {"place": _place(r.place), "part": r.part, "pieces": borders}
        case Fold(ids=ids) | Restore(ids=ids):
            return {"ids": list(ids)}
        case Summarize(texts=texts):
            return {"ids": [name for name, _ in texts], "focus": [t.focus for _, t in texts]}
        case Pin(ids=ids, places=places):
            return {"ids": list(ids), "places": [_place(place) for place in places]}
        case Undo(operation=operation):
            return {"operation": operation}


def changes_to_json(changes: Sequence[Change]) -> list[Any]:
    """Return changes as JSON values."""
    return [[key, entry_to_json(before), entry_to_json(after)] for key, before, after in changes]


def changes_from_json(value: Sequence[Any]) -> tuple[Change, ...]:
    """Read what ``changes_to_json`` wrote."""
    return tuple(
        Change(EntryKey(key), entry_from_json(before), entry_from_json(after))
        for key, before, after in value
    )


def operation_to_json(operation: Operation) -> dict[str, Any]:
    """Return the record as JSON values, receipt and changes included."""
    return {
        "depth": operation.depth,
        "parent": operation.parent,
        "kind": operation.kind,
        "arguments": operation.arguments,
        "author": operation.author,
        "reason": operation.reason,
        "time": operation.time,
        "changes": changes_to_json(operation.changes),
        "receipt": asdict(operation.receipt),
    }


def operation_from_json(value: dict[str, Any]) -> Operation:
    """Read what ``operation_to_json`` wrote."""
    changes = changes_from_json(value["changes"])
    return Operation(**{**value, "changes": changes, "receipt": Receipt(**value["receipt"])})


def _place(place: Place) -> list[Any]:
    return [place.key.hex(), place.occurrence]
