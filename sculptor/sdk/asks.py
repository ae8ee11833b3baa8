"""The requests of the management API, one function a route, for both kinds of client."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from sculptor.tools import api_answers as answers
from sculptor.tools.arguments import FullRole, Mode, Order

T = TypeVar("T")
M = TypeVar("M", bound=answers.Answer)

ExportFormat = Literal["json", "markdown"]
OperationKind = Literal["fold", "restore", "pin", "unpin", "fragment", "undo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Generic[T]):
    """One request, and how its answer is read."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    read: Callable[[bytes], T]
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None


def sessions(limit: int, offset: int) -> Ask[answers.SessionList]:
    """Ask for sessions, last used first."""
    query = {"limit": str(limit), "offset": str(offset)}
    return Ask(method="GET", path="/sessions", query=query, read=_reader(answers.SessionList))


def session(name: str) -> Ask[answers.SessionAnswer]:
    """Ask for one session."""
    return Ask(method="GET", path=session_path(name), read=_reader(answers.SessionAnswer))


def delete(name: str) -> Ask[answers.DeletedAnswer]:
    """Ask for a session to be deleted."""
    return Ask(method="DELETE", path=session_path(name), read=_reader(answers.DeletedAnswer))


def fragments(name: str, lane: str | None) -> Ask[answers.FragmentList]:
    """Ask for a lane's fragments."""
    return _of_lane(name, "fragments", lane, answers.FragmentList)


def operations(name: str, lane: str | None, limit: int) -> Ask[answers.OperationList]:
    """Ask for a lane's newest operations."""
    query = _query(lane) | {"limit": str(limit)}
    read = _reader(answers.OperationList)
    return Ask(method="GET", path=f"{session_path(name)}/operations", query=query, read=read)


def view(name: str, lane: str | None) -> Ask[answers.ViewAnswer]:
    """Ask for what a model is shown."""
    return _of_lane(name, "view", lane, answers.ViewAnswer)


def diff(name: str, lane: str | None) -> Ask[answers.DiffAnswer]:
    """Ask for what the view changes."""
    return _of_lane(name, "diff", lane, answers.DiffAnswer)


def export(name: str, format: ExportFormat) -> Ask[bytes]:
    """Ask for a whole session, written out."""
    query: dict[str, str] = {"format": format}
    return Ask(method="GET", path=f"{session_path(name)}/export", query=query, read=bytes)


def search(
    name: str,
    queries: Sequence[str],
    lane: str | None,
    *,
    mode: Mode,
    role: FullRole,
    max_results: int,
    context_size: int,
    order: Order | None,
) -> Ask[answers.SearchAnswer]:
    """Ask where texts occur in a lane's originals."""
    body = {
        "queries": list(queries),
        "mode": mode,
        "role": role,
        "max_results": max_results,
        "context_size": context_size,
        "order": order,
    }
    return Ask(
        method="POST",
        path=f"{session_path(name)}/search",
        query=_query(lane),
        body={key: item for key, item in body.items() if item is not None},
        read=_reader(answers.SearchAnswer),
    )


def operate(
    name: str,
    kind: OperationKind,
    lane: str | None,
    reason: str,
    **fields: Any,
) -> Ask[answers.OperationAnswer]:
    """Ask for an operation; fields that are None are left out."""
    body = {"kind": kind, "lane": lane, "reason": reason, **fields}
    return Ask(
        method="POST",
        path=f"{session_path(name)}/operations",
        body={key: item for key, item in body.items() if item is not None},
        read=_reader(answers.OperationAnswer),
    )


def _of_lane(name: str, what: str, lane: str | None, model: type[M]) -> Ask[M]:
    path = f"{session_path(name)}/{what}"
    return Ask(method="GET", path=path, query=_query(lane), read=_reader(model))


def session_path(name: str) -> str:
    """Return the path of a session, given by its ID or by the name that its client gave it.

    What would work in a path even when it is escaped is escaped twice.
    """
    name = name.replace("%", "%25").replace("/", "%2F")
    if name in (".", ".."):
        name = name.replace(".", "%2E")
    return f"/sessions/{quote(name, safe='')}"


def _query(lane: str | None) -> dict[str, str]:
    return {} if lane is None else {"lane": lane}


def _reader(model: type[M]) -> Callable[[bytes], M]:
    return model.model_validate_json
