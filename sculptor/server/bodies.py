"""Request bodies, read with a limit on what they are once unpacked.

A body that says it is too long is refused before a byte of it is read; one that turns out so, as
soon as it does. What is then no JSON object is refused with the place where it stops being one;
what only a loose reader takes for JSON is left to the upstream to judge.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Message, Receive

from sculptor.chat import JsonObject
from sculptor.server.cancellation import ClientLeft
from sculptor.server.encodings import Unpacker
from sculptor.server.envelope import ApiError

BODY_LIMIT_BYTES = 32 * 1024 * 1024
_IDLE_S = 60.0
_LONGEST_INT = 20


async def read_body(
    receive: Receive,
    headers: Mapping[str, str],
    *,
    limit_bytes: int = BODY_LIMIT_BYTES,
    idle_s: float = _IDLE_S,
) -> bytes:
    """Return the request's body, unpacked.

    ``headers`` has lower-case names. Raises ``ApiError``: 413 past the limit, 415 and 400 for the
    encoding, 408 where nothing comes for ``idle_s``; and ``ClientLeft``.
    """
    length = headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and int(length) > limit_bytes:
        raise _too_large(limit_bytes)
    encoding = headers.get("content-encoding", "").strip().lower()
    unpacker = Unpacker(encoding) if encoding and encoding != "identity" else None
    message = _check(await receive())
    if unpacker is None and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body
    collected = _Collected(limit_bytes)
    while True:
        await collected.add(message.get("body", b""), unpacker)
        if not message.get("more_body", False):
            break
        message = _check(await _receive_soon(receive, idle_s))
    if unpacker is not None:
        unpacker.close()
    return b"".join(collected.pieces)


def parse_body(body: bytes) -> JsonObject:
    """Return the JSON object in a body; raises ``ApiError`` (400) that says where it is not one."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, _tell_why(body, error), code="invalid_json") from error
    if not isinstance(parsed, dict):
        raise ApiError(400, "The body is JSON but not an object.", code="invalid_value")
    return parsed


def parse_loosely(body: bytes) -> JsonObject | None:
    """Return what a body says to a reader less strict than ours, or None where it says nothing.

    Such a reader takes a byte-order mark, escapes of half a character (``\\ud800``), numbers past
    every range and NaN. Text of the value has no half characters left.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_int=_number)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return {_whole(key): _whole(item) for key, item in value.items()}


def _number(digits: str) -> float:
    return int(digits) if len(digits) < _LONGEST_INT else float(digits)


def _whole(value: Any) -> Any:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


class _Collected:
    __slots__ = ("_limit", "pieces", "size")

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self.pieces: list[bytes] = []
        self.size = 0

    async def add(self, data: bytes, unpacker: Unpacker | None) -> None:
        if unpacker is None:
            self._keep(data)
            return
        for step, piece in enumerate(unpacker.feed(data)):
            self._keep(piece)
            if step:
                await asyncio.sleep(0)  # others get their turn while much is unpacked

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._limit:
            raise _too_large(self._limit)
        self.pieces.append(piece)


async def _receive_soon(receive: Receive, idle_s: float) -> Message:
    try:
        async with asyncio.timeout(idle_s):
            return await receive()
    except TimeoutError:
        message = f"No more of the body came for {idle_s:g} s."
        raise ApiError(408, message, code="request_timeout") from None


def _check(message: Message) -> Message:
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return message


def _too_large(limit_bytes: int) -> ApiError:
    limit = f"{limit_bytes / 1024 / 1024:g} MiB"
    return ApiError(413, f"The body is over the limit of {limit}.", code="request_too_large")


def _tell_why(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body:
        return "The body is empty; send a JSON object."
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return f"The body is not valid UTF-8 (byte {wrong.start})."
    return f"The body is not valid JSON: {error}."
