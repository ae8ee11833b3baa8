"""A chat completions server on localhost that answers by a function and counts what it is sent."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Reply = tuple[int, Mapping[str, str], bytes]


def say(text: str, **usage: int) -> Reply:
    message = {"role": "assistant", "content": text}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    counted = {"prompt_tokens": 10, "completion_tokens": 2, **usage}
    return 200, {}, json.dumps({**body, "usage": counted}).encode()


class MockUpstream:
    """``answer`` is called with each request's body and headers."""

    def __init__(self, answer: Callable[[Any, Mapping[str, str]], Reply], *, port: int = 0) -> None:
        self.bodies: list[Any] = []
        self.answer = answer
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                upstream.bodies.append(body)
                status, headers, content = upstream.answer(body, self.headers)
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
