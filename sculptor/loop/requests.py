"""The client's request, and the requests that the loop makes of it.

The body is kept as bytes; a request of ours differs from it only in the members that must differ:
the messages (where the view does), the tools (ours after the client's, in a fixed order, with the
same bytes every time), and for the last call of an exhausted turn the tool choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Literal

import orjson

from sculptor.errors import InvalidMessage
from sculptor.loop.pairing import check_shape, pair_up
from sculptor.messages import Message, parse_message
from sculptor.spans import Span, elements, members_and_elements, splice, with_member

StandDown = Literal["n", "tools", "tool_choice", "tool_name"]
"""Why our tools cannot be offered in a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """A chat completion request as it came: its bytes, and what of it the loop must know.

    ``places`` tells where in the body each of its members lies. Where ``is_paired`` is false its
    calls and results are repaired in each request made of it, and there alone.
    """

    body: bytes
    value: dict[str, Any]
    messages: tuple[Message, ...]
    places: Mapping[str, Span]
    is_paired: bool = True

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""
        return bool(self.value.get("stream"))

    @property
    def include_usage(self) -> bool:
        """Whether the client asked for a usage chunk."""
        options = self.value.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.value.get("model") or "")

    @property
    def client_tools(self) -> Sequence[dict[str, Any]]:
        """The client's own tool definitions."""
        tools = self.value.get("tools")
        return tools if isinstance(tools, list) else ()

    @property
    def tools_text(self) -> str:
        """The same as they came, in one piece; empty where there are none."""
        if not self.client_tools:
            return ""
        span = self.places["tools"]
        return self.body[span.start : span.end].decode()

    @property
    def asks_several(self) -> bool:
        """Whether more than one choice is asked for."""
        count = self.value.get("n")
        return isinstance(count, int) and count > 1

    def stand_down(self, names: frozenset[str]) -> StandDown | None:
        """Tell why tools with these names cannot be offered here, or None."""
        if self.asks_several:
            return "n"
        if not isinstance(self.value.get("tools") or [], list):
            return "tools"  # the upstream says what is wrong with them
        if any(_tool_name(tool) in names for tool in self.client_tools):
            return "tool_name"
        choice = self.value.get("tool_choice")
        forced = isinstance(choice, dict) or choice == "none"
        if forced or (choice == "required" and not self.client_tools):
            return "tool_choice"
        return None

    @property
    def forwards_choice(self) -> bool:
        """Whether the tool choice is the client's own business, our definitions staying in place.

        They stay so that the provider's cache of the prefix holds.
        """
        choice = self.value.get("tool_choice")
        return isinstance(choice, dict) or choice == "none"


_MESSAGE_OVERHEAD_BYTES = 3_072
"""What a parsed message takes besides its wire bytes and its text."""


class MessageCache:
    """Messages read before, by their bytes, up to about a size in memory; the oldest leave first.

    They are looked up by the bytes themselves, which costs less than a digest of them. Long
    requests are read in threads, so the books are kept under a lock; reading itself is not.
    """

    def __init__(self, limit_bytes: int = 32 * 1024 * 1024) -> None:
        self._limit, self._bytes = limit_bytes, 0
        self._messages: dict[bytes, Message] = {}
        self._lock = Lock()

    def read(self, wire: bytes, value: Any, where: str) -> Message:
        """Return the message with these bytes, from the cache or read anew."""
        with self._lock:
            found = self._messages.pop(wire, None)
            if found is not None:
                self._messages[found.wire] = found
                return found
        made = parse_message(wire, value, where)
        with self._lock:
            if self._messages.setdefault(made.wire, made) is made:
                self._bytes += _size_bytes(made)
            while self._bytes > self._limit and len(self._messages) > 1:
                self._bytes -= _size_bytes(self._messages.pop(next(iter(self._messages))))
        return made


def _size_bytes(message: Message) -> int:
    return 2 * len(message.wire) + _MESSAGE_OVERHEAD_BYTES


def read_request(body: bytes, cache: MessageCache, value: Any = None) -> ClientRequest:
    """Read a chat completion request; ``value`` is the parsed body where the caller has it.

    Raises:
        InvalidMessage: it is no object, or its messages are missing or malformed.
    """
    value = orjson.loads(body) if value is None else value
    if not isinstance(value, dict):
        raise InvalidMessage("The body must be a JSON object.")
    listed = value.get("messages")
    if not isinstance(listed, list):
        raise InvalidMessage("messages must be a list of messages.", "messages")
    if not listed:
        raise InvalidMessage("messages must hold at least one message.", "messages")
    places, spans = members_and_elements(body, body.index(b"{"), "messages")
    messages = tuple(
        cache.read(body[span.start : span.end], item, f"messages[{index}]")
        for index, (span, item) in enumerate(zip(spans, listed, strict=True))
    )
    return ClientRequest(body=body, value=value, messages=messages, places=places)


