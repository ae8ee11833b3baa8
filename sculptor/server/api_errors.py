"""How errors leave the FastAPI application: as exceptions, before anything of an answer was sent.

FastAPI and Starlette each answer some errors in forms of their own, and print what they do not
know. Here every error goes up to ``Front``, which has one envelope and one line in the log for all.
"""

import re
from collections.abc import Mapping
from typing import NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sculptor.server.envelope import ApiError, describe_validation, wrong_method

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
    if isinstance(error, HTTPException) and error.status_code == 405:
        path = request.url.path
        allowed = _methods(request.app, path, error.headers)
        raise wrong_method(request.method, path, allowed) from None
    raise error


def _methods(app: FastAPI, path: str, headers: Mapping[str, str] | None) -> set[str]:
    """Return what a path may be asked with: of all its routes, not of the first one alone."""
    found = set(re.findall(r"\w+", (headers or {}).get("Allow", "")))
    for template, methods in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            found |= {method.upper() for method in methods}
    return found


def _raise_validation(request: Request, error: Exception) -> NoReturn:
    if not isinstance(error, RequestValidationError):
        raise error
    raise describe_validation(error.errors()) from None
