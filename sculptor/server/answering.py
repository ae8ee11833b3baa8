"""The answer of a turn on its way to the client: whole, streamed, or of several choices."""

from contextlib import aclosing
from typing import Any, TypedDict

import structlog
from starlette.types import Send

from sculptor.chat import DONE, ChunkWriter, Usage, format_completion, format_error_frame
from sculptor.loop import Turn, told_context, told_usage, turn_of
from sculptor.server.backends import Backend, HttpModel
from sculptor.server.cancellation import ClientWatch
from sculptor.server.choices import read_whole, relay_stream
from sculptor.server.envelope import ErrorFormatter
from sculptor.server.event_stream import EventStream, StreamSettings
from sculptor.server.headers import RawHeaders
from sculptor.server.lanes import Lanes
from sculptor.server.live_lane import LiveLane
from sculptor.server.names import new_name
from sculptor.server.planning import Exchange, Plan
from sculptor.server.recording import TurnRecord
from sculptor.server.request_reading import RequestReader
from sculptor.server.settings import Settings
from sculptor.server.turn_running import TurnRunner

log = structlog.get_logger("sculptor")


class _Head(TypedDict):
    id: str
    created: int
    model: str


class AnswerWriter:
    """Writes answers; each is in the store before its last byte leaves."""

    def __init__(
        self,
        settings: Settings,
        lanes: Lanes,
        backend: Backend,
        formatter: ErrorFormatter,
        reader: RequestReader,
        record: TurnRecord,
    ) -> None:
        self._settings, self._lanes = settings, lanes
        self._backend, self._formatter = backend, formatter
        self._reader, self._record = reader, record
        self._runner = TurnRunner(settings, lanes, backend, record)
        self._stream_settings = StreamSettings(keep_alive_s=settings.keep_alive)

    async def send(
        self,
        exchange: Exchange,
        live: LiveLane | None,
        plan: Plan,
        send: Send,
        watch: ClientWatch,
    ) -> None:
        """Answer as planned: several choices, a stream, or one body."""
        if plan.several:
            await self._relay_choices(exchange, live, plan, send, watch)
        elif exchange.request.stream:
            await self._stream(exchange, live, plan, send, watch)
        else:
            await self._send_whole(exchange, live, plan, send)

    async def _send_whole(
        self,
        exchange: Exchange,
        live: LiveLane | None,
        plan: Plan,
        send: Send,
    ) -> None:
        turn = await self._runner.run(exchange, live, plan)
        await self._record.answer(exchange, live, plan, turn)
        body = format_completion(
            turn.answer,
            **self._head(exchange),
            usage=await self._usage(exchange, live, turn),
            fields=self._extension(live, turn) if plan.managed else None,
        )
        await _send_json(send, body, [*exchange.model.headers, *_own_headers(exchange, live, plan)])

    async def _relay_choices(
        self,
        exchange: Exchange,
        live: LiveLane | None,
        plan: Plan,
        send: Send,
        watch: ClientWatch,
    ) -> None:
        """Relay an answer of several choices; the first is kept in the store."""
        model, call = exchange.model, plan.call
        assert isinstance(model, HttpModel)
        assert call is not None
        head = self._head(exchange)
        if not exchange.request.stream:
            body, answers = await read_whole(model, call, head)
            await self._record.answer(exchange, live, plan, turn_of(answers[0]))
            headers = [*model.headers, *_own_headers(exchange, live, plan)]
            await _send_json(send, body, headers)
            return
        headers = _own_headers(exchange, live, plan)
        async with self._event_stream(send, headers, watch) as out:
            try:
                answers = await relay_stream(model, call, out, head)
                await self._record.answer(exchange, live, plan, turn_of(answers[0]))
                await out.end(DONE)
            except Exception as error:
                await self._break(exchange, out, error)

    def _head(self, exchange: Exchange) -> _Head:
        """Return what every piece of an answer bears."""
        return {
            "id": f"chatcmpl-{new_name()}",
            "created": int(exchange.asked_at),
            "model": self._backend.model_name(exchange.request.model),
        }

    def _event_stream(self, send: Send, headers: RawHeaders, watch: ClientWatch) -> EventStream:
        return EventStream(send, headers=headers, abort=watch.abort, settings=self._stream_settings)

    async def _break(self, exchange: Exchange, out: EventStream, error: Exception) -> None:
        """End a stream in an error frame; before its head went out, the error is raised."""
        if not out.is_begun:
            raise error
        log.warning("stream.failed", request_id=exchange.request_id, error=str(error))
        await out.end(format_error_frame(self._formatter.envelope(error)))

    async def _stream(
        self,
        exchange: Exchange,
        live: LiveLane | None,
        plan: Plan,
        send: Send,
        watch: ClientWatch,
    ) -> None:
        writer = ChunkWriter(
            **self._head(exchange),
            include_usage=exchange.request.include_usage,
        )
        headers = _own_headers(exchange, live, plan)
        async with self._event_stream(send, headers, watch) as out:
            try:
                async with aclosing(self._runner.drive(exchange, live, plan)) as items:
                    async for item in items:
                        if not out.is_begun:
                            own = _own_headers(exchange, live, plan)
                            headers[:] = [*own, *exchange.model.headers]
                        if isinstance(item, Turn):
                            await self._end_stream(exchange, live, plan, writer, out, item)
                        else:
                            await out.write(writer.delta(item))
            except Exception as error:
                await self._break(exchange, out, error)

    async def _end_stream(
        self,
        exchange: Exchange,
        live: LiveLane | None,
        plan: Plan,
        writer: ChunkWriter,
        out: EventStream,
        turn: Turn,
    ) -> None:
        await self._record.answer(exchange, live, plan, turn)
        fields = self._extension(live, turn) if plan.managed else None
        last = writer.finish(turn.answer.finish_reason, fields=fields)
        asked = exchange.request.include_usage
        usage = await self._usage(exchange, live, turn) if asked else None
        await out.end(last + (writer.usage(usage) if usage else b"") + DONE)

    async def _usage(self, exchange: Exchange, live: LiveLane | None, turn: Turn) -> Usage | None:
        """Return what the client is told; where the upstream told nothing, our own count."""
        told = told_usage(turn, is_summed=self._settings.usage == "sum")
        if told is not None or live is None:
            return told
        counter = self._lanes.counter_of(exchange.request.model)
        if live.made is not None:
            prompt = turn.billed[-1].view_tokens or live.made.tokens
        else:  # it passed as it came, and a context only to count it would be made in vain
            await self._reader.count_new(exchange.request)
            prompt = self._lanes.count(exchange.request)
        return Usage(prompt_tokens=prompt, completion_tokens=counter.count(turn.answer.text))

    def _extension(self, live: LiveLane | None, turn: Turn) -> dict[str, Any] | None:
        """Return ``x_context``: whose turn it was, what it did and what it was billed."""
        if live is None:
            return None
        place = {"session": live.session.id, "lane": live.lane.id, "stored": live.is_stored}
        return {"x_context": {**place, **told_context(turn, live.context)}}


async def _send_json(send: Send, body: bytes, headers: RawHeaders) -> None:
    start: RawHeaders = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": start})
    await send({"type": "http.response.body", "body": body})


def _own_headers(exchange: Exchange, live: LiveLane | None, plan: Plan) -> RawHeaders:
    lost = "" if live is None or live.is_stored else "; not-stored"
    headers: RawHeaders = [
        (b"x-request-id", exchange.request_id.encode()),
        (b"x-context-status", f"{plan.status}{lost}".encode()),
    ]
    if live is not None:
        headers.append((b"x-session-id", live.session.id.encode()))
    return headers
