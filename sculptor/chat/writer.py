"""Writing a chat completion to the client, streamed or whole, strictly as the wire says.

All chunks of one answer bear the same ``id``, ``created`` and ``model``. The role comes once, in
the first chunk; tool calls have dense indexes over the calls the client sees, id and name once;
the upstream's top-level fields stand in every chunk from where they came;
``finish_reason`` stands in the one final choice chunk, whose delta is empty. ``usage`` is null in
every chunk and then in one of its own, if the client asked for it; else there is none at all.
"""

from collections.abc import Mapping

import orjson

from sculptor.chat.events import Completed, ExtraDelta, JsonObject, TextDelta, ToolCallDelta, Usage
from sculptor.chat.reader import mend_finish_reason

DONE = b"data: [DONE]\n\n"
_OWN_CHOICE_FIELDS = frozenset({"index", "delta", "message", "finish_reason"})


class ChunkWriter:
    """The frames of one streamed answer, as bytes ready to send."""

    __slots__ = (
        "_calls",
        "_emitted_calls",
        "_end",
        "_fields",
        "_head",
        "_is_begun",
        "_own",
        "_text_end",
        "_usage",
    )

    def __init__(
        self,
        *,
        id: str,
        created: int,
        model: str,
        include_usage: bool = False,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        self._own = {
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._fields = dict(fields or {})
        self._head = self._opening()
        self._end = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._text_end = b'},"logprobs":null,"finish_reason":null}' + self._end
        self._usage = include_usage
        self._is_begun = False
        self._calls: dict[int, int] = {}
        self._emitted_calls = 0

    def text(self, delta: TextDelta) -> bytes:
        """Return the frame of a piece of text."""
        if delta.choice is None and self._is_begun:
            text = orjson.dumps(delta.text)
            return b"".join((self._head, b'{"index":0,"delta":{"content":', text, self._text_end))
        return self._role("") + self._choice({"content": delta.text}, delta.choice)

    def extra(self, delta: ExtraDelta) -> bytes:
        """Return the frame of fields of other kinds, as they came.

        Fields of the answer have no frame of their own: they go with all that follow.
        """
        if delta.answer:
            self._fields.update(delta.answer)
            self._head = self._opening()
        if not delta.fields and delta.choice is None:
            return b""
        return self._role("") + self._choice(delta.fields, delta.choice)

    def tool_call(self, delta: ToolCallDelta) -> bytes:
        """Return the frame of a piece of a client's tool call, under its dense index."""
        body = "input" if delta.kind == "custom" else "arguments"
        if delta.id is not None:
            self._calls[delta.index] = self._emitted_calls
            self._emitted_calls += 1
            call: JsonObject = {
                "index": self._calls[delta.index],
                "id": delta.id,
                "type": delta.kind,
                delta.kind: {"name": delta.name, body: delta.arguments},
            }
        else:
            call = {"index": self._calls[delta.index], delta.kind: {body: delta.arguments}}
        call.update(delta.fields or {})
        return self._role(None) + self._choice({"tool_calls": [call]}, None)

    def delta(self, delta: TextDelta | ToolCallDelta | ExtraDelta) -> bytes:
        """Return the frame of any delta."""
        if isinstance(delta, TextDelta):
            return self.text(delta)
        return self.tool_call(delta) if isinstance(delta, ToolCallDelta) else self.extra(delta)

    def finish(self, reason: str, *, fields: Mapping[str, object] | None = None) -> bytes:
        """Return the final choice chunk; ``fields`` go to the top level of this one chunk.

        The reason is mended to ``tool_calls`` if and only if calls were written.
        """
        if fields and not self._fields.keys().isdisjoint(fields):
            # Ours stand in for the upstream's of the same name, which is a sculptor of its own.
            self._fields = {key: item for key, item in self._fields.items() if key not in fields}
            self._head = self._opening()
        word = mend_finish_reason(reason, has_calls=self._emitted_calls > 0)
        return self._role("") + self._choice({}, None, finish_reason=word, fields=fields)

    def usage(self, usage: Usage) -> bytes:
        """Return the usage chunk, or nothing where the client did not ask for one."""
        if not self._usage:
            return b""
        return self._head + b'],"usage":' + orjson.dumps(usage.to_wire()) + b"}\n\n"

    def _opening(self) -> bytes:
        return b"data: " + orjson.dumps({**self._own, **self._fields})[:-1] + b',"choices":['

    def _role(self, content: str | None) -> bytes:
        if self._is_begun:
            return b""
        self._is_begun = True
        return self._choice({"role": "assistant", "content": content}, None)

    def _choice(
        self,
        delta: JsonObject,
        beside: JsonObject | None,
        *,
        finish_reason: str | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> bytes:
        choice: JsonObject = {"index": 0, "delta": delta, "logprobs": None, **(beside or {})}
        choice["finish_reason"] = finish_reason
        end = self._end
        if fields:
            end = b"]," + orjson.dumps(dict(fields))[1:-1] + end[1:]
        return self._head + orjson.dumps(choice) + end


def format_completion(
    completed: Completed,
    *,
    id: str,
    created: int,
    model: str,
    usage: Usage | None = None,
    fields: Mapping[str, object] | None = None,
) -> bytes:
    """Return the body of an answer that is sent whole.

    ``usage`` stands in for the answer's own; ``fields`` are added at the top level.
    """
    beside = {key: item for key, item in completed.choice.items() if key not in _OWN_CHOICE_FIELDS}
    reported = usage or completed.usage
    body = {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        **completed.fields,
        "choices": [
            {
                "index": 0,
                "message": {"refusal": None, **completed.message},
                "logprobs": None,
                **beside,
                "finish_reason": completed.finish_reason,
            }
        ],
        **({"usage": reported.to_wire()} if reported else {}),
        **(fields or {}),
    }
    return orjson.dumps(body)


def format_error_frame(envelope: bytes) -> bytes:
    """Return the frame that ends a cut answer: the error envelope, and no ``[DONE]`` after it."""
    return b"data: " + envelope + b"\n\n"
