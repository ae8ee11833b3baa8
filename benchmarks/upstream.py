"""A provider that answers at once: raw asyncio, so that it is never what a run waits for.

A plain answer goes out in one write; a stream in 50 chunks, one a millisecond, as a model's tokens
come one by one. Asked to fold, it answers with a tool call that cuts and hides the conversation.
"""

import asyncio
from typing import cast

import orjson
import uvloop

from benchmarks.bodies import ANSWER, FOLD_REQUEST

CHUNKS = 50
_PAUSE_S = 0.001
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n"
_BASE = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "gpt-4o"}
_USAGE = {"prompt_tokens": 250, "completion_tokens": 9, "total_tokens": 259}
_FOLD = {"num_fragments": 2, "role": "user", "fold_except": []}


def _whole(message: dict[str, object], reason: str) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    value = _BASE | {"object": "chat.completion", "choices": [choice], "usage": _USAGE}
    body = orjson.dumps(value)
    return _HEAD % (b"application/json", b"content-length: %d\r\n" % len(body)) + body


def _frame(delta: dict[str, object], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    value = _BASE | {"object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _chunked(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def _stream_frames() -> list[bytes]:
    step = -(-len(ANSWER) // (CHUNKS - 2))
    texts = [ANSWER[at : at + step] for at in range(0, len(ANSWER), step)]
    texts += [""] * (CHUNKS - 2 - len(texts))
    frames = [_frame({"role": "assistant", "content": ""}, None)]
    frames += [_frame({"content": text}, None) for text in texts]
    frames.append(_frame({}, "stop") + b"data: [DONE]\n\n")
    return [*map(_chunked, frames[:-1]), _chunked(frames[-1]) + b"0\r\n\r\n"]


def _fold_answer() -> bytes:
    arguments = orjson.dumps(_FOLD).decode()
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "fragment_context", "arguments": arguments},
    }
    return _whole({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")


class Upstream(asyncio.Protocol):
    """One connection."""

    plain = _whole({"role": "assistant", "content": ANSWER}, "stop")
    fold = _fold_answer()
    head = _HEAD % (b"text/event-stream", b"transfer-encoding: chunked\r\n")
    frames = _stream_frames()

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        # uvloop's transports do not inherit from asyncio's, so only a cast names the type.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Gather a request and answer it once it is whole."""
        self._pieces.append(data)
        if self._missing < 0:
            joined = b"".join(self._pieces)
            head, end, rest = joined.partition(b"\r\n\r\n")
            if not end:
                return
            length = next(
                (
                    line[15:]
                    for line in head.split(b"\r\n")
                    if line[:15].lower() == b"content-length:"
                ),
                b"0",
            )
            self._missing = int(length) - len(rest)
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            body = b"".join(self._pieces).partition(b"\r\n\r\n")[2]
            self._pieces, self._missing = [], -1
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if _is_asked_to_fold(body):
            self._transport.write(self.fold)
        elif b'"stream":true' in body:
            self._transport.write(self.head)
            self._send(0)
        else:
            self._transport.write(self.plain)

    def _send(self, index: int) -> None:
        if index < len(self.frames) and not self._transport.is_closing():
            self._transport.write(self.frames[index])
            asyncio.get_running_loop().call_later(_PAUSE_S, self._send, index + 1)


def _is_asked_to_fold(body: bytes) -> bool:
    """Whether the newest message asks for it; one that asked before was folded then."""
    return FOLD_REQUEST.encode() in body[body.rfind(b'{"role":') :]


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
