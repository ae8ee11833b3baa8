"""A lane while a request works on it."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from sculptor.context import Context
from sculptor.errors import OperationNotFound, StaleHead
from sculptor.messages import MessageHash
from sculptor.operations import Operation, VersionId, operation_id
from sculptor.server.identity import Placed
from sculptor.store.checkpoints import Checkpoints
from sculptor.store.protocol import Store
from sculptor.store.records import Head, Lane, Node, NodeId, Record, Session

LaneName = tuple[str, str, str]
"""Tenant, session and lane."""


class StoredLog:
    """A lane's operations, read from the store when they are asked for."""

    def __init__(self, store: Store, session: Session, version: VersionId, depth: int) -> None:
        self._store, self._session = store, session
        self._version, self._depth = version, depth
        self._new: dict[int, Operation] = {}

    def get(self, depth: int) -> Operation:
        """Return the operation at ``depth`` (from 1); raise OperationNotFound."""
        found = self._new.get(depth)
        if found is None and 0 < depth <= self._depth:
            found = self._store.operation_at(
                self._session.tenant, self._session.id, self._version, depth
            )
        if found is None:
            raise OperationNotFound(operation_id(depth))
        return found

    def append(self, operation: Operation) -> None:
        """Add the newest operation."""
        self._new[operation.depth] = operation


@dataclass(slots=True, kw_only=True)
class LiveLane:
    """One lane at work. ``nodes`` are those of the present turn, by index in the client's list.

    ``opening`` is what the request brought; its last record moves the lane's head, and where that
    loses a race the rest is written again for a branch. ``build`` makes the context, once somebody
    asks for it: a short request that passes as it came never does. ``is_lost``: a write failed, and
    nothing more of it is written, for what came after would stand on what is missing. ``height``:
    how many nodes the path to ``node`` holds. ``spellings``: see ``KeptLanes``. ``instructions``:
    the request's system messages, by index in its list.
    """

    session: Session
    lane: Lane
    expected: Head
    node: Node
    nodes: dict[int, NodeId]
    placed: Placed | None
    build: "Callable[[LiveLane], Context]"
    made: Context | None = None
    opening: list[Record] = field(default_factory=list)
    written: "Future[None] | None" = None
    sequence: int = 0
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    height: int = 0
    sent: tuple[MessageHash, ...] = ()
    spellings: int = 0
    instructions: tuple[tuple[int, MessageHash], ...] = ()
    is_lost: bool = False

    @property
    def is_stored(self) -> bool:
        """Whether every write of it went well, as far as is known by now."""
        if self.is_lost or self.written is None or not self.written.done():
            return not self.is_lost
        error = self.written.exception()
        return error is None or isinstance(error, StaleHead)

    @property
    def context(self) -> Context:
        """The lane's context.

        Raises:
            StoreError: its state cannot be read.
        """
        if self.made is None:
            self.made = self.build(self)
        return self.made

    @property
    def version(self) -> VersionId:
        """The version that is in force."""
        return self.lane.version if self.made is None else self.made.version

    @property
    def depth(self) -> int:
        """How many operations led to it."""
        return self.lane.depth if self.made is None else self.made.depth

    @property
    def name(self) -> LaneName:
        """Where the lane is kept in memory."""
        return (self.lane.tenant, self.lane.session, self.lane.id)