def check_request(request: ClientRequest) -> ClientRequest:
    """Return the request with ``is_paired`` told.

    Raises:
        InvalidMessage: no upstream could take its messages, and no repair helps.
    """
    check_shape(request.messages)
    paired = pair_up(request.messages)
    same = all(wire is m.wire for wire, m in zip(paired, request.messages, strict=True))
    return request if same else replace(request, is_paired=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call of a model: the body to send, and the same in parts for a model in-process.

    ``value`` is what the client asked for, whatever the body says.
    """

    body: bytes
    messages: tuple[bytes, ...]
    tools: tuple[bytes, ...]
    value: Mapping[str, Any]
    stream: bool

    @property
    def added_tools(self) -> frozenset[str]:
        """The names of tools that the client did not bring, and whose calls it does not see."""
        own = len(self.value.get("tools") or ())
        return frozenset(_tool_name(orjson.loads(wire)) for wire in self.tools[own:])


def model_request(
    request: ClientRequest,
    messages: Sequence[bytes] | None,
    *,
    tools: Sequence[bytes] = (),
    tools_off: bool = False,
    stream: bool | None = None,
    ask_usage: bool = False,
) -> ModelRequest:
    """Return the request for one model call.

    ``messages`` None leaves the client's own bytes, repaired where its pairs are not in order.
    ``tools`` are added after the client's. ``tools_off`` makes the call one that cannot use them:
    they stay defined, and are forbidden, where the client has none of its own. ``ask_usage`` asks
    the upstream to report usage in a stream.
    """
    stream = request.stream if stream is None else stream
    places = request.places
    edits: dict[str, bytes] = {}
    drops: set[str] = set()
    if not request.is_paired:
        messages = _paired(request, messages)
    if messages is not None:
        edits["messages"] = b"[" + b",".join(messages) + b"]"
    own = _client_tool_wires(request)
    offered = (*own, *tools)
    if tools_off and own:
        offered = own
    elif tools_off and tools:
        edits["tool_choice"] = b'"none"'
    if offered != own:
        edits["tools"] = b"[" + b",".join(offered) + b"]"
    elif request.value.get("tools") == []:
        drops |= {"tools", "tool_choice", "parallel_tool_calls"}
    if stream != request.stream:
        edits["stream"] = b"true" if stream else b"false"
        if not stream:
            drops.add("stream_options")
    if stream and ask_usage and not request.include_usage:
        edits["stream_options"] = with_member(_stream_options(request), "include_usage", b"true")
    return ModelRequest(
        body=_edited(request.body, places, edits, drops & places.keys()),
        messages=tuple(m.wire for m in request.messages) if messages is None else tuple(messages),
        tools=offered,
        value=request.value,
        stream=stream,
    )


def _paired(request: ClientRequest, messages: Sequence[bytes] | None) -> Sequence[bytes]:
    if messages is None:
        return pair_up(request.messages)
    known = {message.wire: message for message in request.messages}
    return pair_up([known.get(wire) or parse_message(wire) for wire in messages])


def _edited(
    body: bytes, places: Mapping[str, Span], edits: Mapping[str, bytes], drops: set[str]
) -> bytes:
    if drops:
        kept = {k: edits.get(k, body[s.start : s.end]) for k, s in places.items() if k not in drops}
        kept |= {key: new for key, new in edits.items() if key not in drops}
        return b"{" + b",".join(orjson.dumps(k) + b":" + v for k, v in kept.items()) + b"}"
    inside = sorted((places[key], new) for key, new in edits.items() if key in places)
    made = splice(body, inside) if inside else body
    for key, new in edits.items():
        if key not in places:
            end = made.rindex(b"}")
            made = made[:end] + b"," + orjson.dumps(key) + b":" + new + made[end:]
    return made


def _stream_options(request: ClientRequest) -> bytes:
    if not isinstance(request.value.get("stream_options"), dict):
        return b"{}"
    span = request.places["stream_options"]
    return request.body[span.start : span.end]


def _client_tool_wires(request: ClientRequest) -> tuple[bytes, ...]:
    if not request.client_tools:
        return ()
    spans = elements(request.body, request.places["tools"].start)
    return tuple(request.body[span.start : span.end] for span in spans)


def _tool_name(tool: Any) -> str:
    if not isinstance(tool, dict):
        return ""
    kind = tool.get("type") or "function"
    body = tool.get(kind) if isinstance(kind, str) else None
    return str(body.get("name") or "") if isinstance(body, dict) else ""
