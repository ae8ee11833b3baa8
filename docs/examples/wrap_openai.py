"""A wrapped client: the model works on its own context, the program sees the final answer.

Run it: python docs/examples/wrap_openai.py. A stub on localhost stands for the provider; with a
real one, ``wrap(OpenAI())`` is all there is to it.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openai import OpenAI

from sculptor import wrap

MANUAL = "".join(f"Section {n}. Turn valve {n} clockwise until it stops. " for n in range(600))
SIZES: list[int] = []


class Provider(BaseHTTPRequestHandler):
    """Folds all but the last piece of the manual at its first call, and answers at its second."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = json.loads(raw)
        SIZES.append(len(raw))
        message: dict[str, Any] = {"role": "assistant", "content": "Valve 599 comes last."}
        if body.get("tools") and "folded" not in raw.decode():
            arguments = json.dumps({"num_fragments": 10, "fold_except": [-1]})
            function = {"name": "fragment_context", "arguments": arguments}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
            message["content"] = None
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        head = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
        answer = json.dumps({**head, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"

    with wrap(OpenAI(base_url=url, api_key="none")) as client:
        messages: list[Any] = [
            {"role": "user", "content": MANUAL},
            {"role": "assistant", "content": "I have read the manual."},
            {"role": "user", "content": "Which valve comes last?"},
        ]
        answer = client.chat.completions.create(model="gpt-4o", messages=messages)
        print(answer.choices[0].message.content)
        messages += [answer.choices[0].message, {"role": "user", "content": "Are you sure?"}]
        client.chat.completions.create(model="gpt-4o", messages=messages)

    first, second, later = SIZES
    print(f"Bytes sent: {first}, then {second} once folded, and {later} in the next turn.")
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
