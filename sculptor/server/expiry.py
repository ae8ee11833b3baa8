"""Sessions that nobody used for long are deleted: once at start, then every hour."""

import asyncio
import time
from collections.abc import Iterable

import structlog

from sculptor.errors import StoreError
from sculptor.store.protocol import Store
from sculptor.store.records import DeleteSession, TenantId

log = structlog.get_logger("sculptor")

_EVERY_S = 3_600.0
_DAY_S = 86_400.0


def expire(store: Store, tenants: Iterable[TenantId], *, days: float, now: float) -> int:
    """Delete the sessions last used more than ``days`` ago; return how many."""
    oldest = now - days * _DAY_S
    count = 0
    for tenant in tenants:
        for name in store.unused_since(tenant, oldest):
            session = store.session(tenant, name)
            if session is None or session.used >= oldest:
                continue  # used again since the list was made
            store.write([DeleteSession(tenant=tenant, id=name)]).result()
            count += 1
    return count


async def keep_expiring(store: Store, tenants: Iterable[TenantId], *, days: float) -> None:
    """Expire sessions until cancelled."""
    named = tuple(tenants)
    while True:
        try:
            count = await asyncio.to_thread(expire, store, named, days=days, now=time.time())
        except StoreError as error:
            log.warning("expiry.failed", error=str(error))
        else:
            if count:
                log.info("sessions.expired", count=count)
        await asyncio.sleep(_EVERY_S)
