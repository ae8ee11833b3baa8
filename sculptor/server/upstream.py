"""The way to one upstream: a pool of connections, retries, a circuit, and limits on time.

The URL and the credential come from settings alone; no redirect is followed and no proxy is taken
from the environment. What failed before the first byte of an answer came may be tried again, what
failed after never is. A connection that the upstream had closed in the pool costs no try: the
request goes out once more on a fresh one.
"""

import asyncio
import io
import os
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import unquote

import aiohttp
from yarl import URL

from sculptor.errors import SettingsError, UpstreamBroken, UpstreamStatus, UpstreamTimeout
from sculptor.server.answer import UpstreamResponse, UpstreamTimeouts
from sculptor.server.circuit import Circuit, CircuitSettings
from sculptor.server.envelope import ApiError
from sculptor.server.failures import ClientKeyRefused, UpstreamUnreachable
from sculptor.server.headers import make_request_headers
from sculptor.server.retries import (
    RETRIED_STATUSES,
    TRANSIENT_STATUSES,
    RetrySettings,
    compute_delay,
)

_READ_BUFFER_BYTES = 64 * 1024  # aiohttp stops reading at twice this
_LARGE_BODY_BYTES = 512 * 1024  # past it a body is written in pieces, so the loop is not held
_ERROR_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """Where an upstream is and how it is treated.

    ``url`` is the base URL, as clients use it (``https://host/v1``); one without a path gets
    ``/v1``. ``relay_client_key`` sends the client's own key where there is no ``key``.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    relay_client_key: bool = False
    timeouts: UpstreamTimeouts = field(default_factory=UpstreamTimeouts)
    retries: RetrySettings = field(default_factory=RetrySettings)
    circuit: CircuitSettings = field(default_factory=CircuitSettings)
    body_limit_bytes: int = 64 * 1024 * 1024


class Upstream:
    """One upstream, for the lifetime of the server; ``close`` it in the loop that used it."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.settings = settings
        self.circuit = Circuit(settings.circuit)
        self._base = _parse_base(settings.url)
        self._urls: dict[str, URL] = {}
        self._authorization = f"Bearer {settings.key}" if settings.key else None
        self._pool: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        for session in (self._pool, self._fresh):
            if session is not None:
                await session.close()
        self._pool = self._fresh = None

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        request_id: str,
        client_headers: Mapping[str, str] | None = None,
        client_key: str | None = None,
    ) -> UpstreamResponse:
        """Send a JSON body to one of the API's own paths (``/chat/completions``).

        Returns once the head of a good answer came. Raises ``UpstreamStatus`` with the body where
        the status is an error, else another ``UpstreamError``.
        """
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self._base + path, encoded=True)
        response = await self.relay(
            "POST",
            url,
            body,
            request_id=request_id,
            client_headers=client_headers,
            client_key=client_key,
        )
        if response.status >= 400:
            raise await self._read_error(response, by_client_key=self._uses_client_key(client_key))
        return response

    async def relay(
        self,
        method: str,
        url: URL | str,
        body: bytes | None,
        *,
        request_id: str,
        client_headers: Mapping[str, str] | None = None,
        client_key: str | None = None,
    ) -> UpstreamResponse:
        """Send any request and return the answer as it came, error statuses included.

        ``url`` is a path below the base URL with its query, as the client wrote it. Raises
        ``UpstreamStatus`` for 401 and 403 only, since these speak of a credential.
        """
        if isinstance(url, str):
            url = self._url_of(url)
        client = client_headers or {}
        by_client_key = self._uses_client_key(client_key)
        headers = make_request_headers(
            client,
            request_id=request_id,
            authorization=f"Bearer {client_key}" if by_client_key else self._authorization,
            content_type=None if body is None else client.get("content-type", "application/json"),
        )
        response = await self._send_with_retries(method, url, body, headers)
        if 300 <= response.status < 400 and response.status != 304:
            response.close()
            raise UpstreamBroken("The upstream answered with a redirect, which is not followed.")
        if response.status in (401, 403):
            raise await self._read_error(response, by_client_key=by_client_key)
        return response

    def _uses_client_key(self, client_key: str | None) -> bool:
        return (
            self._authorization is None
            and self.settings.relay_client_key
            and client_key is not None
        )

    def _url_of(self, path: str) -> URL:
        # A path that climbs out of the base would reach what the operator did not offer.
        steps = unquote(path.partition("?")[0]).replace("\\", "/").split("/")
        if steps[0] or "." in steps or ".." in steps:
            raise ApiError(400, f"{path!r} is not a path of the API.", code="invalid_value")
        return URL(self._base + path, encoded=True)

    async def _send_with_retries(
        self, method: str, url: URL, body: bytes | None, headers: dict[str, str]
    ) -> UpstreamResponse:
        loop = asyncio.get_running_loop()
        started = loop.time()
        attempt = 0
        while True:
            failure: UpstreamTimeout | UpstreamUnreachable | None = None
            response: UpstreamResponse | None = None
            try:
                response = await self._attempt(method, url, body, headers, started)
            except (UpstreamUnreachable, UpstreamTimeout) as error:
                if isinstance(error, UpstreamTimeout) and error.phase != "connect":
                    raise
                failure = error
            if response is not None and response.status not in RETRIED_STATUSES:
                return response
            said = response.headers if response is not None else None
            delay = compute_delay(self.settings.retries, attempt=attempt, headers=said)
            left = self.settings.timeouts.total_s - (loop.time() - started)
            if delay is None or delay > left:
                if failure is not None:
                    raise failure
                assert response is not None
                return response
            if response is not None:
                response.close()
            attempt += 1
            await asyncio.sleep(delay)

    async def _attempt(
        self, method: str, url: URL, body: bytes | None, headers: dict[str, str], started: float
    ) -> UpstreamResponse:
        self.circuit.enter()
        is_settled = False
        try:
            raw = await self._request(method, url, body, headers)
            is_settled = True
            if raw.status >= 500 or raw.status == 429:
                self.circuit.failure()
            else:
                self.circuit.success()
        except (UpstreamBroken, UpstreamTimeout):
            is_settled = True
            self.circuit.failure()
            raise
        finally:
            if not is_settled:  # cancelled: the client left
                self.circuit.abandon()
        return UpstreamResponse(
            raw,
            timeouts=self.settings.timeouts,
            started=started,
            circuit=self.circuit,
            limit_bytes=self.settings.body_limit_bytes,
        )

    async def _request(
        self, method: str, url: URL, body: bytes | None, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """Send once; once more on a fresh connection where a pooled one turned out dead."""
        pool = self._pool
        if pool is None:
            pool = self._pool = self._open_session(is_pool=True)
        new_socket = _NewSocket()
        _request_socket.set(new_socket)
        try:
            try:
                return await pool.request(
                    method, url, data=_payload(body), headers=headers, allow_redirects=False
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if new_socket.is_made:
                    raise
            fresh = self._fresh
            if fresh is None:
                fresh = self._fresh = self._open_session(is_pool=False)
            return await fresh.request(
                method, url, data=_payload(body), headers=headers, allow_redirects=False
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamTimeout("connect", self.settings.timeouts.connect_s) from error
        except aiohttp.ClientConnectorError as error:
            raise UpstreamUnreachable(_tell_why(error)) from error
        except aiohttp.ServerTimeoutError as error:
            raise UpstreamTimeout("first byte", self.settings.timeouts.first_byte_s) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise UpstreamBroken(
                "The upstream closed the connection before it answered."
            ) from error
        except aiohttp.ClientError as error:
            raise UpstreamBroken("The upstream's answer is not HTTP.") from error

    def _open_session(self, *, is_pool: bool) -> aiohttp.ClientSession:
        timeouts = self.settings.timeouts
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # admission bounds the requests
                force_close=not is_pool,
                socket_factory=_make_socket,
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=timeouts.connect_s,
                sock_read=min(timeouts.first_byte_s, timeouts.total_s),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            trust_env=False,
        )

    async def _read_error(
        self, response: UpstreamResponse, *, by_client_key: bool
    ) -> UpstreamStatus:
        status = response.status
        headers = {name.decode(): value.decode("latin-1") for name, value in response.relayed()}
        if status in RETRIED_STATUSES and status not in TRANSIENT_STATUSES:
            headers["x-should-retry"] = "false"
        with response:
            try:
                body = await response.read(limit_bytes=_ERROR_BODY_BYTES)
            except (UpstreamBroken, UpstreamTimeout):
                body = b""  # the status says enough
        is_theirs = by_client_key and status in (401, 403)
        return (ClientKeyRefused if is_theirs else UpstreamStatus)(status, body, headers)


class _NewSocket:
    """Whether a request had to open a connection; the way to tell a pooled one apart."""

    __slots__ = ("is_made",)

    def __init__(self) -> None:
        self.is_made = False


_request_socket: ContextVar[_NewSocket] = ContextVar("_request_socket")


def _make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    _request_socket.get().is_made = True
    family, kind, protocol, _, _ = address
    return socket.socket(family=family, type=kind, proto=protocol)


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY_BYTES else body


def _parse_base(text: str) -> str:
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError(
            f"The upstream URL {text!r} is not an http(s) URL; "
            "give it as http://host:port/v1, for example."
        )
    if url.user or url.password or url.query_string or url.fragment:
        raise SettingsError(
            "The upstream URL holds a credential, query or fragment; "
            "give the key as a setting of its own."
        )
    base = str(url).rstrip("/")
    return base + "/v1" if url.path in ("", "/") else base


def _tell_why(error: aiohttp.ClientConnectorError) -> str:
    """Say why no connection was made, without the address."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        why = "its name was not found"
    elif isinstance(error, aiohttp.ClientSSLError):
        why = "its certificate or TLS was refused"
    else:
        why = os.strerror(error.errno).lower() if error.errno else "connecting failed"
    return f"No connection to the upstream could be made: {why}."
