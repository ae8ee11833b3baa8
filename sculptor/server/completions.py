"""``/v1/chat/completions``: one request from its bytes to the last byte of its answer.

The client's messages are stored, its lane is found, and one of three things happens: the request
passes as it came; it passes with the view in place of its messages (our tools standing down); or
the loop answers it with our tools. If the context layer cannot work, the request passes as it came
and ``x-context-status`` says so.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypedDict

import orjson
import structlog
from starlette.types import Receive, Send

from sculptor.chat import DONE, ChunkWriter, Delta, Usage, format_completion, format_error_frame
from sculptor.errors import StoreError, UpstreamStatus
from sculptor.loop import (
    ClientRequest,
    MessageCache,
    ModelRequest,
    Surroundings,
    Turn,
    check_request,
    drive,
    read_request,
    relay,
    told_context,
    told_usage,
    turn_of,
)
from sculptor.loop.refusal import REFUSED, ToolRefusals
from sculptor.server.auth import Caller
from sculptor.server.backends import Backend, HttpModel
from sculptor.server.bodies import parse_body, parse_loosely, read_body
from sculptor.server.cancellation import ClientWatch
from sculptor.server.choices import read_whole, relay_stream
from sculptor.server.embedding import UpstreamEmbedder
from sculptor.server.envelope import ApiError, ErrorFormatter
from sculptor.server.event_stream import EventStream, StreamSettings
from sculptor.server.headers import RawHeaders
from sculptor.server.health import StoreHealth
from sculptor.server.lanes import Lanes
from sculptor.server.limits import Place
from sculptor.server.live_lane import LiveLane
from sculptor.server.names import new_name
from sculptor.server.planning import Exchange, Plan, Planner
from sculptor.server.refusals import (
    holds_our_tools,
    lane_and_model,
    may_be_our_tools,
    takes_no_tools,
)
from sculptor.server.room import is_overflow, told_window
from sculptor.server.settings import Settings
from sculptor.store.records import TenantId
from sculptor.summaries import ExtractiveSummarizer, SummaryJob, format_jobs
from sculptor.tools import NeedRanked

log = structlog.get_logger("sculptor")

_LONG_BODY_BYTES = 1_000_000
_LONG_TEXT_BYTES = 50_000
_TOLD_LOOSELY = ("model", "stream", "stream_options", "n")
_OVERFLOW_TRIES = 2


class _Head(TypedDict):
    id: str
    created: int
    model: str


class ChatCompletions:
    """The endpoint."""

    def __init__(
        self,
        settings: Settings,
        lanes: Lanes,
        backend: Backend,
        formatter: ErrorFormatter,
        health: StoreHealth,
    ) -> None:
        self._settings, self._lanes, self._health = settings, lanes, health
        self._backend, self._formatter = backend, formatter
        self._planner = Planner(settings, backend, lanes.counter_of)
        self._extracts = settings.summarizer != "model" or not backend.writes_summaries
        self._messages, self._refusals = MessageCache(), ToolRefusals()
        self._stream_settings = StreamSettings(keep_alive_s=settings.keep_alive)

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
        """Answer one request; errors before the first byte leave as exceptions."""
        body = await read_body(receive, headers, limit_bytes=self._settings.body_limit_bytes)
        mode = self._planner.mode(headers)
        exchange = Exchange(
            request=await self._prepare(body, counted=mode != "off"),
            headers=headers,
            mode=mode,
            caller=caller,
            request_id=request_id,
            place=place,
            model=self._backend.model(
                request_id=request_id, client_headers=headers, client_key=caller.key
            ),
            asked_at=time.time(),
        )
        async with ClientWatch(receive) as watch:
            place.on_evict = watch.abort
            live, trouble = await self._open(exchange)
            try:
                await self._answer(exchange, live, trouble, send, watch)
            except BaseException:
                if live is not None:
                    self._lanes.forget(live)
                raise

    async def _answer(
        self,
        exchange: Exchange,
        live: LiveLane | None,
        trouble: str,
        send: Send,
        watch: ClientWatch,
    ) -> None:
        """Answer; where the upstream finds the view too long, fold it to fit and try again.

        Where that does not help, or where the upstream refuses a request that held our tools,
        these and what they said are left out. A second refusal is the client's own.
        """
        tries, without, learned = 0, "", False
        while True:
            if live is not None and not without and self._planner.is_too_long(exchange, live):
                # Cutting megabytes takes seconds, and others go on meanwhile.
                await asyncio.to_thread(self._planner.fit, exchange, live)
            plan = self._plan(exchange, live, trouble, without)
            try:
                await self._carry_out(exchange, live, plan, send, watch)
            except UpstreamStatus as error:
                if live is None or without == "window" or exchange.mode == "off":
                    raise
                if not is_overflow(error):
                    if without or not may_be_our_tools(exchange, plan, error):
                        raise
                    without, learned = "refused", takes_no_tools(exchange, live, error)
                    continue
                window, tries = told_window(error), tries + 1
                if tries > _OVERFLOW_TRIES or not await asyncio.to_thread(
                    self._planner.shorten, exchange, live, window
                ):
                    if not plan.managed:
                        raise
                    without = "window"
            else:
                if learned and live is not None:
                    self._refusals.note(lane_and_model(exchange, live))
                return

    def _plan(self, exchange: Exchange, live: LiveLane | None, trouble: str, without: str) -> Plan:
        """Plan; ``without``: why our tools are left out, where a try with them failed.

        They are left out, too, where they were refused in this lane a while ago.
        """
        plan = self._planner.plan(exchange, live, trouble, bare=bool(without))
        if not without and live is not None and holds_our_tools(exchange, plan):
            if lane_and_model(exchange, live) not in self._refusals:
                return plan
            without = "refused"
            plan = self._planner.plan(exchange, live, trouble, bare=True)
        return replace(plan, status=REFUSED) if without == "refused" else plan

    async def _carry_out(
        self,
        exchange: Exchange,
        live: LiveLane | None,
        plan: Plan,
        send: Send,
        watch: ClientWatch,
    ) -> None:
        if plan.several:
            await self._relay_choices(exchange, live, plan, send, watch)
        elif exchange.request.stream:
            await self._stream(exchange, live, plan, send, watch)
        else:
            await self._send_whole(exchange, live, plan, send)

    # Reading

    async def _prepare(self, body: bytes, *, counted: bool) -> ClientRequest:
        """Read a body; what takes long goes to a thread, so that others go on.

        Reading is fast and counting is not: only text that was never counted makes a request slow.
        """
        if len(body) > _LONG_BODY_BYTES:
            request = await asyncio.to_thread(self._read, body)
        else:
            request = self._read(body)
        if counted:
            await self._count_new(request)
        return request

    async def _count_new(self, request: ClientRequest) -> None:
        """Count long text that nobody counted yet in a thread; short text is counted where used."""
        if self._lanes.uncounted_bytes(request) > _LONG_TEXT_BYTES:
            await asyncio.to_thread(self._lanes.count, request)

    def _read(self, body: bytes) -> ClientRequest:
        try:
            value = parse_body(body)
        except ApiError:
            # Without messages: what we cannot read passes as it came, for the upstream to judge.
            loose = parse_loosely(body)
            if loose is None or self._settings.strict or self._backend.upstream is None:
                raise
            told = {name: loose[name] for name in _TOLD_LOOSELY if name in loose}
            return ClientRequest(body=body, value=told, messages=(), places={})
        return check_request(read_request(body, self._messages, value))

    async def _open(self, exchange: Exchange) -> tuple[LiveLane | None, str]:
        """Return the request's lane, or why the context layer cannot work."""
        if not exchange.request.messages:
            return None, "json"
        try:
            tenant = TenantId(exchange.caller.tenant)
            live = self._lanes.open(tenant, exchange.request, exchange.headers)
            if not self._planner.passes_as_it_came(exchange, live):
                _ = live.context
            if self._settings.strict or self._health.trouble:
                await self._lanes.writer.settle(live)
                self._health.worked()
            return live, ""
        except (StoreError, OSError) as error:
            self._health.failed(error)
            log.warning("context.bypassed", request_id=exchange.request_id, error=str(error))
            if self._settings.strict:
                raise ApiError(
                    503,
                    "The context store cannot be used, and this server is strict.",
                    code="context_unavailable",
                    retry_after_s=5,
                ) from None
            return None, "store"

    # Answering

    def _drive(
        self, exchange: Exchange, live: LiveLane | None, plan: Plan
    ) -> AsyncGenerator[Delta | Turn, None]:
        if plan.turn is None:
            assert plan.call is not None
            return relay(exchange.model, plan.call)

        async def keep(step: Any, usage: Usage | None) -> None:
            if live is None or live.is_lost:
                return
            try:
                await self._lanes.writer.keep(live, step, usage)
            except StoreError as error:
                # The turn goes on without a record: the client's answer matters more.
                self._lose(live, "step.not_stored", error)

        surroundings = Surroundings(
            ranked=lambda need: self._ranked(exchange, need),
            embed=self._embedder(exchange),
            summarizer=ExtractiveSummarizer() if self._extracts else None,
        )
        return drive(
            plan.turn,
            exchange.model,
            surroundings,
            keep=keep,
            summary_request=lambda jobs: self._summary_request(exchange.request, jobs),
        )

    def _embedder(self, exchange: Exchange) -> UpstreamEmbedder | None:
        upstream, model = self._backend.upstream, self._settings.embeddings_model
        if upstream is None or not model:
            return None
        return UpstreamEmbedder(
            upstream,
            model,
            request_id=exchange.request_id,
            client_headers=exchange.headers,
            client_key=exchange.caller.key,
        )

    def _ranked(self, exchange: Exchange, need: NeedRanked) -> Sequence[Any]:
        tenant = TenantId(exchange.caller.tenant)
        return self._lanes.store.ranked(tenant, need.hashes, need.query, limit=need.limit)

    def _summary_request(self, request: ClientRequest, jobs: Sequence[SummaryJob]) -> ModelRequest:
        limit = sum(max(64, job.tokens * 15 // 100) for job in jobs)
        messages = format_jobs(jobs)
        value = {
            "model": request.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": limit + 64 * len(jobs),
        }
        return ModelRequest(
            body=orjson.dumps(value),
            messages=tuple(orjson.dumps(message) for message in messages),
            tools=(),
            value=value,
            stream=False,
        )

    async def _send_whole(
        self,
        exchange: Exchange,
        live: LiveLane | None,
        plan: Plan,
        send: Send,
    ) -> None:
        turn = await self._run(exchange, live, plan)
        await self._record(exchange, live, plan, turn)
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
            await self._record(exchange, live, plan, turn_of(answers[0]))
            headers = [*model.headers, *_own_headers(exchange, live, plan)]
            await _send_json(send, body, headers)
            return
        headers = _own_headers(exchange, live, plan)
        stream = EventStream(
            send, headers=headers, abort=watch.abort, settings=self._stream_settings
        )
        async with stream as out:
            try:
                answers = await relay_stream(model, call, out, head)
                await self._record(exchange, live, plan, turn_of(answers[0]))
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

    async def _break(self, exchange: Exchange, out: EventStream, error: Exception) -> None:
        """End a stream in an error frame; before its head went out, the error is raised."""
        if not out.is_begun:
            raise error
        log.warning("stream.failed", request_id=exchange.request_id, error=str(error))
        await out.end(format_error_frame(self._formatter.envelope(error)))

    async def _run(self, exchange: Exchange, live: LiveLane | None, plan: Plan) -> Turn:
        async with aclosing(self._drive(exchange, live, plan)) as items:
            async for item in items:
                if isinstance(item, Turn):
                    return item
        raise RuntimeError("a turn ended without an answer")

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
        stream = EventStream(
            send, headers=headers, abort=watch.abort, settings=self._stream_settings
        )
        async with stream as out:
            try:
                async with aclosing(self._drive(exchange, live, plan)) as items:
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
        await self._record(exchange, live, plan, turn)
        fields = self._extension(live, turn) if plan.managed else None
        last = writer.finish(turn.answer.finish_reason, fields=fields)
        asked = exchange.request.include_usage
        usage = await self._usage(exchange, live, turn) if asked else None
        await out.end(last + (writer.usage(usage) if usage else b"") + DONE)

    async def _record(
        self, exchange: Exchange, live: LiveLane | None, plan: Plan, turn: Turn
    ) -> None:
        """Write the answer as the client sees it, and learn from what the upstream reported."""
        if live is None or live.is_lost:
            return
        self._planner.learn(exchange, live, plan, turn)
        try:
            await self._lanes.answer(live, turn, orjson.dumps(turn.answer.message))
        except StoreError as error:
            self._lose(live, "answer.not_stored", error)

    def _lose(self, live: LiveLane, what: str, error: StoreError) -> None:
        """Write no more of a request: what came after would stand on what is missing."""
        log.warning(what, session=live.session.id, error=str(error))
        self._health.failed(error)
        self._lanes.forget(live)
        live.is_lost = True

    async def _usage(self, exchange: Exchange, live: LiveLane | None, turn: Turn) -> Usage | None:
        """Return what the client is told; where the upstream told nothing, our own count."""
        told = told_usage(turn, is_summed=self._settings.usage == "sum")
        if told is not None or live is None:
            return told
        counter = self._lanes.counter_of(exchange.request.model)
        if live.made is not None:
            prompt = turn.billed[-1].view_tokens or live.made.tokens
        else:  # it passed as it came, and a context only to count it would be made in vain
            await self._count_new(exchange.request)
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
