"""The outermost layer: every request gets an id, a caller, a place, and an answer to its errors.

The hot routes are plain ASGI; what people use (the management API and its documentation) is a
FastAPI application behind the same door.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sculptor.errors import StoreError
from sculptor.server.api_errors import ask
from sculptor.server.auth import Caller, KeyRing, OriginGuard
from sculptor.server.cancellation import ClientLeft
from sculptor.server.envelope import ApiError, ErrorFormatter
from sculptor.server.headers import clean_id, read_headers
from sculptor.server.health import StoreHealth
from sculptor.server.limits import Admission, Place
from sculptor.server.metrics import Metrics
from sculptor.server.names import new_name

log = structlog.get_logger("sculptor")

_SHORT_PATHS = ("/models", "/embeddings", "/completions", "/chat/completions")
"""Served without ``/v1`` too: many users leave it out of a base URL."""

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
"""Answered without a key, as a browser and a probe have none; they tell nothing of anyone."""


class Endpoint(Protocol):
    """A hot route."""

    def __call__(
        self,
        receive: Receive,
        send: Send,
        *,
        headers: Mapping[str, str],
        caller: Caller,
        request_id: str,
        place: Place,
    ) -> Awaitable[None]:
        """Answer one request."""
        ...


class Front:
    """An ASGI application over the hot routes, the relay of all other ``/v1`` paths, and the rest.

    ``hot`` maps (method, path without ``/v1``) to endpoints.
    """

    def __init__(
        self,
        *,
        hot: Mapping[tuple[str, str], Endpoint],
        relay: Callable[[Scope], Endpoint],
        people: ASGIApp,
        keys: KeyRing,
        guard: OriginGuard,
        admission: Admission,
        formatter: ErrorFormatter,
        metrics: Metrics,
        health: StoreHealth,
    ) -> None:
        self._hot, self._relay, self._people = hot, relay, people
        self._keys, self._guard, self._admission = keys, guard, admission
        self._formatter, self._metrics, self._health = formatter, metrics, health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._people(scope, receive, send)
            return
        request_id = new_name()
        watched = _Watched(send)
        started = time.perf_counter()
        headers = read_headers(scope["headers"])
        try:
            await self._route(scope, receive, watched, headers, request_id)
        except ClientLeft:
            watched.status = 499
        except Exception as error:
            await self._fail(error, watched, request_id, headers)
        finally:
            seconds = time.perf_counter() - started
            self._note(scope, headers, request_id, watched.status, seconds)

    async def _route(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Mapping[str, str],
        request_id: str,
    ) -> None:
        path = scope["path"]
        if path in OPEN_PATHS:
            await ask(self._people, scope, receive, send, request_id=request_id)
            return
        client = scope.get("client")
        caller = self._keys.identify(headers, client_host=client[0] if client else None)
        if self._keys.is_empty:
            # Without keys a page in the operator's browser could use the upstream's.
            self._guard.check(headers)
        short = path.removeprefix("/v1") if path.startswith("/v1/") else path
        endpoint = self._hot.get((scope["method"], short))
        if endpoint is None and (path.startswith("/v1/") or short.startswith(_SHORT_PATHS)):
            endpoint = self._relay(scope)
        if endpoint is None:
            self._guard.check(headers)
            scope.setdefault("state", {})["caller"] = caller
            await ask(self._people, scope, receive, send, request_id=request_id)
            return
        async with self._admission.enter(caller.key_id) as place:
            await endpoint(
                receive, send, headers=headers, caller=caller, request_id=request_id, place=place
            )

    async def _fail(
        self, error: Exception, send: "_Watched", request_id: str, headers: Mapping[str, str]
    ) -> None:
        if isinstance(error, StoreError):
            self._health.failed(error)
        if send.status:
            log.error("answer.broken", request_id=request_id, exc_info=error)
            return
        answer = self._formatter.answer(error, request_id=request_id)
        if answer.status == 500:
            log.error("request.failed", request_id=request_id, exc_info=error)
        elif not isinstance(error, ApiError):
            text = self._formatter.redact(str(error))
            log.info("request.refused", request_id=request_id, status=answer.status, error=text)
        length = (b"content-length", str(len(answer.body)).encode())
        start: Message = {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [*answer.headers, length],
        }
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    def _note(
        self,
        scope: Scope,
        headers: Mapping[str, str],
        request_id: str,
        status: int,
        seconds: float,
    ) -> None:
        path = scope["path"]
        self._metrics.observe(path, status, seconds)
        fields: dict[str, Any] = {"request_id": request_id, "status": status}
        theirs = clean_id(headers.get("x-client-request-id") or headers.get("x-request-id"))
        if theirs:
            fields["client_request_id"] = theirs
        log.info("request", method=scope["method"], path=path, ms=round(seconds * 1e3, 1), **fields)


class _Watched:
    """A send that remembers the status; 0 until the head went out."""

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)
