"""Every error as the client sees it: one envelope, one table of statuses, no secret in any text.

What the caller did wrong keeps its words; what the upstream said about the caller's request keeps
its status and words; what went wrong inside says only that it did. A key that stands in a message,
whoever put it there, is blacked out before the message leaves.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson
from starlette.exceptions import HTTPException

from sculptor.errors import (
    ContextError,
    FragmentNotFound,
    InvalidMessage,
    OperationNotFound,
    SculptorError,
    StaleHead,
    StoreCorrupt,
    StoreError,
    ToolError,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
)
from sculptor.server.failures import CircuitOpen, ClientKeyRefused, UpstreamUnreachable
from sculptor.server.headers import RawHeaders, is_relayed

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "server_error",
    502: "upstream_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SERVER_FAULTS = {
    503: (503, "upstream_overloaded"),
    529: (503, "upstream_overloaded"),
    504: (504, "upstream_timeout"),
}
_KEY = re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_\-*.]{6,}|\bBearer\s+[^\s\"',;]+", re.IGNORECASE)
_REDACTED = "[redacted]"
_SHORTEST_SECRET = 6


class ApiError(SculptorError):
    """An error with all that its answer needs; raised where a request is refused.

    ``details`` are further fields of the envelope's error, JSON values that hold no secret.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        type: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        self.status, self.message, self.code, self.param = status, message, code, param
        self.type = type or type_of_status(status)
        self.retry_after_s = retry_after_s
        self.headers, self.details = dict(headers or {}), dict(details or {})
        super().__init__(message)


