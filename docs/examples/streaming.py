"""Streaming through a wrapped client: text goes on at once, the model's own calls stay inside.

Run it: python docs/examples/streaming.py. A stub on localhost stands for the provider.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openai import OpenAI

from sculptor import wrap

STREAM = "".join(f"city {n}: value {n * 7}; " for n in range(900))


class Provider(BaseHTTPRequestHandler):
    """Says a word, searches, and then answers, in small pieces."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        for delta, finish in pieces(is_first=body["messages"][-1]["role"] == "user"):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = json.dumps({**head, "choices": [choice]})
            self.wfile.write(f"data: {chunk}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: Any) -> None:
        pass


def pieces(*, is_first: bool) -> Iterator[tuple[dict[str, Any], str | None]]:
    if is_first:
        yield {"content": "Let me look."}, None
        arguments = json.dumps({"queries": ["city 412"], "latest_per_query": True})
        function = {"name": "search_context", "arguments": arguments}
        yield {"tool_calls": [{"index": 0, "id": "call_1", "function": function}]}, None
        yield {}, "tool_calls"
    else:
        for word in ("The", " value", " is", " 2884."):
            yield {"content": word}, None
        yield {}, "stop"


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    messages: list[Any] = [
        {"role": "user", "content": STREAM},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "What is the value of city 412?"},
    ]
    with wrap(OpenAI(base_url=url, api_key="none")) as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)
        for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
        print()
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
