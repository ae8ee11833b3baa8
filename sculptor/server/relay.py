"""Paths that are not ours: bytes in, bytes out, to the configured upstream."""

from collections.abc import Mapping

import orjson
from starlette.types import Receive, Scope, Send

from sculptor.server.auth import Caller
from sculptor.server.bodies import read_body
from sculptor.server.cancellation import ClientWatch
from sculptor.server.envelope import ApiError
from sculptor.server.limits import Place
from sculptor.server.upstream import Upstream


class Relay:
    """Relays one path as it comes."""

    def __init__(self, upstream: Upstream, scope: Scope, body_limit_bytes: int) -> None:
        query = scope["query_string"].decode("latin-1")
        raw = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("latin-1").removeprefix("/v1")
        self._url = f"{path}?{query}" if query else path
        self._upstream, self._method = upstream, scope["method"]
        self._limit = body_limit_bytes

    async def __call__(
        self,
        receive: Receive,
        send: Send,
        *,
        headers: Mapping[str, str],
        caller: Caller,
        request_id: str,
        place: Place,
    ) -> None:
        """Relay one request."""
        body = await read_body(receive, headers, limit_bytes=self._limit)
        async with ClientWatch(receive) as watch:
            place.on_evict = watch.abort
            response = await self._upstream.relay(
                self._method,
                self._url,
                body or None,
                request_id=request_id,
                client_headers=headers,
                client_key=caller.key,
            )
            with response:
                relayed = response.relayed(with_body=True)
                start = [*relayed, (b"x-request-id", request_id.encode())]
                await send(
                    {"type": "http.response.start", "status": response.status, "headers": start}
                )
                while data := await response.next_bytes():
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                await send({"type": "http.response.body", "body": b""})


class Models:
    """``/v1/models`` where the model lives in this process."""

    def __init__(self, names: tuple[str, ...], window_tokens: int) -> None:
        self._entries = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "sculptor",
                "type": "model",
                "display_name": name,
                "created_at": "1970-01-01T00:00:00Z",
                "context_window": window_tokens,
            }
            for name in names
        ]

    def at(self, path: str) -> "OneAnswer":
        """Return the endpoint of the list, or of one model by its id."""
        name = path.removeprefix("/models").strip("/")
        if not name:
            names = [entry["id"] for entry in self._entries]
            body = {
                "object": "list",
                "data": self._entries,
                "has_more": False,
                "first_id": names[0],
                "last_id": names[-1],
            }
            return OneAnswer(orjson.dumps(body))
        for entry in self._entries:
            if entry["id"] == name:
                return OneAnswer(orjson.dumps(entry))
        raise ApiError(404, f"There is no model {name!r} here.", code="model_not_found")


class OneAnswer:
    """An endpoint that always says the same."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(
        self,
        receive: Receive,
        send: Send,
        *,
        headers: Mapping[str, str],
        caller: Caller,
        request_id: str,
        place: Place,
    ) -> None:
        """Answer."""
        del receive, headers, caller, place
        start = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": self._body})
