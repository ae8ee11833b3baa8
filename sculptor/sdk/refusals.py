"""What a server says went wrong, as the errors of this package, in the server's own words."""

from collections.abc import Mapping
from typing import TypeVar

import httpx
import orjson

from sculptor.errors import (
    ContextError,
    FragmentNotFound,
    InvalidMessage,
    OperationNotFound,
    SculptorError,
    SettingsError,
    StaleHead,
    StoreError,
    UndoRefused,
    UpstreamBroken,
    UpstreamStatus,
    UpstreamTimeout,
)

ErrorT = TypeVar("ErrorT", bound=SculptorError)


def refusal(response: httpx.Response) -> SculptorError:
    """Return the error that an answer with an error status means."""
    told = _told(response.content)
    message = str(told.get("message") or f"The server answered {response.status_code}.")
    code, param = told.get("code"), told.get("param")
    match code, response.status_code:
        case "fragment_not_found", _:
            return _made(FragmentNotFound, message, fragment_id="", known=())
        case "operation_not_found", _:
            return _made(OperationNotFound, message, operation_id="")
        case "undo_refused", _:
            blockers = told.get("blockers")
            names = tuple(map(str, blockers)) if isinstance(blockers, list) else ()
            return _made(UndoRefused, message, operation_id="", blockers=names)
        case "session_busy", _:
            return _made(StaleHead, message, lane_id="")
        case "store_unavailable", _:
            return StoreError(message)
        case _, 400 | 413 | 422:
            return InvalidMessage(message, param if isinstance(param, str) else None)
        case _, 401 | 403:
            return SettingsError(message)
        case _, 404 | 409:
            return ContextError(message)
        case _, status:
            fields = {"status": status, "body": response.content}
            return _made(UpstreamStatus, message, **fields, headers=dict(response.headers))


def unreachable(error: httpx.HTTPError, base_url: str, timeout_s: float) -> SculptorError:
    """Return the error that a failed connection means."""
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout(base_url, timeout_s)
    return UpstreamBroken(
        f"No answer from {base_url} ({error}). Is the server running there (sculptor serve)?"
    )


def _told(body: bytes) -> Mapping[str, object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def _made(kind: type[ErrorT], message: str, **fields: object) -> ErrorT:
    """Return an error of a kind that would make its text from its fields, with another text."""
    error = kind.__new__(kind, message)
    for name, value in fields.items():
        setattr(error, name, value)
    return error
