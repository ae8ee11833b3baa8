"""``/v1/chat/completions``: one request from its bytes to the last byte of its answer.

The client's messages are stored, its lane is found, and one of three things happens: the request
passes as it came; it passes with the view in place of its messages (our tools standing down); or
the loop answers it with our tools. If the context layer cannot work, the request passes as it came
and ``x-context-status`` says so.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import structlog
from starlette.types import Receive, Send

from sculptor.errors import StoreError, UpstreamStatus
from sculptor.loop.refusal import REFUSED, ToolRefusals
from sculptor.server.answering import AnswerWriter
from sculptor.server.auth import Caller
from sculptor.server.backends import Backend
from sculptor.server.bodies import read_body
from sculptor.server.cancellation import ClientWatch
from sculptor.server.envelope import ApiError, ErrorFormatter
from sculptor.server.health import StoreHealth
from sculptor.server.lanes import Lanes
from sculptor.server.limits import Place
from sculptor.server.live_lane import LiveLane
from sculptor.server.planning import Exchange, Plan, Planner
from sculptor.server.recording import TurnRecord
from sculptor.server.refusals import (
    holds_our_tools,
    lane_and_model,
    may_be_our_tools,
    takes_no_tools,
)
from sculptor.server.request_reading import RequestReader
from sculptor.server.room import is_overflow, told_window
from sculptor.server.settings import Settings
from sculptor.store.records import TenantId

log = structlog.get_logger("sculptor")

_OVERFLOW_TRIES = 2


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
        self._backend = backend
        self._planner = Planner(settings, backend, lanes.counter_of)
        self._refusals = ToolRefusals()
        self._reader = RequestReader(settings, lanes, backend)
        record = TurnRecord(lanes, self._planner, health)
        self._writer = AnswerWriter(settings, lanes, backend, formatter, self._reader, record)

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
            request=await self._reader.read(body, counted=mode != "off"),
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
                await self._writer.send(exchange, live, plan, send, watch)
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
