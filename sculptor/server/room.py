"""How many tokens a view may have: the model's window, less all that goes beside the view.

How many of a model's own tokens one of ours is, is learned from what it reports, by lane.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sculptor.errors import UpstreamStatus
from sculptor.loop import ClientRequest, Turn, view_room
from sculptor.rendering import original_tokens
from sculptor.server.backends import Backend
from sculptor.server.live_lane import LaneName, LiveLane
from sculptor.server.settings import Settings
from sculptor.tokens import LEAST_TELLING_TOKENS, Calibration, TokenCounter

_KNOWN_LANES = 4_096
_OVERFLOW_WORDS = (b"context_length_exceeded", b"maximum context length", b"context window")
_TOLD_WINDOW = re.compile(r"(?:maximum context length|context window)\D{0,40}?(\d{3,8})", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What one model told of itself in one lane: its tokens, and its window where it named it."""

    calibration: Calibration = field(default_factory=Calibration)
    window: int | None = None


class Room:
    """Tells and learns how many tokens views may have, by our count."""

    def __init__(
        self, settings: Settings, backend: Backend, counter_of: Callable[[str], TokenCounter]
    ) -> None:
        self._settings, self._backend, self._counter_of = settings, backend, counter_of
        self._known: OrderedDict[tuple[LaneName, str], _Known] = OrderedDict()

    @property
    def is_soft(self) -> bool:
        """Whether a view may be somewhat longer than the window: a model here has no wall there."""
        return self._backend.window_tokens is not None

    def of_view(self, live: LiveLane, request: ClientRequest) -> int:
        """Return how many tokens a view may have beside the answer and the client's tools."""
        known = self._known.get((live.name, request.model), _Known())
        wanted, own = self._settings.window_tokens, self._backend.window_tokens
        learned = known.calibration.factor
        if own is None:
            counted = int((known.window or wanted) / learned)
        else:
            counted = min(wanted, int(own / max(learned, self._backend.tokens_per_counted)))
        beside = 0 if self.is_soft else self._counter_of(request.model).count(request.tools_text)
        return view_room(counted, request, beside_tokens=beside)

    def of_tools(self, request: ClientRequest, wires: Sequence[bytes]) -> int:
        """Return how many tokens of a view's room definitions of our tools take."""
        return 0 if self.is_soft else self._counted(request, wires)

    def original_tokens(self, request: ClientRequest) -> int:
        """Count what a client sent."""
        counter = self._counter_of(request.model)
        return sum(original_tokens(message, counter) for message in request.messages)

    def learn(
        self, live: LiveLane, request: ClientRequest, turn: Turn, *, own: Sequence[bytes]
    ) -> None:
        """Hold our counts against what the model reports, for the next views of this lane alone.

        How many tokens a text is depends on its script too, so nobody else's text is asked. ``own``
        are the definitions of our tools, where these were offered.
        """
        told = [(row.tokens, row.view_tokens) for row in turn.billed if row.tokens is not None]
        if max((tokens.prompt_tokens for tokens, _ in told), default=0) < LEAST_TELLING_TOKENS:
            return
        shown = self.original_tokens(request) if live.made is None else live.made.tokens
        beside = self._counter_of(request.model).count(request.tools_text)
        beside += self._counted(request, own)
        known = self._take(live, request)
        for tokens, view_tokens in told:
            counted = (view_tokens or shown) + beside
            made = known.calibration.observe(counted, reported_tokens=tokens.prompt_tokens)
            known = replace(known, calibration=made)
        self._put(live, request, known)

    def learn_window(self, live: LiveLane, request: ClientRequest, window: int) -> None:
        """Go by a window that the upstream named, in its own tokens, instead of the settings'."""
        self._put(live, request, replace(self._take(live, request), window=window))

    def knows_window(self, live: LiveLane, request: ClientRequest) -> bool:
        """Whether the upstream named its window in this lane."""
        return self._known.get((live.name, request.model), _Known()).window is not None

    def _take(self, live: LiveLane, request: ClientRequest) -> _Known:
        return self._known.pop((live.name, request.model), _Known())

    def _put(self, live: LiveLane, request: ClientRequest, known: _Known) -> None:
        self._known[live.name, request.model] = known
        if len(self._known) > _KNOWN_LANES:
            self._known.popitem(last=False)

    def _counted(self, request: ClientRequest, wires: Sequence[bytes]) -> int:
        return self._counter_of(request.model).count_parts(wire.decode() for wire in wires)


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
