"""How a request is answered: as it came, with the view in place of its messages, or by the loop.

Our tools are offered once a lane's view is long enough, and from then on; a request that the loop
cannot honour makes them stand down. A view longer than the window is folded to fit.
"""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from sculptor.context import Context
from sculptor.errors import StoreError
from sculptor.loop import (
    Budget,
    ClientRequest,
    ModelRequest,
    Turn,
    fold_to_fit,
    model_request,
    pass_through,
    run_turn,
)
from sculptor.loop.turn import Effect
from sculptor.server.auth import Caller
from sculptor.server.backends import Backend, BoundModel, HttpModel
from sculptor.server.envelope import ApiError
from sculptor.server.limits import Place
from sculptor.server.live_lane import LiveLane
from sculptor.server.room import Room
from sculptor.server.settings import Settings
from sculptor.tokens import TokenCounter
from sculptor.tools import toolset

Mode = Literal["off", "auto", "on"]


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


class Planner:
    """Decides, by the settings and by what a lane holds."""

    def __init__(
        self, settings: Settings, backend: Backend, counter_of: Callable[[str], TokenCounter]
    ) -> None:
        self._settings, self._counter_of = settings, counter_of
        self._room = Room(settings, backend, counter_of)
        self._admission_tokens = settings.chosen_admission_tokens
        self._toolset = toolset(settings.toolset)
        self._budget = Budget(
            max_steps=settings.max_steps,
            max_input_tokens=settings.max_turn_tokens,
            max_seconds=settings.max_turn_seconds,
        )

    def mode(self, headers: Mapping[str, str]) -> Mode:
        """Return what the request's header asks for, else the settings; raises ``ApiError``."""
        asked = headers.get("x-sculptor", "").strip().lower()
        if not asked:
            return self._settings.admission
        if asked not in ("off", "auto", "on"):
            raise ApiError(
                400, f"x-sculptor is {asked!r}; it must be off, auto or on.", code="invalid_value"
            )
        return asked  # type: ignore[return-value]  # narrowed by the test above

    def passes_as_it_came(self, exchange: Exchange, live: LiveLane) -> bool:
        """Whether a request passes as it came, so that its lane needs no context.

        A token has at least a byte, so a body of few bytes need not even be counted; images count
        for more than their bytes.
        """
        if exchange.mode != "auto":
            return exchange.mode == "off"
        if live.lane.admitted or live.depth:
            return False
        request = exchange.request
        least, factor = self._least(live, request), self._counter_of(request.model).factor
        parts = (part.kind for message in request.messages for part in message.parts)
        if len(request.body) * factor < least and "image" not in parts:
            return True
        return self._room.original_tokens(request) < least

    def plan(
        self, exchange: Exchange, live: LiveLane | None, trouble: str, *, bare: bool = False
    ) -> Plan:
        """Decide how a request is answered; ``trouble``: why it has no lane, where it has none.

        ``bare``: with our tools it was too long for the upstream, however much was hidden.
        """
        request, mode = exchange.request, exchange.mode
        if live is None:
            return self._plain(exchange, f"bypassed; reason={trouble}")
        if live.made is None:
            return self._plain(exchange, "off" if mode == "off" else "passthrough")
        if bare:
            return self._bare(exchange, live)
        reason = self._stand_down(live, request)
        offered = self._is_offered(live, request, mode)
        if offered:
            live.lane = replace(live.lane, admitted=True)
        if offered and reason is None:
            turn = run_turn(
                live.context,
                request,
                self._toolset,
                budget=self._budget,
                show_ledger=self._settings.ledger,
                fit=None if self._room.is_soft else partial(self._refit, live, request),
                clock=time.monotonic,
            )
            return Plan(turn=turn, status="tools-on", managed=True)
        defined = offered and request.forwards_choice and self._fits(live, request)
        view = live.context.view()
        messages = None if view.unchanged else view.messages
        call = model_request(request, messages, tools=self._toolset.wire if defined else ())
        status = "passthrough" if view.unchanged else "view"
        status = f"tools-off; reason={reason}" if offered and reason else status
        plan = self._passing(exchange, call, status)
        if defined and not plan.several:
            return Plan(status=status, turn=pass_through(call, withheld=self._toolset.names))
        return plan

    def is_too_long(self, exchange: Exchange, live: LiveLane | None) -> bool:
        """Whether a view is longer than the model's window, by our count."""
        if live is None or live.made is None or exchange.mode == "off":
            return False
        return live.made.tokens > self._limit(exchange, live)

    def fit(self, exchange: Exchange, live: LiveLane) -> None:
        """Fold a view to fit the model's window."""
        fold_to_fit(live.context, self._limit(exchange, live))

    def shorten(self, exchange: Exchange, live: LiveLane, window: int | None) -> bool:
        """Fold a view that the upstream found too long; tell whether it is shorter now.

        ``window`` is what the upstream says it takes, in its own tokens. Where it says nothing, or
        where by our count the view would fit, the view loses a quarter.
        """
        try:
            before = live.context.tokens
        except StoreError:
            return False
        if window is not None:
            self._room.learn_window(live, exchange.request, window)
        room = self._limit(exchange, live) if window else before
        fold_to_fit(live.context, room if room < before else before * 3 // 4)
        return live.context.tokens < before

    def learn(self, exchange: Exchange, live: LiveLane, plan: Plan, turn: Turn) -> None:
        """Learn from what the model reports how many tokens a view of this lane may have."""
        if exchange.mode != "off":
            own = self._toolset.wire if plan.managed else ()
            self._room.learn(live, exchange.request, turn, own=own)

    def _bare(self, exchange: Exchange, live: LiveLane) -> Plan:
        """Leave out our tools and what they said; the messages as they came, where these fit."""
        request, context = exchange.request, live.context
        context.steps = []
        least = self._room.of_view(live, request) if self._room.knows_window(live, request) else 0
        fits, view = self._room.original_tokens(request) <= least, context.view()
        call = model_request(request, None if fits or view.unchanged else view.messages)
        return self._passing(exchange, call, "tools-off; reason=window")

    def _plain(self, exchange: Exchange, status: str) -> Plan:
        """Let a request pass as it came."""
        return self._passing(exchange, model_request(exchange.request, None), status)

    def _passing(self, exchange: Exchange, call: ModelRequest, status: str) -> Plan:
        """Make one call and leave its answer as it is."""
        several = exchange.request.asks_several and isinstance(exchange.model, HttpModel)
        return Plan(status=status, call=call, several=several)

    def _is_offered(self, live: LiveLane, request: ClientRequest, mode: Mode) -> bool:
        """Tell whether our tools are offered, by what came and not by what is shown.

        What was folded to fit a small window has to be within the model's reach.
        """
        if mode == "on" or live.lane.admitted:
            return True
        return self._room.original_tokens(request) >= self._least(live, request)

    def _stand_down(self, live: LiveLane, request: ClientRequest) -> str | None:
        """Tell why our tools cannot be offered, or None."""
        reason = request.stand_down(self._toolset.names)
        return reason or (None if self._fits(live, request) else "window")

    def _fits(self, live: LiveLane, request: ClientRequest) -> bool:
        """Whether our tools leave half of the room to the view."""
        own = self._room.of_tools(request, self._toolset.wire)
        return 2 * own <= self._room.of_view(live, request)

    def _limit(self, exchange: Exchange, live: LiveLane) -> int:
        """Return how many tokens the view may have that a request is answered with."""
        request, room = exchange.request, self._room.of_view(live, exchange.request)
        if not self._is_offered(live, request, exchange.mode) or not self._fits(live, request):
            return room
        return room - self._room.of_tools(request, self._toolset.wire)

    def _refit(self, live: LiveLane, request: ClientRequest, context: Context) -> None:
        """Fold a view that the loop's own steps made too long."""
        own = self._room.of_tools(request, self._toolset.wire)
        fold_to_fit(context, self._room.of_view(live, request) - own)

    def _least(self, live: LiveLane, request: ClientRequest) -> int:
        """Return from how many tokens on a lane needs a context."""
        return min(self._admission_tokens, self._room.of_view(live, request))
