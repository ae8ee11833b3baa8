"""An OpenAI-compatible server on localhost that answers what a test says, and remembers."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

Body = dict[str, Any]
Reply = Body | bytes | tuple[int, Body]
Answering = Callable[[Body], Reply]
USAGE = {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57}


def said(text: str | None, *calls: Body, finish: str | None = None, **fields: Any) -> Body:
    """Return a message with how its answer ends."""
    message: Body = {"role": "assistant", "content": text, **fields}
    if calls:
        message["tool_calls"] = list(calls)
    return {"message": message, "finish": finish or ("tool_calls" if calls else "stop")}


def call(name: str, call_id: str = "call_up", **arguments: Any) -> Body:
    """Return one tool call."""
    function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
    return {"id": call_id, "type": "function", "function": function}


class Stub:
    """Answers with the next of ``replies``; the last goes on for ever."""

    def __init__(self, *replies: Reply | Answering) -> None:
        self._replies = list(replies)
        self.bodies: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.gone = threading.Event()
        self.url = ""

    def next(self, body: Body) -> Reply:
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        return reply(body) if callable(reply) else reply

    def embed(self, body: Body) -> Body:
        """Return a vector for each text, in another order, or one too few for a model so named."""
        texts = body["input"] if body["model"] != "forgetful" else body["input"][1:]
        rows = [
            {"index": at, "embedding": [float("port" in text), 1.0], "object": "embedding"}
            for at, text in enumerate(texts)
        ]
        return {"object": "list", "model": body["model"], "data": rows[::-1], "usage": USAGE}

    def tools(self, index: int = -1) -> list[str]:
        """Return the names of the tools of one request."""
        return [tool["function"]["name"] for tool in self.bodies[index].get("tools") or ()]


@contextmanager
def serving(*replies: Reply | Answering) -> Iterator[Stub]:
    """Serve replies until the block ends."""
    stub = Stub(*replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            stub.bodies.append(body)
            stub.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.path.endswith("/embeddings"):
                self._send(200, "application/json", orjson.dumps(stub.embed(body)))
                return
            reply = stub.next(body)
            if isinstance(reply, tuple):
                self._send(reply[0], "application/json", orjson.dumps(reply[1]))
            elif isinstance(reply, bytes):
                self._send(200, "application/json", reply)
            elif body.get("stream"):
                self._stream(body, reply)
            else:
                self._send(200, "application/json", orjson.dumps(whole(body, reply)))

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.send_header("x-should-retry", "false")
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, body: Body, reply: Body) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                for frame in frames(body, reply):
                    self.wfile.write(frame)
                    if reply.get("slow"):
                        time.sleep(0.02)
            except OSError:
                stub.gone.set()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def whole(body: Body, reply: Body) -> Body:
    """Return an answer in one body, with as many choices as were asked for."""
    choices = [
        {"index": index, "message": reply["message"], "finish_reason": reply["finish"]}
        for index in range(body.get("n") or 1)
    ]
    head = {"id": "up-1", "object": "chat.completion", "created": 7, "model": "up-model"}
    return {**head, "choices": choices, "usage": USAGE, "system_fingerprint": "fp_1"}


def frames(body: Body, reply: Body) -> Iterator[bytes]:
    """Yield the events of a streamed answer."""
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 7, "model": "up-model"}

    def frame(delta: Body, finish: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return b"data: " + orjson.dumps({**head, "choices": choices}) + b"\n\n"

    message = reply["message"]
    yield frame({"role": "assistant", "content": ""})
    words = (message["content"] or "").split(" ")
    for index, word in enumerate(words):
        yield frame({"content": word if index == 0 else f" {word}"})
    for index, made in enumerate(message.get("tool_calls") or ()):
        begun = {**made, "function": {**made["function"], "arguments": ""}}
        yield frame({"tool_calls": [{"index": index, **begun}]})
        arguments = {"arguments": made["function"]["arguments"]}
        yield frame({"tool_calls": [{"index": index, "function": arguments}]})
    if reply.get("cut"):
        return
    yield frame({}, reply["finish"])
    if (body.get("stream_options") or {}).get("include_usage"):
        yield b"data: " + orjson.dumps({**head, "choices": [], "usage": USAGE}) + b"\n\n"
    yield b"data: [DONE]\n\n"
