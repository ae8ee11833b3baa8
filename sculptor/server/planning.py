"""How a request is answered: as it came, with the view in place of its messages, or by the loop.

Our tools are offered once a lane's view is long enough, and from then on; a request that the loop
cannot honour makes them stand down. A view longer than the window is folded to fit.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sculptor.errors import StoreError, UpstreamStatus
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
from sculptor.rendering import original_tokens
from sculptor.server.auth import Caller
from sculptor.server.backends import Backend, BoundModel, HttpModel
from sculptor.server.envelope import ApiError
from sculptor.server.limits import Place
from sculptor.server.live_lane import LaneName, LiveLane
from sculptor.server.settings import Settings
from sculptor.tokens import Calibration, TokenCounter
from sculptor.tools import toolset

Mode = Literal["off", "auto", "on"]
_RESERVED_ANSWER_TOKENS = 1_024
_CALIBRATED_LANES = 4_096
_UNKNOWN_TOKENIZER_RESERVE = 0.05
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


class Planner:
    """Decides, by the settings and by what a lane holds."""

    def __init__(
        self, settings: Settings, backend: Backend, counter_of: Callable[[str], TokenCounter]
    ) -> None:
        self._settings, self._counter_of = settings, counter_of
        self._backend = backend
        self._admission_tokens = settings.chosen_admission_tokens
        self._toolset = toolset(settings.toolset)
        self._calibrations: OrderedDict[tuple[LaneName, str], Calibration] = OrderedDict()
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
        return self._original_tokens(request) < least

    def plan(self, exchange: Exchange, live: LiveLane | None, trouble: str) -> Plan:
        """Decide how a request is answered; ``trouble``: why it has no lane, where it has none."""
        request, mode = exchange.request, exchange.mode
        if live is None:
            return self._plain(exchange, f"bypassed; reason={trouble}")
        if live.made is None:
            return self._plain(exchange, "off" if mode == "off" else "passthrough")
        reason = request.stand_down(self._toolset.names)
        offered = self._is_offered(live, request, mode)
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
        return live.made.tokens > self._room(live, exchange.request)

    def fit(self, live: LiveLane, request: ClientRequest) -> None:
        """Fold a view to fit the model's window."""
        fold_to_fit(live.context, self._room(live, request))

    def shorten(self, live: LiveLane, request: ClientRequest, window: int | None) -> bool:
        """Fold a view that the upstream found too long; tell whether it is shorter now.

        ``window`` is what the upstream says it takes, in its own tokens. Where it says nothing, or
        where by our count the view would fit, the view loses a quarter.
        """
        try:
            before = live.context.tokens
        except StoreError:
            return False
        room = self._room(live, request, window) if window else before
        fold_to_fit(live.context, room if room < before else before * 3 // 4)
        return live.context.tokens < before

    def learn(self, request: ClientRequest, live: LiveLane, plan: Plan, turn: Turn) -> None:
        """Hold our counts against what the model reports, for the next views of this lane alone.

        How many tokens a text is depends on its script too, so nobody else's text is asked.
        """
        context = live.made
        if context is None:
            return
        own = self._toolset.wire if plan.managed else ()
        wires = (*request.tool_wires, *own)
        beside = context.counter.count_parts(wire.decode() for wire in wires)
        slot = (live.name, request.model)
        known = self._calibrations.pop(slot, Calibration())
        for row in turn.billed:
            if row.tokens is not None:
                counted = (row.view_tokens or context.tokens) + beside
                known = known.observe(counted, reported_tokens=row.tokens.prompt_tokens)
        self._calibrations[slot] = known
        if len(self._calibrations) > _CALIBRATED_LANES:
            self._calibrations.popitem(last=False)

    def _plain(self, exchange: Exchange, status: str) -> Plan:
        """Let a request pass as it came."""
        return self._passing(exchange, model_request(exchange.request, None), status)

    def _passing(self, exchange: Exchange, call: ModelRequest, status: str) -> Plan:
        """Make one call and leave its answer as it is."""
        several = exchange.request.asks_several and isinstance(exchange.model, HttpModel)
        return Plan(status=status, call=call, several=several)

    def _is_offered(self, live: LiveLane, request: ClientRequest, mode: Mode) -> bool:
        """Tell whether our tools are offered, from now on, by what came and not by what is shown.

        What was folded to fit a small window has to be within the model's reach.
        """
        known = mode == "on" or live.lane.admitted
        if not known and self._original_tokens(request) < self._least(live, request):
            return False
        live.lane = replace(live.lane, admitted=True)
        return True

    def _original_tokens(self, request: ClientRequest) -> int:
        counter = self._counter_of(request.model)
        return sum(original_tokens(message, counter) for message in request.messages)

    def _least(self, live: LiveLane, request: ClientRequest) -> int:
        """Return from how many tokens on a lane needs a context."""
        return min(self._admission_tokens, self._room(live, request))

    def _room(self, live: LiveLane, request: ClientRequest, window: int | None = None) -> int:
        """Return how many tokens a view may have by our count, the answer's share left free.

        ``window``, in the model's own tokens, goes before what the settings and the backend say.
        """
        learned = self._calibrations.get((live.name, request.model), Calibration()).factor
        wanted, own = self._settings.window_tokens, self._backend.window_tokens
        if window is not None or own is None:
            counted = int((window or wanted) / learned)
        else:
            counted = min(wanted, int(own / max(learned, self._backend.tokens_per_counted)))
        asked = request.value.get("max_completion_tokens") or request.value.get("max_tokens")
        reserved = asked if isinstance(asked, int) else _RESERVED_ANSWER_TOKENS
        return int(counted * (1 - _UNKNOWN_TOKENIZER_RESERVE)) - min(reserved, counted // 2)


def declared_window(wanted_tokens: int, backend: Backend) -> int:
    """Return the window in the models' own tokens: the settings', and at most the backend's."""
    if backend.window_tokens is None:
        return wanted_tokens
    return min(int(wanted_tokens * backend.tokens_per_counted), backend.window_tokens)


def is_overflow(error: UpstreamStatus) -> bool:
    """Whether the upstream refused a request because it is longer than its window."""
    body = error.body.lower()
    return error.status in (400, 413) and any(word in body for word in _OVERFLOW_WORDS)


def told_window(error: UpstreamStatus) -> int | None:
    """Return the window that the upstream's message names, in tokens, or None."""
    found = _TOLD_WINDOW.search(error.body.decode(errors="replace").replace(",", ""))
    return int(found.group(1)) if found else None
