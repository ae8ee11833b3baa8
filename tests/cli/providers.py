"""A provider on localhost that answers everything alike and keeps what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Asked = list[tuple[str, str, str]]


@contextmanager
def provider(status: int, body: object) -> Iterator[tuple[str, Asked]]:
    """Serve while the block runs; gives the base URL, and method, path and key of each request."""
    asked: Asked = []
    is_json = not isinstance(body, str)
    content = (json.dumps(body) if is_json else str(body)).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.command, self.path, self.headers.get("authorization", "")))
            self.send_response(status)
            self.send_header("content-type", "application/json" if is_json else "text/html")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
