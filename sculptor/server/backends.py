"""What answers requests: an OpenAI-compatible upstream over HTTP, or a model in this process.

A backend gives each client request a model of its own, which knows the request's id and key and
remembers what of the upstream's head the client may see.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Protocol

import orjson

from sculptor.chat import ChunkReader, Delta, TextDelta, parse_json, read_completion
from sculptor.errors import SculptorError, UpstreamStatus
from sculptor.loop import Event, Model, ModelRequest, deltas_of
from sculptor.server.answer import UpstreamResponse
from sculptor.server.headers import RawHeaders
from sculptor.server.upstream import Upstream

CHAT_PATH = "/chat/completions"


class BoundModel(Model, Protocol):
    """A model for one client request; ``headers`` is filled once its first answer's head came."""

    headers: RawHeaders


class Backend(Protocol):
    """Where models come from."""

    upstream: Upstream | None
    """The HTTP upstream to which other paths are relayed, if there is one."""

    names: tuple[str, ...]
    """The models, where they live in this process."""

    window_tokens: int | None
    """The models' window in tokens of their own, where it is known; it bounds the settings'."""

    tokens_per_counted: float
    """How many tokens of their own one counted token is, about."""

    writes_summaries: bool
    """Whether the models can be asked for summaries; if not, these are extracts."""

    def model(
        self, *, request_id: str, client_headers: Mapping[str, str], client_key: str | None
    ) -> BoundModel:
        """Return the model for one client request."""
        ...

    def model_name(self, asked: str) -> str:
        """Return the model name that answers bear."""
        ...

    async def close(self) -> None:
        """Let go of connections, threads and the like; nothing is asked after it."""
        ...


class HttpBackend:
    """An OpenAI-compatible upstream."""

    window_tokens: int | None = None
    tokens_per_counted = 1.0
    writes_summaries = True

    def __init__(self, upstream: Upstream) -> None:
        self.upstream: Upstream | None = upstream
        self.names: tuple[str, ...] = ()
        self._upstream = upstream

    def model(
        self, *, request_id: str, client_headers: Mapping[str, str], client_key: str | None
    ) -> "HttpModel":
        """Return the model for one client request."""
        return HttpModel(self._upstream, request_id, client_headers, client_key)

    def model_name(self, asked: str) -> str:
        """Return the model name that answers bear: the one the client asked for."""
        return asked

    async def close(self) -> None:
        """Close the upstream's connections."""
        await self._upstream.close()


class HttpModel:
    """An upstream, for one client request."""

    def __init__(
        self,
        upstream: Upstream,
        request_id: str,
        client_headers: Mapping[str, str],
        client_key: str | None,
    ) -> None:
        self.headers: RawHeaders = []
        self._upstream, self._request_id = upstream, request_id
        self._client_headers, self._client_key = client_headers, client_key

    async def stream(self, request: ModelRequest) -> AsyncIterator[Event]:
        """Answer a request, piece by piece."""
        with await self.open(request) as response:
            if not response.is_event_stream:
                completed = read_completion(parse_json(await response.read()))
                for delta in deltas_of(completed):
                    yield delta
                yield completed
                return
            reader = ChunkReader()
            while frames := await response.next_frames():
                is_done = any(frame.strip() == b"[DONE]" for frame in frames)
                for delta in joined(_deltas(frames, reader)):
                    yield delta
                if is_done:
                    break
            yield reader.complete()

    async def open(self, request: ModelRequest) -> UpstreamResponse:
        """Send a request and return the answer, its head read."""
        response = await self._post(request)
        if not self.headers:
            self.headers.extend(response.relayed())
        return response

    async def _post(self, request: ModelRequest) -> UpstreamResponse:
        """Send a request; once more without ``stream_options`` where the upstream refuses it."""
        try:
            return await self._send(request.body)
        except UpstreamStatus as error:
            added = request.stream and "stream_options" not in request.value
            if error.status not in (400, 422) or not added or b"stream_options" not in error.body:
                raise
            value = orjson.loads(request.body)
            value.pop("stream_options", None)
            return await self._send(orjson.dumps(value))

    async def _send(self, body: bytes) -> UpstreamResponse:
        return await self._upstream.post(
            CHAT_PATH,
            body,
            request_id=self._request_id,
            client_headers=self._client_headers,
            client_key=self._client_key,
        )


def _deltas(frames: Sequence[bytes], reader: ChunkReader) -> Iterator[Delta]:
    for frame in frames:
        if frame.strip() == b"[DONE]":
            yield from reader.done()
            return
        yield from reader.feed(parse_json(frame))


def joined(deltas: Iterator[Delta]) -> Iterator[Delta]:
    """Yield deltas that came together, neighbouring pieces of text as one: one write, not many.

    What came before an error is yielded before it is raised.
    """
    held: TextDelta | None = None
    try:
        for delta in deltas:
            if isinstance(delta, TextDelta) and delta.choice is None:
                held = delta if held is None else TextDelta(text=held.text + delta.text)
                continue
            if held is not None:
                yield held
                held = None
            yield delta
    except SculptorError:
        if held is not None:
            yield held
        raise
    if held is not None:
        yield held


class EmbeddedBackend:
    """A model in this process; it says its own name in every answer."""

    upstream: Upstream | None = None
    window_tokens: int | None = None
    tokens_per_counted = 1.0
    writes_summaries = True

    def __init__(self, model: Model, names: tuple[str, ...]) -> None:
        self._model, self.names = model, names

    def model(
        self, *, request_id: str, client_headers: Mapping[str, str], client_key: str | None
    ) -> "EmbeddedModel":
        """Return the model for one client request."""
        del request_id, client_headers, client_key
        return EmbeddedModel(self._model)

    def model_name(self, asked: str) -> str:
        """Return the model name that answers bear: the one of its own that was asked for."""
        return asked if asked in self.names else self.names[0]

    async def close(self) -> None:
        """Do nothing: it holds nothing."""


class EmbeddedModel:
    """A model in this process, for one client request."""

    def __init__(self, model: Model) -> None:
        self.headers: RawHeaders = []
        self._model = model

    def stream(self, request: ModelRequest) -> AsyncIterator[Event]:
        """Answer a request, piece by piece."""
        return self._model.stream(request)
