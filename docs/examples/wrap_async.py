"""A wrapped client that awaits, with a tool of the program beside the model's own.

Run it: python docs/examples/wrap_async.py. A stub on localhost stands for the provider.
"""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openai import AsyncOpenAI

from sculptor import wrap

DIARY = "".join(f"Day {day}: we sailed on, the wind came from the west. " for day in range(500))
SEEN: list[list[str]] = []
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
}


class Provider(BaseHTTPRequestHandler):
    """Calls a context tool and the program's tool in one step, and then answers."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        SEEN.append([m["role"] for m in body["messages"]])
        message: dict[str, Any] = {"role": "assistant", "content": "West, as on every day."}
        if body["messages"][-1]["role"] == "user":
            message["content"] = None
            message["tool_calls"] = [
                called("search_context", queries=["wind"], order="last", max_results=1),
                called("get_weather"),
            ]
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


def called(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{name}", "type": "function", "function": function}


async def talk(url: str) -> None:
    messages: list[Any] = [
        {"role": "user", "content": DIARY},
        {"role": "assistant", "content": "A long journey."},
        {"role": "user", "content": "Where does the wind come from?"},
    ]
    async with wrap(AsyncOpenAI(base_url=url, api_key="none")) as client:
        while True:
            answer = await client.chat.completions.create(
                model="gpt-4o", messages=messages, tools=[WEATHER]
            )
            message = answer.choices[0].message
            messages.append(message)
            if not message.tool_calls:
                break
            print("The program is asked for:", [call.function.name for call in message.tool_calls])
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "west, 12 knots"}
                for call in message.tool_calls
            ]
        print(message.content)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asyncio.run(talk(f"http://127.0.0.1:{server.server_port}/v1"))
    print("The model saw both results:", SEEN[-1][-3:])
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
