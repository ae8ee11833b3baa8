"""Whether the store takes writes, as those who watch the server are told.

A failed write is remembered until one succeeds. While it is, each request waits for its own first
write before anything is made of it, and ``/readyz`` tries a write of its own, so that a server that
is sent no requests any more still finds out that its disk has room again. A healthy store is asked
nothing.
"""

from threading import Lock

from sculptor.errors import StaleHead, StoreCorrupt
from sculptor.store.protocol import Store
from sculptor.store.records import DeleteSession, Session, SessionId, TenantId

_PROBE_TENANT = TenantId("")
_PROBE_SESSION = SessionId("probe")
_PROBE_BYTES = 64 * 1024
"""A write as large as this must have room, so that a few free bytes are no recovery."""


class StoreHealth:
    """The health of one store; ``trouble`` says why writes fail, and is empty while they do not."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, Lock()
        self.trouble = ""

    def failed(self, error: BaseException) -> None:
        """Remember a failure; a lost race is none, and damage to one session is told there."""
        if not isinstance(error, StaleHead | StoreCorrupt):
            self.trouble = str(error)

    def worked(self) -> None:
        """Remember that a write went well."""
        self.trouble = ""

    def check(self) -> str:
        """Return why writes fail, having tried one if the last failed; this may wait for it."""
        if not self.trouble or not self._lock.acquire(blocking=False):
            return self.trouble
        try:
            self._probe()
        finally:
            self._lock.release()
        return self.trouble

    def _probe(self) -> None:
        seed = bytes(_PROBE_BYTES)
        made = Session(tenant=_PROBE_TENANT, id=_PROBE_SESSION, seed=seed, created=0, used=0)
        gone = DeleteSession(tenant=_PROBE_TENANT, id=_PROBE_SESSION)
        error = self._store.write([made, gone]).exception()
        if error is None:
            self.worked()
        else:
            self.failed(error)
