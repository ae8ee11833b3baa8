"""The scripted backend as a model of the loop: requests in, deltas and a whole answer out."""

from collections.abc import AsyncIterator, Iterator

from sculptor.chat import Completed, Delta
from sculptor.loop import ModelRequest
from sculptor.server.request_rules import parse_request
from sculptor.server.scripted.dispatch import decide, model_name
from sculptor.server.scripted.prompt import read_prompt
from sculptor.server.scripted.reply import complete, deltas
from sculptor.tokens import TokenCounter

_LARGE_BYTES = 100_000
"""A request past this is answered in a worker thread, so that others are not held up."""


class ScriptedModel:
    """Deterministic policies behind the ``Model`` protocol; no language model.

    It reads each request's bytes and nothing else: not the context, not earlier requests. The same
    request is always answered alike, under a model name that begins with ``scripted``.
    """

    def __init__(self, *, counter: TokenCounter | None = None) -> None:
        self._counter = counter or TokenCounter()

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta | Completed]:
        """Answer a request, piece by piece."""
        if len(request.body) < _LARGE_BYTES:
            completed = self.complete(request)
        else:
            import anyio.to_thread

            completed = await anyio.to_thread.run_sync(self.complete, request)
        for delta in deltas(completed):
            yield delta
        yield completed

    def events(self, request: ModelRequest) -> Iterator[Delta | Completed]:
        """Answer a request, piece by piece, for programs that block."""
        completed = self.complete(request)
        yield from deltas(completed)
        yield completed

    def complete(self, request: ModelRequest) -> Completed:
        """Return the whole answer to a request.

        Raises:
            ApiError: the body is no chat completion request, or asks what cannot be.
        """
        body = parse_request(request.body)
        return complete(
            decide(read_prompt(body)),
            request.body,
            body,
            model=model_name(str(body.get("model") or "")),
            counter=self._counter,
        )
