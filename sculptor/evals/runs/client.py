"""Requests to an OpenAI-compatible base URL, and what they were billed.

A request that meets 429, 5xx or a broken connection is sent again: after ``Retry-After`` where the
server says so, else after a wait that doubles. An answer of the proxy tells each upstream call in
``x_context``; another server's ``usage`` counts as one call.

The waits add up to minutes, so that a server that cannot be reached is told in the log: once, and
once more when it answers again, however many requests wait for it.
"""

import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Self

import aiohttp
import anyio
import orjson

from sculptor.errors import EvalError
from sculptor.evals.runs.cache import ReplyCache
from sculptor.evals.runs.plan import Endpoint

_MAX_WAIT_S = 120.0
_FIRST_WAIT_S = 0.5
_log = logging.getLogger("sculptor.evals")

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class RequestFailed(EvalError):
    """Raised when a request is refused for good, or fails as often as it may be sent."""


class _TryAgain(Exception):
    """A sending that failed in a way that may pass."""

    def __init__(self, words: str, wait_s: float) -> None:
        super().__init__(words)
        self.wait_s = wait_s


class _Unreachable(_TryAgain):
    """No connection could be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """One call of the model, in tokens."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answered request; ``seconds`` is from the sending that was answered."""

    text: str
    body: Mapping[str, Any]
    status: str
    session: str | None
    billed: tuple[Billed, ...]
    seconds: float
    sendings: int
    from_cache: bool = False


class ChatClient:
    """A pool of connections to one endpoint."""

    def __init__(self, endpoint: Endpoint, *, connections: int) -> None:
        root = endpoint.base_url.rstrip("/").removesuffix("/v1")
        self._chat_url, self._sessions_url = f"{root}/v1/chat/completions", f"{root}/api/sessions"
        self._endpoint = endpoint
        self._is_reached = True
        self._cache = ReplyCache(endpoint.cache) if endpoint.cache else None
        headers = {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout_s),
            headers={"content-type": "application/json", **headers},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._http.close()

    async def chat(self, body: Mapping[str, Any], *, mode: str) -> Answer:
        """Send one request until it is answered.

        Raises:
            RequestFailed: it is refused, or cannot be answered.
        """
        content = orjson.dumps(body)
        if self._cache and (found := self._cache.get(mode, content)):
            return _read_answer(found.body, found.headers, seconds=found.seconds, sendings=0)
        sendings = self._endpoint.max_retries + 1
        for sending in range(1, sendings + 1):
            started = time.perf_counter()
            try:
                data, headers = await self._send(content, mode)
            except _TryAgain as error:
                if sending == sendings:
                    raise RequestFailed(f"Sent {sendings} times in vain: {error}") from None
                wait_s = error.wait_s or _backoff_s(sending)
                if isinstance(error, _Unreachable):
                    self._tell_unreachable(error, wait_s, left=sendings - sending)
                await anyio.sleep(wait_s)
                continue
            seconds = time.perf_counter() - started
            answer = _read_answer(data, headers, seconds=seconds, sendings=sending)
            if self._cache:
                self._cache.put(mode, content, data, headers, seconds)
            return answer
        raise AssertionError("the loop returns or raises")

    async def session(self, answer: Answer) -> Mapping[str, Any]:
        """Return what the proxy has stored of an answer's session, or nothing without one."""
        if answer.session is None or "x_context" not in answer.body:
            return {}
        name = answer.session.encode()
        if self._cache and (found := self._cache.get("session", name)):
            return _json_object(found.body)
        if answer.from_cache:
            return {}
        url = f"{self._sessions_url}/{answer.session}/export"
        try:
            async with self._http.get(url) as response:
                data = await response.read()
                if response.status != 200:
                    return {}
        except (aiohttp.ClientError, TimeoutError):
            return {}
        if self._cache:
            self._cache.put("session", name, data, {}, 0.0)
        return _json_object(data)

    async def _send(self, content: bytes, mode: str) -> tuple[bytes, Mapping[str, str]]:
        """Return the answer's body and headers."""
        try:
            async with self._http.post(
                self._chat_url, data=content, headers={"x-sculptor": mode}
            ) as response:
                self._tell_reached()
                data = await response.read()
                if response.status == 200:
                    return data, _kept(response.headers)
                words = f"{response.status}: {data[:500].decode(errors='replace')}"
                if response.status not in _RETRIED:
                    raise RequestFailed(words)
                raise _TryAgain(words, retry_after_s(response.headers.get("retry-after")))
        except aiohttp.ClientConnectorError as error:
            raise _Unreachable(f"{type(error).__name__}: {error}", 0.0) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _TryAgain(f"{type(error).__name__}: {error}", 0.0) from None

    def _tell_unreachable(self, error: _Unreachable, wait_s: float, *, left: int) -> None:
        if self._is_reached:
            self._is_reached = False
            _log.warning(
                "%s cannot be reached (%s). Trying again in %.1f s; tries left: %d, each after a "
                "longer wait.",
                self._endpoint.base_url,
                error,
                wait_s,
                left,
            )

    def _tell_reached(self) -> None:
        if not self._is_reached:
            self._is_reached = True
            _log.warning("%s can be reached again.", self._endpoint.base_url)


def retry_after_s(value: str | None) -> float:
    """Return the seconds that a ``Retry-After`` header asks for: a number, or a date; else 0."""
    if not value:
        return 0.0
    try:
        return min(_MAX_WAIT_S, max(0.0, float(value)))
    except ValueError:
        pass
    try:
        return min(_MAX_WAIT_S, max(0.0, parsedate_to_datetime(value).timestamp() - time.time()))
    except (ValueError, OverflowError):
        return 0.0


def _backoff_s(sending: int) -> float:
    return min(_MAX_WAIT_S, _FIRST_WAIT_S * 2.0 ** (sending - 1)) * random.uniform(0.5, 1.0)


def _kept(headers: Mapping[str, str]) -> Mapping[str, str]:
    names = ("x-context-status", "x-session-id")
    return {name: headers[name] for name in names if name in headers}


def _read_answer(
    data: bytes, headers: Mapping[str, str], *, seconds: float, sendings: int
) -> Answer:
    try:
        body = orjson.loads(data)
        text, billed = _text(body["choices"][0]["message"].get("content")), tuple(_billed(body))
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError):
        raise RequestFailed(f"This is no chat completion: {data[:200]!r}.") from None
    return Answer(
        text=text,
        body=body,
        status=headers.get("x-context-status", ""),
        session=headers.get("x-session-id"),
        billed=billed,
        seconds=seconds,
        sendings=sendings,
        from_cache=sendings == 0,
    )


def _text(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(part.get("text") or "") for part in content)


def _billed(body: Mapping[str, Any]) -> Sequence[Billed]:
    rows = (body.get("x_context") or {}).get("billed")
    if rows:
        return [
            Billed(
                input_tokens=row.get("prompt_tokens") or row.get("view_tokens") or 0,
                cached_tokens=row.get("cached_tokens") or 0,
                output_tokens=row.get("completion_tokens") or 0,
            )
            for row in rows
        ]
    usage = body.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return [
        Billed(
            input_tokens=usage.get("prompt_tokens") or 0,
            cached_tokens=details.get("cached_tokens") or 0,
            output_tokens=usage.get("completion_tokens") or 0,
        )
    ]


def _json_object(data: bytes) -> Mapping[str, Any]:
    try:
        value: Mapping[str, Any] = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value
