"""``/v1/chat/completions``: one request from its bytes to the last byte of its answer.

The client's messages are stored, its lane is found, and one of three things happens: the request
passes as it came; it passes with the view in place of its messages (our tools standing down); or
the loop answers it with our tools. If the context layer cannot work, the request passes as it came
and ``x-context-status`` says so.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

import orjson
import structlog
from starlette.types import Receive, Send

from sculptor.chat import DONE, ChunkWriter, Delta, Usage, format_completion, format_error_frame
from sculptor.errors import StoreError, UpstreamStatus
from sculptor.loop import (
    Budget,
    ClientRequest,
    MessageCache,
    ModelRequest,
    Surroundings,
    Turn,
    check_request,
    drive,
    fold_to_fit,
    model_request,
    pass_through,
    read_request,
    relay,
    run_turn,
    told_context,
    told_usage,
    turn_of,
)
from sculptor.loop.turn import Effect
from sculptor.server.auth import Caller
from sculptor.server.backends import Backend, BoundModel, HttpModel
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
from sculptor.server.settings import Settings
from sculptor.store.records import TenantId
from sculptor.summaries import ExtractiveSummarizer, SummaryJob, format_jobs
from sculptor.tools import NeedRanked, toolset

log = structlog.get_logger("sculptor")

Mode = Literal["off", "auto", "on"]
_LONG_BODY_BYTES = 1_000_000
_LONG_TEXT_BYTES = 50_000
_TOLD_LOOSELY = ("model", "stream", "stream_options", "n")
_RESERVED_ANSWER_TOKENS = 1_024
_UNKNOWN_TOKENIZER_RESERVE = 0.05
_OVERFLOW_TRIES = 2
_OVERFLOW_WORDS = (b"context_length_exceeded", b"maximum context length", b"context window")
_TOLD_WINDOW = re.compile(r"(?:maximum context length|context window)\D{0,40}?(\d{3,8})", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One client request with all that answering it takes."""

    request: ClientRequest
    headers: Mapping[str, str]
    mode: Mode
    caller: Caller
    request_id: str
    place: Place
    model: BoundModel
    asked_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a request is answered, and what the client is told of it.

    Either a ``turn`` is run, or a ``call`` is made whose answer is left as it is; ``several``: it
    has several choices.
    """

    status: str
    turn: Generator[Effect, Any, Turn] | None = None
    call: ModelRequest | None = None
    several: bool = False
    managed: bool = False


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
        self._window = counted_window(settings.window_tokens, backend)
        self._extracts = settings.summarizer != "model" or not backend.writes_summaries
        self._toolset = toolset(settings.toolset)
        self._messages = MessageCache()
        self._stream_settings = StreamSettings(keep_alive_s=settings.keep_alive)
        self._budget = Budget(
            max_steps=settings.max_steps,
            max_input_tokens=settings.max_turn_tokens,
            max_seconds=settings.max_turn_seconds,
        )

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
        mode = self._mode(headers)
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
        """Answer; where the upstream finds the view too long, fold it to fit and try again."""
        for attempt in range(_OVERFLOW_TRIES + 1):
            plan = self._plan(exchange, live, trouble)
            try:
                if plan.several:
                    await self._relay_choices(exchange, live, plan, send, watch)
                elif exchange.request.stream:
                    await self._stream(exchange, live, plan, send, watch)
                else:
                    await self._send_whole(exchange, live, plan, send)
                return
            except UpstreamStatus as error:
                last = attempt == _OVERFLOW_TRIES or exchange.mode == "off"
                if live is None or last or not is_overflow(error):
                    raise
                if not self._shorten(live, exchange.request, told_window(error)):
                    raise

    # Reading

    async def _prepare(self, body: bytes, *, counted: bool) -> ClientRequest:
        """Read a body; what takes long goes to a thread, so that others go on.

        Reading is fast and counting is not: only text that was never counted makes a request slow.
        """
        if len(body) > _LONG_BODY_BYTES:
            request = await asyncio.to_thread(self._read, body)
        else:
            request = self._read(body)
        if counted and self._lanes.uncounted_bytes(request) > _LONG_TEXT_BYTES:
            await asyncio.to_thread(self._lanes.count, request)
        return request

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
            if not self._passes_as_it_came(exchange, live):
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

    # Deciding

    def _passes_as_it_came(self, exchange: Exchange, live: LiveLane) -> bool:
        """Whether a request passes as it came, as can be told without counting its tokens.

        A token has at least a byte, so a body of few bytes cannot reach the threshold; images count
        for more than their bytes.
        """
        if exchange.mode != "auto":
            return exchange.mode == "off"
        if live.lane.admitted or live.depth:
            return False
        request = exchange.request
        bound = len(request.body) * self._lanes.counter_of(request.model).factor
        least = min(self._settings.admission_tokens, self._room(request))
        return bound < least and not any(
            part.kind == "image" for message in request.messages for part in message.parts
        )

    def _plan(self, exchange: Exchange, live: LiveLane | None, trouble: str) -> Plan:
        request, mode = exchange.request, exchange.mode
        if live is None:
            return self._plain(exchange, f"bypassed; reason={trouble}")
        if live.made is None:
            return self._plain(exchange, "off" if mode == "off" else "passthrough")
        self._fit(live, request)
        reason = request.stand_down(self._toolset.names)
        offered = self._is_offered(live, mode)
        if offered and reason is None:
            turn = run_turn(
                live.context,
                request,
                self._toolset,
                budget=self._budget,
                show_ledger=self._settings.ledger,
                clock=time.monotonic,
            )
            return Plan(turn=turn, status="tools-on", managed=True)
        defined = offered and request.forwards_choice
        call = self._view_request(live, request, defined=defined)
        status = f"tools-off; reason={reason}" if offered and reason else "passthrough"
        plan = self._passing(exchange, call, status)
        if defined and not plan.several:
            return Plan(status=status, turn=pass_through(call, withheld=self._toolset.names))
        return plan

    def _plain(self, exchange: Exchange, status: str) -> Plan:
        """Let a request pass as it came."""
        return self._passing(exchange, model_request(exchange.request, None), status)

    def _passing(self, exchange: Exchange, call: ModelRequest, status: str) -> Plan:
        """Make one call and leave its answer as it is."""
        several = exchange.request.asks_several and isinstance(exchange.model, HttpModel)
        return Plan(status=status, call=call, several=several)

    def _mode(self, headers: Mapping[str, str]) -> Mode:
        asked = headers.get("x-sculptor", "").strip().lower()
        if not asked:
            return self._settings.admission
        if asked not in ("off", "auto", "on"):
            raise ApiError(
                400, f"x-sculptor is {asked!r}; it must be off, auto or on.", code="invalid_value"
            )
        return asked  # type: ignore[return-value]  # narrowed by the test above

    def _is_offered(self, live: LiveLane, mode: Mode) -> bool:
        reached = live.context.tokens >= self._settings.admission_tokens
        if mode == "auto" and not live.lane.admitted and not reached:
            return False
        live.lane = replace(live.lane, admitted=True)
        return True

    def _view_request(
        self, live: LiveLane, request: ClientRequest, *, defined: bool
    ) -> ModelRequest:
        view = live.context.view()
        return model_request(
            request,
            None if view.unchanged else view.messages,
            tools=self._toolset.wire if defined else (),
        )

    def _fit(self, live: LiveLane, request: ClientRequest, window: int | None = None) -> None:
        room = self._room(request, window)
        if live.context.tokens > room:
            fold_to_fit(live.context, room)

    def _shorten(self, live: LiveLane, request: ClientRequest, window: int | None) -> bool:
        """Fold a view that the upstream found too long; tell whether it is shorter now."""
        try:
            before = live.context.tokens
        except StoreError:
            return False
        self._fit(live, request, window or before * 3 // 4)
        return live.context.tokens < before

    def _room(self, request: ClientRequest, window: int | None = None) -> int:
        """Return how many tokens a view may have, the answer's share left free."""
        window = window or self._window
        asked = request.value.get("max_completion_tokens") or request.value.get("max_tokens")
        reserved = asked if isinstance(asked, int) else _RESERVED_ANSWER_TOKENS
        return int(window * (1 - _UNKNOWN_TOKENIZER_RESERVE)) - min(reserved, window // 2)

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
        await self._record(live, turn)
        body = format_completion(
            turn.answer,
            **self._head(exchange),
            usage=self._usage(live, turn),
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
            await self._record(live, turn_of(answers[0]))
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
                await self._record(live, turn_of(answers[0]))
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
                            await self._end_stream(live, plan, writer, out, item)
                        else:
                            await out.write(writer.delta(item))
            except Exception as error:
                await self._break(exchange, out, error)

    async def _end_stream(
        self,
        live: LiveLane | None,
        plan: Plan,
        writer: ChunkWriter,
        out: EventStream,
        turn: Turn,
    ) -> None:
        await self._record(live, turn)
        fields = self._extension(live, turn) if plan.managed else None
        last = writer.finish(turn.answer.finish_reason, fields=fields)
        usage = self._usage(live, turn)
        await out.end(last + (writer.usage(usage) if usage else b"") + DONE)

    async def _record(self, live: LiveLane | None, turn: Turn) -> None:
        """Write the answer as the client sees it."""
        if live is None or live.is_lost:
            return
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

    def _usage(self, live: LiveLane | None, turn: Turn) -> Usage | None:
        """Return what the client is told; where the upstream told nothing, our own count."""
        told = told_usage(turn, is_summed=self._settings.usage == "sum")
        return _counted(live, turn) if told is None and live is not None else told

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


def _counted(live: LiveLane, turn: Turn) -> Usage | None:
    """Return our own count, for an upstream that told none."""
    try:
        context = live.context
    except StoreError:
        return None
    answered = context.counter.count(turn.answer.text)
    return Usage(prompt_tokens=context.tokens, completion_tokens=answered)


def _own_headers(exchange: Exchange, live: LiveLane | None, plan: Plan) -> RawHeaders:
    lost = "" if live is None or live.is_stored else "; not-stored"
    headers: RawHeaders = [
        (b"x-request-id", exchange.request_id.encode()),
        (b"x-context-status", f"{plan.status}{lost}".encode()),
    ]
    if live is not None:
        headers.append((b"x-session-id", live.session.id.encode()))
    return headers


def counted_window(wanted_tokens: int, backend: Backend) -> int:
    """Return the window in counted tokens: the settings', and at most the backend's own."""
    if backend.window_tokens is None:
        return wanted_tokens
    return min(wanted_tokens, int(backend.window_tokens / backend.tokens_per_counted))


def is_overflow(error: UpstreamStatus) -> bool:
    """Whether the upstream refused a request because it is longer than its window."""
    body = error.body.lower()
    return error.status in (400, 413) and any(word in body for word in _OVERFLOW_WORDS)


def told_window(error: UpstreamStatus) -> int | None:
    """Return the window that the upstream's message names, in tokens, or None."""
    found = _TOLD_WINDOW.search(error.body.decode(errors="replace").replace(",", ""))
    return int(found.group(1)) if found else None