class Redactor:
    """Blacks out keys: anything shaped like one, and the configured secrets."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(s for s in secrets if len(s) >= _SHORTEST_SECRET)

    def __call__(self, text: str) -> str:
        """Return the text with every key replaced."""
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        return _KEY.sub(_REDACTED, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """An error ready to send: a status, headers for ASGI, and the envelope as JSON."""

    status: int
    headers: RawHeaders
    body: bytes


class ErrorFormatter:
    """Turns any exception into the answer that the client gets."""

    __slots__ = ("redact",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.redact = Redactor(secrets)

    def answer(self, error: BaseException, *, request_id: str) -> ErrorAnswer:
        """Return the whole answer to a request that failed before its first byte went out."""
        told = describe(error)
        headers: RawHeaders = [
            (b"content-type", b"application/json"),
            (b"x-request-id", request_id.encode("latin-1")),
        ]
        names = {name.lower(): value for name, value in told.headers.items()}
        if told.retry_after_s is not None:
            names.setdefault("retry-after", str(max(1, round(told.retry_after_s))))
            names.setdefault("retry-after-ms", str(max(1, round(told.retry_after_s * 1000))))
        headers += [
            (n.encode("latin-1", "replace"), v.encode("latin-1", "replace"))
            for n, v in names.items()
        ]
        return ErrorAnswer(status=told.status, headers=headers, body=self._envelope(told))

    def envelope(self, error: BaseException) -> bytes:
        """Return the envelope alone, for the frame that ends a stream."""
        return self._envelope(describe(error))

    def _envelope(self, told: ApiError) -> bytes:
        error = {
            **told.details,
            "message": self.redact(told.message),
            "type": told.type,
            "param": told.param,
            "code": self.redact(told.code) if told.code is not None else None,
        }
        return orjson.dumps({"error": error})


def type_of_status(status: int) -> str:
    """Return the error type that goes with a status."""
    fallback = "invalid_request_error" if status < 500 else "server_error"
    return _TYPES.get(status, fallback)


def wrong_method(method: str, path: str, allowed: Iterable[str]) -> ApiError:
    """Return the error for a path that is served, but not to this method."""
    listed = ", ".join(sorted(allowed))
    return ApiError(
        405,
        f"{path} takes {listed}, not {method}.",
        code="method_not_allowed",
        headers={"allow": listed},
    )


def describe(error: BaseException) -> ApiError:
    """Return what the client is told about an exception."""
    match error:
        case ApiError():
            return error
        case UpstreamError():
            return _describe_upstream(error)
        case InvalidMessage():
            return ApiError(400, str(error), code="invalid_value", param=error.param)
        case FragmentNotFound():
            return ApiError(404, str(error), code="fragment_not_found")
        case OperationNotFound():
            return ApiError(404, str(error), code="operation_not_found")
        case ContextError():
            return ApiError(409, str(error), code="refused")
        case ToolError():
            return ApiError(400, error.message, code=error.code.lower())
        case StaleHead():
            return ApiError(409, str(error), code="session_busy", retry_after_s=1)
        case StoreCorrupt():
            damaged = "What is stored of this is damaged; the server's log says where."
            return ApiError(500, damaged, code="store_damaged")
        case StoreError():
            return ApiError(503, str(error), code="store_unavailable", retry_after_s=30)
        case HTTPException():
            return _describe_http(error)
    return ApiError(500, "The server failed to handle this request.", code="internal_error")


def describe_validation(problems: Iterable[Mapping[str, object]]) -> ApiError:
    """Return the error for a body that a pydantic model refused, from its ``errors()``."""
    first = next(iter(problems), {})
    if first.get("type") == "json_invalid":
        return ApiError(400, _tell_where(first), code="invalid_json")
    place = first.get("loc")
    path = place if isinstance(place, tuple | list) else ()
    names = [str(step) for step in path if step not in ("body", "query", "path")]
    if path == ("body",) and first.get("type") == "model_attributes_type":
        told = "The body must be a JSON object, sent as content-type: application/json."
        return ApiError(400, told, code="invalid_value")
    is_missing = first.get("type") == "missing"
    said = str(first.get("msg") or "is not valid").removeprefix("Value error, ")
    return ApiError(
        400,
        f"{'.'.join(names) or 'The request'}: {said}.",
        code="missing_required_parameter" if is_missing else "invalid_value",
        param=".".join(names) or None,
    )


def _tell_where(problem: Mapping[str, object]) -> str:
    place, context = problem.get("loc"), problem.get("ctx")
    at = f" (character {place[-1]})" if isinstance(place, tuple | list) and place else ""
    why = context.get("error") if isinstance(context, Mapping) else None
    return f"The body is not valid JSON: {why or 'it cannot be read'}{at}."


def _describe_http(error: HTTPException) -> ApiError:
    codes = {404: "not_found", 405: "method_not_allowed"}
    return ApiError(
        error.status_code,
        str(error.detail),
        code=codes.get(error.status_code),
        headers=dict(error.headers or {}),
    )


def _describe_upstream(error: UpstreamError) -> ApiError:
    match error:
        case UpstreamStatus():
            return _describe_status(error)
        case UpstreamTimeout():
            return ApiError(504, str(error), code="upstream_timeout")
        case CircuitOpen():
            wait = error.retry_after_s
            return ApiError(503, str(error), code="circuit_open", retry_after_s=wait)
        case UpstreamUnreachable():  # the tries are spent, so the client's own would be too
            no = {"x-should-retry": "false"}
            return ApiError(502, str(error), code="upstream_unreachable", headers=no)
    return ApiError(502, str(error), code="upstream_invalid_response")


def _describe_status(error: UpstreamStatus) -> ApiError:
    names = {name.lower(): value for name, value in error.headers.items()}
    headers = {n: v for n, v in names.items() if is_relayed(n.encode("latin-1", "replace"))}
    if error.status in (401, 403) and not isinstance(error, ClientKeyRefused):
        # The client's key is not at fault, and what was said may quote ours.
        refused = f"The upstream refused this server's credential (status {error.status})."
        return ApiError(502, refused, code="upstream_auth", headers=headers)
    said = _read_said(error.body)
    message = said.message or str(error)
    if 400 <= error.status < 500:
        return ApiError(
            error.status,
            message,
            code=said.code,
            type=said.type,
            param=said.param,
            headers=headers,
        )
    status, code = _SERVER_FAULTS.get(error.status, (502, "upstream_invalid_response"))
    return ApiError(status, message, code=code, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    message: str = ""
    type: str = ""
    param: str | None = None
    code: str | None = None


def _read_said(body: bytes) -> _Said:
    """Return what an upstream's error body says, in any of the forms that are in use."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Said()
    if not isinstance(parsed, dict):
        return _Said()
    error = parsed.get("error", parsed)
    if isinstance(error, str):
        return _Said(message=error)
    if not isinstance(error, dict):
        return _Said()
    told = error.get("message", error.get("detail"))
    kind, param, code = error.get("type"), error.get("param"), error.get("code")
    return _Said(
        message=told if isinstance(told, str) else "",
        type=kind if isinstance(kind, str) else "",
        param=param if isinstance(param, str) else None,
        code=str(code) if isinstance(code, str | int) else None,
    )
