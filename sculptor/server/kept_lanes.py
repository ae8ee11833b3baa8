"""Lanes between two requests, in memory: what makes the next request of one cheap.

Whatever is kept here can be read from the store, so dropping it costs time and nothing else. A
context is taken out while a request uses it, so that no two share one.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from sculptor.context import Context
from sculptor.messages import Message, MessageHash
from sculptor.operations import VersionId
from sculptor.server.live_lane import LaneName, LiveLane
from sculptor.store.checkpoints import Checkpoints
from sculptor.store.records import NodeId, SessionId, TenantId

_LANES = 256
_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES, _HASH_BYTES = 2_048, 64
"""About what a lane kept in memory takes, and one hash in it."""


class Kept(NamedTuple):
    """A lane as its last request left it: ``sent`` are the messages of its list, by their bytes.

    They are what came last only while nobody respelled a message since, as ``spellings`` tells.
    """

    version: VersionId
    context: Context | None
    checkpoints: Checkpoints
    size_bytes: int
    node: NodeId
    height: int
    sent: tuple[MessageHash, ...]
    spellings: int

    def context_for(self, messages: Sequence[Message], version: VersionId) -> Context | None:
        """Return the context where it is of this version and these messages begin with its own."""
        context = self.context
        if context is None or self.version != version or len(context.messages) > len(messages):
            return None
        pairs = zip(context.messages, messages, strict=False)
        return context if all(a is b or a.hash == b.hash for a, b in pairs) else None


class KeptLanes:
    """The lanes used last, up to a number and a size.

    ``spellings`` counts how often a node that lanes may share got messages in other bytes.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[LaneName, Kept] = OrderedDict()
        self._bytes = 0
        self.spellings = 0

    def look(self, name: LaneName) -> Kept | None:
        """Return what is kept of a lane, and leave it there."""
        return self._kept.get(name)

    def take(self, name: LaneName) -> Kept | None:
        """Return what is kept of a lane, and keep it no more."""
        found = self._kept.pop(name, None)
        if found is not None:
            self._bytes -= found.size_bytes
        return found

    def drop_session(self, tenant: TenantId, session: SessionId) -> None:
        """Keep nothing more of a session."""
        for name in [name for name in self._kept if name[:2] == (tenant, session)]:
            self.take(name)

    def put(self, live: LiveLane) -> None:
        """Keep a lane whose request is answered; what was used longest ago makes room."""
        before, context = self.take(live.name), live.made
        if context is None and before is not None and before.version == live.lane.version:
            context, live.checkpoints = before.context, before.checkpoints
        size = _ENTRY_BYTES + _HASH_BYTES * len(live.sent)
        if context is not None:
            context.steps = []
            size += sum(len(message.wire) for message in context.messages)
        self._kept[live.name] = Kept(
            live.lane.version,
            context,
            live.checkpoints,
            size,
            live.node.id,
            live.height,
            live.sent,
            live.spellings,
        )
        self._bytes += size
        while len(self._kept) > _LANES or (self._bytes > _BYTES and len(self._kept) > 1):
            self._bytes -= self._kept.popitem(last=False)[1].size_bytes
