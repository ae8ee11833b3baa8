"""Answers of several choices (``n > 1``): relayed as they come, and read beside for the store.

Our tools stand down for them, since a loop has one answer; the client gets every choice untouched.
What stands around the choices is ours, as in every other answer: an id, a time and the model's name
as the client asked for it, the same in all chunks.
"""

from collections.abc import Mapping

import orjson

from sculptor.chat import ChunkReader, Completed, parse_json, read_completion
from sculptor.errors import UpstreamBroken
from sculptor.loop import ModelRequest
from sculptor.server.backends import HttpModel
from sculptor.server.event_stream import EventStream


class Choices:
    """Reads the choices of one answer, each as an answer of its own."""

    def __init__(self) -> None:
        self._readers: dict[int, ChunkReader] = {}

    def feed(self, chunk: Mapping[str, object]) -> None:
        """Take in one chunk."""
        listed = chunk.get("choices")
        for choice in listed if isinstance(listed, list) else []:
            if isinstance(choice, dict):
                reader = self._readers.setdefault(int(choice.get("index") or 0), ChunkReader())
                reader.feed({**chunk, "choices": [{**choice, "index": 0}]})

    def done(self) -> None:
        """Note that the stream ended as it should."""
        for reader in self._readers.values():
            reader.done()

    def completed(self) -> list[Completed]:
        """Return the answers, by index; raises ``UpstreamBroken`` where one did not end."""
        return [self._readers[index].complete() for index in sorted(self._readers)]


async def read_whole(
    model: HttpModel, request: ModelRequest, head: Mapping[str, object]
) -> tuple[bytes, list[Completed]]:
    """Return the upstream's body with the members of ``head`` in it, and its choices."""
    with await model.open(request) as response:
        value = parse_json(await response.read())
    listed = value.get("choices")
    if not isinstance(listed, list) or not listed:
        read_completion(value)
        raise UpstreamBroken("The upstream's answer has no choices.")
    body = orjson.dumps({**value, **head})
    return body, [read_completion({**value, "choices": [choice]}) for choice in listed]


async def relay_stream(
    model: HttpModel, request: ModelRequest, out: EventStream, head: Mapping[str, object]
) -> list[Completed]:
    """Pass every frame on with ``head`` in it and return the choices; the end is not sent."""
    choices = Choices()
    with await model.open(request) as response:
        while frames := await response.next_frames():
            for frame in frames:
                if frame.strip() == b"[DONE]":
                    choices.done()
                    return choices.completed()
                chunk = parse_json(frame)
                choices.feed(chunk)
                await out.write(b"data: " + orjson.dumps({**chunk, **head}) + b"\n\n")
    return choices.completed()
