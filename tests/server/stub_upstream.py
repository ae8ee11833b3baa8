"""A well-behaved upstream on localhost whose answers a test writes down.

Each answer is a function of the request's parsed body that returns an assistant message; it is sent
streamed or whole, as the request asks. Every request is kept, bytes and headers.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from sculptor.tokens import TokenCounter

Message = dict[str, Any]
Answer = Callable[[dict[str, Any]], Message]


def say(text: str) -> Answer:
    return lambda _: {"role": "assistant", "content": text}


def call(*calls: tuple[str, dict[str, Any]], text: str | None = None) -> Answer:
    def answer(_: dict[str, Any]) -> Message:
        made = [
            {
                "id": f"up_{index}",
                "type": "function",
                "function": {"name": name, "arguments": orjson.dumps(arguments).decode()},
            }
            for index, (name, arguments) in enumerate(calls)
        ]
        return {"role": "assistant", "content": text, "tool_calls": made}

    return answer


def prompt_tokens(value: dict[str, Any]) -> int:
    """Count a request as a provider does: its texts, some tokens a message, its tools."""
    counter = TokenCounter.for_model("gpt-4o")
    listed = value["messages"] + value.get("tools", [])
    texts = [each.get("content") for each in value["messages"]]
    whole = [text if isinstance(text, str) else orjson.dumps(text).decode() for text in texts]
    called = [orjson.dumps(each.get("tool_calls") or "").decode() for each in value["messages"]]
    tools = [orjson.dumps(each).decode() for each in value.get("tools", [])]
    return 4 * len(listed) + sum(map(counter.count, (*whole, *called, *tools)))


@dataclass
class Seen:
    body: bytes
    headers: dict[str, str]

    @property
    def value(self) -> dict[str, Any]:
        return orjson.loads(self.body)


@dataclass
class StubUpstream:
    answers: list[Answer] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    tells_usage: bool = True
    bytes_per_token: int = 4
    window_tokens: int | None = None
    """Longer requests are refused, in OpenAI's words."""

    refused: int = 0

    def __enter__(self) -> "StubUpstream":
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_route("*", "/v1/{rest:.*}", self._other)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _other(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(Seen(body, {k.lower(): v for k, v in request.headers.items()}))
        if request.path == "/v1/embeddings" and isinstance(self.seen[-1].value["input"], list):
            texts = self.seen[-1].value["input"]
            rows = [
                {"index": i, "embedding": [float(len(text)), float(text.count("5")), 1.0]}
                for i, text in enumerate(texts)
            ]
            return web.json_response({"object": "list", "data": rows})
        return web.json_response({"path": request.path_qs, "size": len(body)})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(Seen(body, {k.lower(): v for k, v in request.headers.items()}))
        value = orjson.loads(body)
        if self.window_tokens is not None:
            asked = prompt_tokens(value) + (value.get("max_tokens") or 0)
            if asked > self.window_tokens:
                self.refused += 1
                told = f"This model's maximum context length is {self.window_tokens} tokens."
                error = {"message": told, "code": "context_length_exceeded"}
                return web.json_response({"error": error}, status=400)
        message = self.answers.pop(0)(value) if self.answers else say("out of answers")(value)
        usage = {
            "prompt_tokens": len(body) // self.bytes_per_token,
            "completion_tokens": 7,
            "total_tokens": 0,
        }
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        head = {"id": "up-1", "created": 1, "model": "stub-2026"}
        if not value.get("stream"):
            told = {"usage": usage} if self.tells_usage else {}
            rest = {"message": message, "finish_reason": reason, "logprobs": None}
            count = value.get("n")
            several = range(count if isinstance(count, int) and count > 0 else 1)
            choices = [{"index": index, **rest} for index in several]
            return web.json_response(
                {**head, "object": "chat.completion", "choices": choices, **told}
            )
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        text = message.get("content") or ""
        deltas += [{"content": text[i : i + 5]} for i in range(0, len(text), 5)]
        for index, item in enumerate(message.get("tool_calls") or []):
            deltas.append({"tool_calls": [{"index": index, **item}]})
        head["object"] = "chat.completion.chunk"
        for delta in deltas:
            await response.write(_chunk(head, value, delta, None))
        await response.write(_chunk(head, value, {}, reason))
        if (value.get("stream_options") or {}).get("include_usage"):
            tail = {**head, "choices": [], "usage": usage}
            await response.write(b"data: " + orjson.dumps(tail) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


def _chunk(
    head: dict[str, Any], value: dict[str, Any], delta: dict[str, Any], reason: str | None
) -> bytes:
    frames = [
        {**head, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
        for index in range(value.get("n") or 1)
    ]
    return b"".join(b"data: " + orjson.dumps(frame) + b"\n\n" for frame in frames)
