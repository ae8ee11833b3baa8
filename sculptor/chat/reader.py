"""Reading what an OpenAI-compatible upstream answers, streamed or whole, into one shape.

A ``ChunkReader`` takes the chunks of one answer and gives back what each adds, repaired: tool calls
are addressed properly (``calls.py``), ``function_call`` becomes a tool call, ``finish_reason`` says
``tool_calls`` if and only if there are some (a cut or filtered answer stays one). An answer without
``finish_reason`` and without ``[DONE]`` was cut off, and an error sent with status 200 is an error.
What only a loose reader takes for JSON is taken, and mended (``loose.py``).
Only the first choice is read; of the others nothing is needed and nothing breaks.
"""

from collections.abc import Callable
from typing import NoReturn

import orjson

from sculptor.chat.calls import CallAssembler, mint_call_id
from sculptor.chat.events import (
    Completed,
    Delta,
    ExtraDelta,
    JsonObject,
    TextDelta,
    Usage,
    read_usage,
)
from sculptor.chat.fields import join_fields, merge_fields
from sculptor.chat.loose import HalfJoiner, LooseObject, read_loosely
from sculptor.errors import UpstreamBroken, UpstreamStatus

_ANSWER_FIELDS = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error", "obfuscation"}
)
_CHOICE_FIELDS = frozenset({"index", "delta", "message", "finish_reason"})
_DELTA_FIELDS = frozenset({"role", "content", "tool_calls", "function_call"})
_FINISH_WORDS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "max_tokens": "length",
}


