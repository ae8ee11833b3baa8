"""A hostile upstream: a real server on localhost that does to us what providers have done.

Each request is answered by the next of the scripted manners (the last one stays). A manner gets
the whole exchange, sockets included, so it can cut, stall, garble or reset wherever it likes.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson

CHUNK = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 7, "model": "up"}
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"set-cookie: a=b\r\nserver: up\r\nx-ratelimit-remaining-requests: 9\r\n\r\n"
)
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


@dataclass(slots=True)
class Exchange:
    """One request, and the sockets to answer it on."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    dropped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_piece(self, data: bytes) -> None:
        """Send one HTTP chunk."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def send_end(self) -> None:
        await self.send(b"0\r\n\r\n")

    async def send_answer(
        self, status: int, body: bytes, headers: str = "content-type: application/json"
    ) -> None:
        head = f"HTTP/1.1 {status} Any\r\n{headers}\r\ncontent-length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)

    async def hang(self) -> None:
        """Do nothing until the other side leaves."""
        while await self.reader.read(4096):
            pass
        self.dropped.set()

    def reset(self) -> None:
        """Close with RST, as a crashed process would."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Manner = Callable[[Exchange], Awaitable[None]]


class HostileUpstream:
    """The server; ``exchanges`` are the requests seen, ``connections`` counts accepted sockets."""

    def __init__(self, *script: Manner) -> None:
        self.script = list(script)
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while (exchange := await _read_request(reader, writer)) is not None:
                self.exchanges.append(exchange)
                self.asked.set()
                manner = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                await manner(exchange)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Exchange | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = request.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(method, path, headers, body, reader, writer)


