"""Clients of a server's management API: ``Sculptor`` waits, ``AsyncSculptor`` awaits.

Both have the same methods. What the server refuses is raised as an error of ``sculptor.errors``
with the server's words; what it does is recorded there with the author ``user``.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import ValidationError

from sculptor.errors import SettingsError, UpstreamBroken
from sculptor.sdk import asks
from sculptor.sdk.asks import Ask, ExportFormat
from sculptor.sdk.refusals import refusal, unreachable
from sculptor.tools.api_answers import (
    DiffAnswer,
    FragmentRow,
    OperationAnswer,
    OperationRow,
    QueryRow,
    SessionAnswer,
    SessionRow,
    ViewAnswer,
)
from sculptor.tools.arguments import FullRole, Mode, Order

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8484"


class _Settings:
    """Where the server is, and how it is spoken to."""

    def __init__(self, base_url: str, key: str | None, timeout_s: float) -> None:
        self.base_url = base_url.rstrip("/").removesuffix("/v1").removesuffix("/api")
        if not self.base_url.startswith(("http://", "https://")):
            raise SettingsError(f"The server's address {base_url!r} must begin with http(s)://.")
        self.timeout_s = timeout_s
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.options: dict[str, Any] = {
            "base_url": f"{self.base_url}/api",
            "headers": headers,
            "timeout": timeout_s,
            "trust_env": False,
        }

    def read(self, ask: Ask[T], response: httpx.Response) -> T:
        """Return what was asked for, or raise what the server said."""
        if response.status_code >= 300:
            raise refusal(response)
        try:
            return ask.read(response.content)
        except ValidationError as error:
            place = f"{self.base_url}/api{ask.path}"
            raise UpstreamBroken(f"{place} answers as no Sculptor server does: {error}") from error


class Sculptor:
    """A client that waits. ``key`` is a client key of the server; ``lane`` None is the last used.

    Sessions are named by ID, or as their client named them (``x-session-id``); fragments by ID,
    range (``f1a2b3..f4c5d6``) or ``all``.
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, *, key: str | None = None, timeout_s: float = 30.0
    ) -> None:
        self._settings = _Settings(base_url, key, timeout_s)
        self._http = httpx.Client(**self._settings.options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def sessions(self, *, limit: int = 100, offset: int = 0) -> list[SessionRow]:
        """Return sessions, last used first."""
        return self._send(asks.sessions(limit, offset)).sessions

    def session(self, session: str) -> SessionAnswer:
        """Return one session with its lanes and what it cost."""
        return self._send(asks.session(session))

    def delete(self, session: str) -> None:
        """Delete a session with all that only it uses; this cannot be undone."""
        self._send(asks.delete(session))

    def fragments(self, session: str, *, lane: str | None = None) -> list[FragmentRow]:
        """Return a lane's fragments, in reading order."""
        return self._send(asks.fragments(session, lane)).fragments

    def operations(
        self, session: str, *, lane: str | None = None, limit: int = 1_000
    ) -> list[OperationRow]:
        """Return a lane's newest operations, newest first."""
        return self._send(asks.operations(session, lane, limit)).operations

    def view(self, session: str, *, lane: str | None = None) -> ViewAnswer:
        """Return what a model is shown."""
        return self._send(asks.view(session, lane))

    def diff(self, session: str, *, lane: str | None = None) -> DiffAnswer:
        """Return the messages that the view changes, side by side."""
        return self._send(asks.diff(session, lane))

    def export(self, session: str, *, format: ExportFormat = "json") -> bytes:
        """Return a whole session, all lanes, as JSON or Markdown."""
        return self._send(asks.export(session, format))

    def search(
        self,
        session: str,
        *queries: str,
        lane: str | None = None,
        mode: Mode = "exact",
        role: FullRole = "all",
        max_results: int = 10,
        context_size: int = 200,
        order: Order | None = None,
    ) -> list[QueryRow]:
        """Search a lane's originals, hidden text included; one row a query."""
        ask = asks.search(
            session,
            queries,
            lane,
            mode=mode,
            role=role,
            max_results=max_results,
            context_size=context_size,
            order=order,
        )
        return self._send(ask).results

    def fold(
        self, session: str, *fragments: str, lane: str | None = None, reason: str = ""
    ) -> OperationAnswer:
        """Hide fragments."""
        return self._send(asks.operate(session, "fold", lane, reason, fragment_ids=fragments))

    def restore(
        self, session: str, *fragments: str, lane: str | None = None, reason: str = ""
    ) -> OperationAnswer:
        """Bring originals back."""
        return self._send(asks.operate(session, "restore", lane, reason, fragment_ids=fragments))

    def pin(
        self,
        session: str,
        *fragments: str,
        messages: Sequence[int] = (),
        lane: str | None = None,
        reason: str = "",
    ) -> OperationAnswer:
        """Protect fragments and whole messages."""
        fields = {"fragment_ids": fragments, "messages": messages}
        return self._send(asks.operate(session, "pin", lane, reason, **fields))

    def unpin(
        self,
        session: str,
        *fragments: str,
        messages: Sequence[int] = (),
        lane: str | None = None,
        reason: str = "",
    ) -> OperationAnswer:
        """Release fragments and whole messages."""
        fields = {"fragment_ids": fragments, "messages": messages}
        return self._send(asks.operate(session, "unpin", lane, reason, **fields))

    def fragment(
        self,
        session: str,
        *messages: int,
        num_fragments: int | None = None,
        size_tokens: int | None = None,
        lane: str | None = None,
        reason: str = "",
    ) -> OperationAnswer:
        """Cut messages, or without any all long ones, into fragments."""
        fields = {
            "messages": messages,
            "num_fragments": num_fragments,
            "size_tokens": size_tokens,
        }
        return self._send(asks.operate(session, "fragment", lane, reason, **fields))

    def undo(
        self, session: str, operation: str, *, lane: str | None = None, reason: str = ""
    ) -> OperationAnswer:
        """Take one operation out of force."""
        return self._send(asks.operate(session, "undo", lane, reason, operation=operation))

    def _send(self, ask: Ask[T]) -> T:
        try:
            response = self._http.request(
                ask.method, ask.path, params=ask.query, json=ask.body, follow_redirects=False
            )
        except httpx.HTTPError as error:
            settings = self._settings
            raise unreachable(error, settings.base_url, settings.timeout_s) from error
        return self._settings.read(ask, response)


class AsyncSculptor:
    """A client that awaits; otherwise the twin of ``Sculptor``."""

    def __init__(
        self, base_url: str = DEFAULT_URL, *, key: str | None = None, timeout_s: float = 30.0
    ) -> None:
        self._settings = _Settings(base_url, key, timeout_s)
        self._http = httpx.AsyncClient(**self._settings.options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def sessions(self, *, limit: int = 100, offset: int = 0) -> list[SessionRow]:
        """Return sessions, last used first."""
        return (await self._send(asks.sessions(limit, offset))).sessions

    async def session(self, session: str) -> SessionAnswer:
        """Return one session with its lanes and what it cost."""
        return await self._send(asks.session(session))

    async def delete(self, session: str) -> None:
        """Delete a session with all that only it uses; this cannot be undone."""
        await self._send(asks.delete(session))

    async def fragments(self, session: str, *, lane: str | None = None) -> list[FragmentRow]:
        """Return a lane's fragments, in reading order."""
        return (await self._send(asks.fragments(session, lane))).fragments

    async def operations(
        self, session: str, *, lane: str | None = None, limit: int = 1_000
    ) -> list[OperationRow]:
        """Return a lane's newest operations, newest first."""
        return (await self._send(asks.operations(session, lane, limit))).operations

    async def view(self, session: str, *, lane: str | None = None) -> ViewAnswer:
        """Return what a model is shown."""
        return await self._send(asks.view(session, lane))

    async def diff(self, session: str, *, lane: str | None = None) -> DiffAnswer:
        """Return the messages that the view changes, side by side."""
        return await self._send(asks.diff(session, lane))

    async def export(self, session: str, *, format: ExportFormat = "json") -> bytes:
        """Return a whole session, all lanes, as JSON or Markdown."""
        return await self._send(asks.export(session, format))

    async def search(
        self,
        session: str,
        *queries: str,
        lane: str | None = None,
        mode: Mode = "exact",
        role: FullRole = "all",
        max_results: int = 10,
        context_size: int = 200,
        order: Order | None = None,
    ) -> list[QueryRow]:
        """Search a lane's originals, hidden text included; one row a query."""
        ask = asks.search(
            session,
            queries,
            lane,
            mode=mode,
            role=role,
            max_results=max_results,
            context_size=context_size,
            order=order,
        )
        return (await self._send(ask)).results

    async def fold(
        self, session: str, *fragments: str, lane: str | None = None, reason: str = ""
    ) -> OperationAnswer:
        """Hide fragments."""
        return await self._send(asks.operate(session, "fold", lane, reason, fragment_ids=fragments))

    async def restore(
        self, session: str, *fragments: str, lane: str | None = None, reason: str = ""
    ) -> OperationAnswer:
        """Bring originals back."""
        return await self._send(
            asks.operate(session, "restore", lane, reason, fragment_ids=fragments)
        )

    async def pin(
        self,
        session: str,
        *fragments: str,
        messages: Sequence[int] = (),
        lane: str | None = None,
        reason: str = "",
    ) -> OperationAnswer:
        """Protect fragments and whole messages."""
        fields = {"fragment_ids": fragments, "messages": messages}
        return await self._send(asks.operate(session, "pin", lane, reason, **fields))

    async def unpin(
        self,
        session: str,
        *fragments: str,
        messages: Sequence[int] = (),
        lane: str | None = None,
        reason: str = "",
    ) -> OperationAnswer:
        """Release fragments and whole messages."""
        fields = {"fragment_ids": fragments, "messages": messages}
        return await self._send(asks.operate(session, "unpin", lane, reason, **fields))

    async def fragment(
        self,
        session: str,
        *messages: int,
        num_fragments: int | None = None,
        size_tokens: int | None = None,
        lane: str | None = None,
        reason: str = "",
    ) -> OperationAnswer:
        """Cut messages, or without any all long ones, into fragments."""
        fields = {
            "messages": messages,
            "num_fragments": num_fragments,
            "size_tokens": size_tokens,
        }
        return await self._send(asks.operate(session, "fragment", lane, reason, **fields))

    async def undo(
        self, session: str, operation: str, *, lane: str | None = None, reason: str = ""
    ) -> OperationAnswer:
        """Take one operation out of force."""
        return await self._send(asks.operate(session, "undo", lane, reason, operation=operation))

    async def _send(self, ask: Ask[T]) -> T:
        try:
            response = await self._http.request(
                ask.method, ask.path, params=ask.query, json=ask.body, follow_redirects=False
            )
        except httpx.HTTPError as error:
            settings = self._settings
            raise unreachable(error, settings.base_url, settings.timeout_s) from error
        return self._settings.read(ask, response)