def parse_json(data: bytes) -> JsonObject:
    """Return the JSON object an upstream sent, mended where only a loose reader takes it.

    Raises ``UpstreamBroken`` where the bytes are no JSON object in UTF-8.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        value = read_loosely(data)
        if value is None:
            raise UpstreamBroken(f"The upstream sent what is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise UpstreamBroken("The upstream sent JSON that is not an object.")
    return value


class ChunkReader:
    """One streamed answer, read chunk by chunk; keeps its pieces and joins them once."""

    __slots__ = (
        "_calls",
        "_choice",
        "_created",
        "_extra",
        "_fields",
        "_finish",
        "_halves",
        "_id",
        "_is_done",
        "_model",
        "_news",
        "_parts",
        "_text",
        "_usage",
    )

    def __init__(self, *, new_call_id: Callable[[], str] = mint_call_id) -> None:
        self._text: list[str] = []
        self._parts: list[JsonObject] = []
        self._calls = CallAssembler(new_id=new_call_id)
        self._extra: JsonObject = {}
        self._choice: JsonObject = {}
        self._fields: JsonObject = {}
        self._news: JsonObject = {}
        self._halves = HalfJoiner()
        self._finish: str | None = None
        self._is_done = False
        self._usage: Usage | None = None
        self._id, self._model, self._created = "", "", 0

    @property
    def fields(self) -> JsonObject:
        """Top-level fields seen so far (``system_fingerprint``, ``service_tier``, ...)."""
        return self._fields

    @property
    def usage(self) -> Usage | None:
        """The usage reported so far."""
        return self._usage

    def feed(self, chunk: JsonObject) -> list[Delta]:
        """Take one chunk and return what it adds to the answer, in order.

        Raises ``UpstreamStatus`` or ``UpstreamBroken`` where the chunk reports an error.
        """
        choices = chunk.get("choices")
        self._read_answer_fields(chunk)
        if not isinstance(choices, list):
            return []
        halved = chunk.halved["choices"] if isinstance(chunk, LooseObject) else None
        deltas: list[Delta] = []
        for place, choice in enumerate(choices):
            if isinstance(choice, dict) and not choice.get("index"):
                if halved is not None or self._halves:
                    choice = self._joined(choice, choice if halved is None else halved[place])
                deltas.extend(self._read_choice(choice))
        if deltas and self._news:
            # With the first piece and not before it: alone they would begin the client's answer.
            deltas.insert(0, ExtraDelta(fields={}, answer=self._news))
            self._news = {}
        return deltas

    def done(self) -> list[Delta]:
        """Note that ``[DONE]`` came and return what is still owed to the answer."""
        self._is_done = True
        return [*self._owed_text(), *self._calls.close()]

    def complete(self) -> Completed:
        """Return the whole answer.

        Raises ``UpstreamBroken`` where the stream ended early: no ``finish_reason``, no ``[DONE]``.
        """
        if self._finish is None and not self._is_done:
            raise UpstreamBroken("The upstream's stream ended before the answer did.")
        self._calls.close()
        return Completed(
            message=self._message(),
            finish_reason=mend_finish_reason(self._finish, has_calls=bool(self._calls)),
            usage=self._usage,
            model=self._model,
            id=self._id,
            created=self._created,
            choice=join_fields(self._choice),
            fields=self._fields,
        )

    def _read_answer_fields(self, chunk: JsonObject) -> None:
        if chunk.get("error"):
            raise_error(chunk)
        if not self._id:
            self._id = _str(chunk.get("id"))
        if not self._model:
            self._model = _str(chunk.get("model"))
            created = chunk.get("created")
            self._created = created if isinstance(created, int) else 0
        usage = chunk.get("usage")
        if usage:
            self._usage = read_usage(usage)
        if not chunk.keys() <= _ANSWER_FIELDS:
            for key, value in chunk.items():
                known = key in _ANSWER_FIELDS or value is None
                if not known and self._fields.get(key) != value:
                    self._fields[key] = self._news[key] = value

    def _joined(self, choice: JsonObject, halved: JsonObject) -> JsonObject:
        delta = halved.get("delta")
        return {**choice, "delta": self._halves.join(delta)} if isinstance(delta, dict) else choice

    def _owed_text(self) -> list[Delta]:
        owed = self._halves.close()
        return [self._read_content(owed, None)] if owed else []

    def _read_choice(self, choice: JsonObject) -> list[Delta]:
        delta = choice.get("delta")
        if delta is None:  # some upstreams send the last piece as a whole message
            delta = choice.get("message")
        beside = _rest(choice, _CHOICE_FIELDS)
        if beside:
            self._choice.update({key: value for key, value in beside.items() if key != "logprobs"})
            merge_fields(self._choice, {"logprobs": beside.get("logprobs")})
        deltas = self._read_delta(delta, beside) if isinstance(delta, dict) else []
        if beside and not any(isinstance(item, TextDelta | ExtraDelta) for item in deltas):
            deltas.append(ExtraDelta(fields={}, choice=beside))
        finish = choice.get("finish_reason")
        if finish:
            if finish == "error":
                raise UpstreamBroken("The upstream broke off its answer with an error.")
            self._finish = _str(finish)
            deltas.extend([*self._owed_text(), *self._calls.close()])
        return deltas

    def _read_delta(self, delta: JsonObject, beside: JsonObject | None) -> list[Delta]:
        deltas: list[Delta] = []
        content = delta.get("content")
        if content:
            deltas.append(self._read_content(content, beside))
        if not delta.keys() <= _DELTA_FIELDS:
            extra = _rest(delta, _DELTA_FIELDS)
            if extra:
                merge_fields(self._extra, extra)
                deltas.append(ExtraDelta(fields=extra, choice=None if deltas else beside))
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            fed = [self._calls.feed(call) for call in calls if isinstance(call, dict)]
            deltas.extend(call for call in fed if call is not None)
        legacy = delta.get("function_call")
        if isinstance(legacy, dict):
            call = self._calls.feed({"index": 0, "function": legacy})
            deltas.extend([call] if call is not None else [])
        return deltas

    def _read_content(self, content: object, beside: JsonObject | None) -> Delta:
        if isinstance(content, str):
            self._text.append(content)
            return TextDelta(text=content, choice=beside)
        parts = content if isinstance(content, list) else [content]
        typed = [part for part in parts if isinstance(part, dict)]
        texts = [part["text"] for part in typed if isinstance(part.get("text"), str)]
        if len(texts) == len(parts) and all(part.get("type") == "text" for part in typed):
            return self._read_content("".join(texts), beside)
        if len(typed) != len(parts):
            raise UpstreamBroken("The upstream sent content that is neither text nor parts.")
        self._flush_text()
        self._parts.extend(typed)
        return ExtraDelta(fields={"content": typed}, choice=beside)

    def _flush_text(self) -> None:
        if self._text:
            self._parts.append({"type": "text", "text": "".join(self._text)})
            self._text.clear()

    def _message(self) -> JsonObject:
        content: str | list[JsonObject] | None = "".join(self._text)
        if self._parts:
            self._flush_text()
            content = list(self._parts)
        elif not content and (self._calls or self._extra):
            content = None
        message: JsonObject = {"role": "assistant", "content": content, **join_fields(self._extra)}
        if self._calls:
            message["tool_calls"] = self._calls.to_wire()
        return message


def read_completion(
    body: JsonObject, *, new_call_id: Callable[[], str] = mint_call_id
) -> Completed:
    """Return the answer that an upstream sent in one body, with the repairs of a streamed one.

    Raises ``UpstreamStatus`` or ``UpstreamBroken`` where the body is an error or no completion.
    """
    if body.get("error"):
        raise_error(body)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise UpstreamBroken("The upstream's answer has no choice with a message.")
    calls = _whole_calls(message, new_call_id)
    mended = {key: value for key, value in message.items() if key != "function_call"}
    mended.update(role="assistant", content=message.get("content"), tool_calls=calls)
    if not calls:
        del mended["tool_calls"]
    finish = choice.get("finish_reason")
    created = body.get("created")
    return Completed(
        message=mended,
        finish_reason=mend_finish_reason(_str(finish), has_calls=bool(calls)),
        usage=read_usage(body.get("usage")),
        model=_str(body.get("model")),
        id=_str(body.get("id")),
        created=created if isinstance(created, int) else 0,
        choice=_rest(choice, _CHOICE_FIELDS) or {},
        fields=_rest(body, _ANSWER_FIELDS) or {},
    )


def mend_finish_reason(reason: str | None, *, has_calls: bool) -> str:
    """Return the reason in the wire's own words, ``tool_calls`` if and only if there are calls.

    A cut (``length``) or filtered answer stays so: its last call may be half a call.
    """
    word = _FINISH_WORDS.get(reason or "", "stop")
    if has_calls and word == "stop":
        return "tool_calls"
    return "stop" if word == "tool_calls" and not has_calls else word


def raise_error(body: JsonObject) -> NoReturn:
    """Raise the error that a body with status 200 reports, under its own status where it has one.

    Raises ``UpstreamStatus`` for a body whose error has an HTTP code, else ``UpstreamBroken``.
    """
    error = body["error"]
    told = error if isinstance(error, dict) else {"message": error}
    for key in ("code", "status", "status_code"):
        status = told.get(key)
        if isinstance(status, int) and 400 <= status <= 599:
            raise UpstreamStatus(status, orjson.dumps({"error": told}))
    raise UpstreamBroken(f"The upstream reported an error: {told.get('message') or 'no message'}")


def _whole_calls(message: JsonObject, new_call_id: Callable[[], str]) -> list[JsonObject]:
    assembler = CallAssembler(new_id=new_call_id)
    calls = message.get("tool_calls")
    legacy = message.get("function_call")
    entries = list(calls) if isinstance(calls, list) else []
    if not entries and isinstance(legacy, dict):
        entries = [{"function": legacy}]
    # In one list every entry is a call of its own, so its place is its index.
    for place, entry in enumerate(entry for entry in entries if isinstance(entry, dict)):
        assembler.feed({**entry, "index": place})
    assembler.close()
    return assembler.to_wire()


def _rest(value: JsonObject, known: frozenset[str]) -> JsonObject | None:
    rest: JsonObject | None = None
    for key, item in value.items():
        if key not in known and item is not None:
            rest = {} if rest is None else rest
            rest[key] = item
    return rest


def _str(value: object) -> str:
    return value if isinstance(value, str) else ""
