"""Whole states kept beside the log, and when to keep one.

A state is loaded from its nearest checkpoint and the operations after it. Two things are held at
once: keeping checkpoints costs the same per operation however long the history is, and loading
reads no more operations than the state has entries (or ``LEAST``, where it has few). Both follow
from one rule: a checkpoint is due once the changes since the last one outnumber the entries it
would hold, so that writing it is paid for by the changes that came before.
"""

from collections.abc import Sequence

import orjson

from sculptor.errors import StoreCorrupt
from sculptor.operations import Operation
from sculptor.state import Change, EntryKey, State, entry_from_json, entry_to_json
from sculptor.store.records import NodeId, SessionId, StoredOperation, TenantId

LEAST = 64
"""Fewer changes than this never make a checkpoint due."""


def dump_state(state: State) -> bytes:
    """Return a state as JSON; equal states give equal bytes."""
    entries = {key: entry_to_json(entry) for key, entry in state.entries.items()}
    return orjson.dumps(entries, option=orjson.OPT_SORT_KEYS)


def load_state(body: bytes) -> State:
    """Read what ``dump_state`` wrote.

    Raises:
        StoreCorrupt: the bytes are no state.
    """
    try:
        entries = {EntryKey(key): entry_from_json(v) for key, v in orjson.loads(body).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreCorrupt(f"a checkpoint cannot be read ({error})") from error
    return State().after(Change(key, None, entry) for key, entry in entries.items())


class Checkpoints:
    """Counts what one line of versions has changed since its last checkpoint.

    ``since``: operations since then, as ``Store.since_checkpoint`` tells for the version to go on
    from.
    """

    def __init__(self, since: int = 0) -> None:
        self.changes = since

    def records(
        self,
        operations: Sequence[Operation],
        state: State,
        *,
        tenant: TenantId,
        session: SessionId,
        node: NodeId,
    ) -> list[StoredOperation]:
        """Return the records of new operations; ``state`` is the state after the last of them.

        The last record carries a checkpoint where one is due.
        """
        if not operations:
            return []
        checkpoint = dump_state(state) if self._is_due(operations, state) else None
        bodies = [*[None] * (len(operations) - 1), checkpoint]
        return [
            StoredOperation(
                tenant=tenant, session=session, node=node, operation=operation, checkpoint=body
            )
            for operation, body in zip(operations, bodies, strict=True)
        ]

    def _is_due(self, operations: Sequence[Operation], state: State) -> bool:
        self.changes += sum(max(1, len(operation.changes)) for operation in operations)
        due = self.changes >= max(LEAST, len(state.entries))
        if due:
            self.changes = 0
        return due