def frame(delta: dict[str, Any], finish: str | None = None, **top: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + orjson.dumps({**CHUNK, "choices": [choice], **top}) + b"\n\n"


DONE = b"data: [DONE]\n\n"
STOP = frame({}, "stop") + DONE
TEXT = [frame({"role": "assistant", "content": ""}), frame({"content": "Hel"})]
TEXT_END = [frame({"content": "lo 漢"}), STOP]


def stream(*pieces: bytes, end: bool = True) -> Manner:
    """Answer with these pieces of an event stream, one HTTP chunk each."""

    async def manner(exchange: Exchange) -> None:
        await exchange.send(SSE_HEAD)
        for piece in pieces:
            await exchange.send_piece(piece)
            await asyncio.sleep(0)
        if end:
            await exchange.send_end()

    return manner


def answer(status: int, body: Any, headers: str = "content-type: application/json") -> Manner:
    """Answer with a whole body."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)

    async def manner(exchange: Exchange) -> None:
        await exchange.send_answer(status, data, headers)

    return manner


def completion(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {**CHUNK, "object": "chat.completion", "choices": [choice], "usage": USAGE}


def well_behaved(text: str = "Hello 漢") -> Manner:
    """Answer as a good provider does, streamed or whole as asked."""

    async def manner(exchange: Exchange) -> None:
        if exchange.json.get("stream"):
            usage = b"data: " + orjson.dumps({**CHUNK, "choices": [], "usage": USAGE}) + b"\n\n"
            pieces = [frame({"content": letter}) for letter in text]
            await stream(TEXT[0], *pieces, frame({}, "stop"), usage, DONE)(exchange)
        else:
            await answer(200, completion({"content": text}))(exchange)

    return manner


def tool_fragments(*fragments: dict[str, Any], finish: str = "tool_calls") -> Manner:
    """Stream these entries of ``delta.tool_calls``, one a chunk."""
    frames = [frame({"tool_calls": [fragment]}) for fragment in fragments]
    return stream(TEXT[0], *frames, frame({}, finish), DONE)


async def hang_before_head(exchange: Exchange) -> None:
    await exchange.hang()


async def hang_after_head(exchange: Exchange) -> None:
    await exchange.send(SSE_HEAD)
    await exchange.hang()


async def hang_mid_stream(exchange: Exchange) -> None:
    await stream(*TEXT, end=False)(exchange)
    await exchange.hang()


async def comments_for_ever(exchange: Exchange) -> None:
    await stream(*TEXT, end=False)(exchange)
    while True:
        await exchange.send_piece(b": still here\n\n")
        await asyncio.sleep(0.02)


async def reset_at_once(exchange: Exchange) -> None:
    exchange.reset()


async def reset_mid_stream(exchange: Exchange) -> None:
    await stream(*TEXT, end=False)(exchange)
    await asyncio.sleep(0.05)
    exchange.reset()


async def close_mid_stream(exchange: Exchange) -> None:
    await stream(*TEXT, end=False)(exchange)
    exchange.writer.close()


async def garbage(exchange: Exchange) -> None:
    await exchange.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    exchange.writer.close()


async def byte_by_byte(exchange: Exchange) -> None:
    await stream(*[bytes([byte]) for byte in b"".join(TEXT + TEXT_END)])(exchange)


async def close_after_answer(exchange: Exchange) -> None:
    """Answer well and close the kept connection a moment later, without having said so."""
    await answer(200, completion({"content": "first"}))(exchange)
    exchange.reset()


def _call(name: str, arguments: str, **address: Any) -> dict[str, Any]:
    return {**address, "type": "function", "function": {"name": name, "arguments": arguments}}


def _more(arguments: str, **address: Any) -> dict[str, Any]:
    return {**address, "function": {"arguments": arguments}}


TWO_CALLS = [("call_a", "find", '{"q":1}'), ("call_b", "read", '{"p":2}')]
"""What each manner of ``TOOL_MANNERS`` means to say: id, name, arguments."""

TOOL_MANNERS: dict[str, Manner] = {
    "index missing": tool_fragments(
        _call("find", "", id="call_a"),
        _more('{"q":1}'),
        _call("read", '{"p"', id="call_b"),
        _more(":2}"),
    ),
    "index always 0": tool_fragments(
        _call("find", "", index=0, id="call_a"),
        _more('{"q":1}', index=0),
        _call("read", "", index=0, id="call_b"),
        _more('{"p":2}', index=0),
    ),
    "id repeated": tool_fragments(
        _call("find", "", index=0, id="call_a"),
        _call("find", '{"q":1}', index=0, id="call_a"),
        _call("read", '{"p"', index=1, id="call_b"),
        _call("read", ":2}", index=1, id="call_b"),
    ),
    "whole calls in one chunk": stream(
        frame(
            {
                "tool_calls": [
                    _call("find", '{"q":1}', id="call_a"),
                    _call("read", '{"p":2}', id="call_b"),
                ]
            },
            "tool_calls",
        ),
        DONE,
    ),
    "finish_reason stop": tool_fragments(
        _call("find", '{"q":1}', index=0, id="call_a"),
        _call("read", '{"p":2}', index=1, id="call_b"),
        finish="stop",
    ),
}

_WHOLE = b"".join(TEXT + TEXT_END)
_CUT = _WHOLE.index("漢".encode()) + 1

TEXT_MANNERS: dict[str, Manner] = {
    "well behaved": stream(*TEXT, *TEXT_END),
    "usage in a choice chunk": stream(
        *TEXT, frame({"content": "lo 漢"}, usage=USAGE), frame({}, "stop", usage=USAGE), DONE
    ),
    "no [DONE]": stream(*TEXT, TEXT_END[0], frame({}, "stop")),
    "no finish_reason": stream(*TEXT, TEXT_END[0], DONE),
    "CRLF": stream(*[piece.replace(b"\n", b"\r\n") for piece in TEXT + TEXT_END]),
    "CR": stream(*[piece.replace(b"\n", b"\r") for piece in TEXT + TEXT_END]),
    "comments": stream(b":\n\n", TEXT[0], b": PROCESSING\n\n:\n", TEXT[1], b":\n\n", *TEXT_END),
    "no space after data": stream(
        *[piece.replace(b"data: ", b"data:") for piece in TEXT + TEXT_END]
    ),
    "cut inside a character": stream(_WHOLE[:_CUT], _WHOLE[_CUT:]),
    "byte by byte": byte_by_byte,
    "last line without its end": stream(_WHOLE.rstrip(b"\n")),
}
"""Streams that all mean ``TEXT_SAID``."""

TEXT_SAID = "Hello 漢"

BROKEN_STREAMS: dict[str, Manner] = {
    "cut": stream(*TEXT),
    "closed": close_mid_stream,
    "reset": reset_mid_stream,
    "not JSON": stream(*TEXT, b"data: {oops\n\n"),
    "not UTF-8": stream(*TEXT, b'data: {"a":"\xff"}\n\n'),
    "error frame": stream(*TEXT, b'data: {"error":{"message":"out of memory"}}\n\n'),
    "hang": hang_mid_stream,
    "comments for ever": comments_for_ever,
}
"""Streams that begin well and never end well."""

BAD_ANSWERS: dict[str, Manner] = {
    "200 with an error body": answer(200, {"error": {"message": "no such luck"}}),
    "HTML 502": answer(502, b"<html>bad gateway</html>", "content-type: text/html"),
    "HTML 200": answer(200, b"<html>hello</html>", "content-type: text/html"),
    "empty 200": answer(200, b""),
    "not HTTP": garbage,
    "reset": reset_at_once,
    "hang": hang_before_head,
    "redirect": answer(302, b"", "location: http://127.0.0.1:1/v1"),
}
"""Answers that are none."""
