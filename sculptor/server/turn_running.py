"""One turn against the model that answers it: driven with our tools, or relayed."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import orjson

from sculptor.chat import Delta
from sculptor.loop import ClientRequest, ModelRequest, Surroundings, Turn, drive, relay
from sculptor.server.backends import Backend
from sculptor.server.embedding import UpstreamEmbedder
from sculptor.server.lanes import Lanes
from sculptor.server.live_lane import LiveLane
from sculptor.server.planning import Exchange, Plan
from sculptor.server.recording import TurnRecord
from sculptor.server.settings import Settings
from sculptor.store.records import TenantId
from sculptor.summaries import ExtractiveSummarizer, SummaryJob, format_jobs
from sculptor.tools import NeedRanked


class TurnRunner:
    """Runs turns; every step is kept as it happens."""

    def __init__(
        self, settings: Settings, lanes: Lanes, backend: Backend, record: TurnRecord
    ) -> None:
        self._settings, self._lanes = settings, lanes
        self._backend, self._record = backend, record
        self._extracts = settings.summarizer != "model" or not backend.writes_summaries

    async def run(self, exchange: Exchange, live: LiveLane | None, plan: Plan) -> Turn:
        """Return the whole turn."""
        async with aclosing(self.drive(exchange, live, plan)) as items:
            async for item in items:
                if isinstance(item, Turn):
                    return item
        raise RuntimeError("a turn ended without an answer")

    def drive(
        self, exchange: Exchange, live: LiveLane | None, plan: Plan
    ) -> AsyncGenerator[Delta | Turn, None]:
        """Return what a turn gives: pieces of text and, last, the turn; a plan may only relay."""
        if plan.turn is None:
            assert plan.call is not None
            return relay(exchange.model, plan.call)

        surroundings = Surroundings(
            ranked=lambda need: self._ranked(exchange, need),
            embed=self._embedder(exchange),
            summarizer=ExtractiveSummarizer() if self._extracts else None,
        )
        return drive(
            plan.turn,
            exchange.model,
            surroundings,
            keep=lambda step, usage: self._record.keep(live, step, usage),
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
