"""A request's body, read and counted; what takes long goes to a thread, so that others go on."""

import asyncio

from sculptor.loop import ClientRequest, MessageCache, check_request, read_request
from sculptor.server.backends import Backend
from sculptor.server.bodies import parse_body, parse_loosely
from sculptor.server.envelope import ApiError
from sculptor.server.lanes import Lanes
from sculptor.server.settings import Settings

_LONG_BODY_BYTES = 1_000_000
_LONG_TEXT_BYTES = 50_000
_TOLD_LOOSELY = ("model", "stream", "stream_options", "n")


class RequestReader:
    """Reads bodies; messages that come again are not parsed again."""

    def __init__(self, settings: Settings, lanes: Lanes, backend: Backend) -> None:
        self._settings, self._lanes, self._backend = settings, lanes, backend
        self._messages = MessageCache()

    async def read(self, body: bytes, *, counted: bool) -> ClientRequest:
        """Read a body, and count its text where it will be ``counted``.

        Reading is fast and counting is not: only text that was never counted makes a request slow.
        """
        if len(body) > _LONG_BODY_BYTES:
            request = await asyncio.to_thread(self._read, body)
        else:
            request = self._read(body)
        if counted:
            await self.count_new(request)
        return request

    async def count_new(self, request: ClientRequest) -> None:
        """Count long text that nobody counted yet in a thread; short text is counted where used."""
        if self._lanes.uncounted_bytes(request) > _LONG_TEXT_BYTES:
            await asyncio.to_thread(self._lanes.count, request)

    def _read(self, body: bytes) -> ClientRequest:
        try:
            value = parse_body(body)
        except ApiError:
            # Without messages: what we cannot read passes as it came, for the upstream to judge.
            loose = parse_loosely(body)
            if loose is None or self._settings.strict or self._backend.upstream is None:
                raise
            told = {name: loose[name] for name in _TOLD_LOOSELY if name in loose}
            return ClientRequest(body=body, value=told, messages=(), places={})
        return check_request(read_request(body, self._messages, value))
