"""How errors leave the FastAPI application: as exceptions, before anything of an answer was sent.

FastAPI and Starlette each answer some errors in forms of their own, and print what they do not
know. Here every error goes up to ``Front``, which has one envelope and one line in the log for all.
"""

from typing import NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sculptor.server.envelope import ApiError, describe_validation

_SLOT = "sculptor.error"


class _KeptErrors:
    """Keeps an error in the scope, so that Starlette's outermost layer never sees it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            scope[_SLOT] = error


def keep_errors(app: FastAPI) -> None:
    """Make an application keep its errors for ``ask``."""
    app.add_middleware(_KeptErrors)
    app.add_exception_handler(HTTPException, _raise_http)
    app.add_exception_handler(RequestValidationError, _raise_validation)


async def ask(app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, request_id: str) -> None:
    """Have an application answer, the request's id on it; an error that it kept is raised here."""
    label = (b"x-request-id", request_id.encode("latin-1"))

    async def send_labelled(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], label]}
        await send(message)

    scope = dict(scope)
    await app(scope, receive, send_labelled)
    error = scope.get(_SLOT)
    if isinstance(error, Exception):
        raise error


def _raise_http(request: Request, error: Exception) -> NoReturn:
    if isinstance(error, HTTPException) and error.status_code == 404:
        raise ApiError(404, f"{request.url.path} is not served here.", code="not_found") from None
    raise error


def _raise_validation(request: Request, error: Exception) -> NoReturn:
    if not isinstance(error, RequestValidationError):
        raise error
    raise describe_validation(error.errors()) from None
