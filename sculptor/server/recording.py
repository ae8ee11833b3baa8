"""What is kept of a turn: its steps as they happen, and the answer as the client sees it."""

from typing import Any

import orjson
import structlog

from sculptor.chat import Usage
from sculptor.errors import StoreError
from sculptor.loop import Turn
from sculptor.server.health import StoreHealth
from sculptor.server.lanes import Lanes
from sculptor.server.live_lane import LiveLane
from sculptor.server.planning import Exchange, Plan, Planner

log = structlog.get_logger("sculptor")


class TurnRecord:
    """Writes to the store; where that fails the turn goes on, for its answer matters more."""

    def __init__(self, lanes: Lanes, planner: Planner, health: StoreHealth) -> None:
        self._lanes, self._planner, self._health = lanes, planner, health

    async def keep(self, live: LiveLane | None, step: Any, usage: Usage | None) -> None:
        """Write a step of a turn."""
        if live is None or live.is_lost:
            return
        try:
            await self._lanes.writer.keep(live, step, usage)
        except StoreError as error:
            self._lose(live, "step.not_stored", error)

    async def answer(
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
