"""Upstreams that take no tools: how their refusals are told, and for how long one is remembered.

No two servers use the same words, so a request that held our tools is asked once more without them
after any refusal that these may have caused. The words count only for what is remembered.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

REFUSED = "tools-off; reason=refused"
"""What a client is told of an answer given without our tools, since the upstream refused them."""

REMEMBERED_S = 600.0
"""So long our tools stay away; an operator may switch them on in an upstream at any time."""

_STATUSES = frozenset({400, 404, 405, 422, 501})
_WORDS = re.compile(rb"tool|function.?call", re.IGNORECASE)


def may_refuse_tools(status: int, body: bytes) -> bool:
    """Whether an error may be due to the tools of a request.

    llama.cpp says so with a 500, a status that else means trouble which no other request mends.
    """
    return status in _STATUSES or (status == 500 and speaks_of_tools(body))


def speaks_of_tools(body: bytes) -> bool:
    """Whether the text of an error names tools as what is wrong."""
    return _WORDS.search(body) is not None


class ToolRefusals:
    """Where tools were refused lately, so that not every request is sent twice.

    The names are the caller's; the oldest leave first. Safe to use from several threads.
    """

    def __init__(self, *, limit: int = 4_096, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._until: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = Lock()

    def note(self, name: Hashable) -> None:
        """Remember a refusal."""
        with self._lock:
            self._until.pop(name, None)
            self._until[name] = self._clock() + REMEMBERED_S
            if len(self._until) > self._limit:
                self._until.popitem(last=False)

    def __contains__(self, name: Hashable) -> bool:
        with self._lock:
            return self._clock() < self._until.get(name, float("-inf"))

    def __len__(self) -> int:
        return len(self._until)
