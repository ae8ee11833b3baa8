"""Tool calls put together from fragments, however badly the fragments are addressed.

The wire says: every fragment has an ``index``, the first of an index has id and name, the rest
have arguments only. Some upstreams leave the index out, always send 0, repeat the id or the name
in each fragment, or send a whole call at once. The rules here: an id not seen before opens a call;
a fragment without an id belongs to the call its index names, or else to the last one, unless it
brings a name that cannot be a repetition. Indexes come out dense from 0, ids are unique, and a
call without arguments gets ``{}``.
"""

import secrets
from collections.abc import Callable

import orjson

from sculptor.chat.events import CallKind, JsonObject, ToolCallDelta
from sculptor.errors import UpstreamBroken

_KNOWN = frozenset({"index", "id", "type", "function", "custom"})


def mint_call_id() -> str:
    """Return a new call id in the form clients know (``call_`` and 24 hexadecimal digits)."""
    return f"call_{secrets.token_hex(12)}"


class _Call:
    __slots__ = (
        "arguments",
        "fields",
        "id",
        "index",
        "kind",
        "name",
        "upstream_id",
        "upstream_index",
    )

    def __init__(self, *, index: int, upstream_index: int | None, kind: CallKind) -> None:
        self.index = index
        self.kind: CallKind = kind
        self.upstream_index = upstream_index
        self.upstream_id = ""
        self.id = ""  # set when the name is known, which is when the call is announced
        self.name = ""
        self.arguments: list[str] = []
        self.fields: JsonObject = {}

    def is_whole(self) -> bool:
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            orjson.loads("".join(self.arguments))
        except orjson.JSONDecodeError:
            return False
        return True

    def to_wire(self) -> JsonObject:
        if not self.id:
            raise UpstreamBroken("The upstream sent a tool call without a name.")
        body = "input" if self.kind == "custom" else "arguments"
        inner = {"name": self.name, body: "".join(self.arguments)}
        return {"id": self.id, "type": self.kind, self.kind: inner, **self.fields}


class CallAssembler:
    """Tool calls of one answer, built fragment by fragment."""

    __slots__ = ("_calls", "_ids", "_new_id")

    def __init__(self, *, new_id: Callable[[], str] = mint_call_id) -> None:
        self._calls: list[_Call] = []
        self._ids: set[str] = set()
        self._new_id = new_id

    def __len__(self) -> int:
        return len(self._calls)

    def feed(self, fragment: JsonObject) -> ToolCallDelta | None:
        """Take one entry of ``delta.tool_calls``; return what it adds, or None if nothing."""
        kind, name, arguments = _read_inner(fragment)
        upstream_id, index = _text(fragment.get("id")), fragment.get("index")
        if not isinstance(index, int) or isinstance(index, bool):
            index = None
        call = self._find(index, upstream_id, name, arguments)
        if call is None:
            call = _Call(index=len(self._calls), upstream_index=index, kind=kind)
            self._calls.append(call)
        call.upstream_id = call.upstream_id or upstream_id
        fields = {key: value for key, value in fragment.items() if key not in _KNOWN}
        call.fields.update(fields)
        if arguments:
            call.arguments.append(arguments)
        if not call.id:
            return self._announce(call, name)
        if not arguments and not fields:
            return None
        return ToolCallDelta(
            index=call.index, arguments=arguments, kind=call.kind, fields=fields or None
        )

    def close(self) -> list[ToolCallDelta]:
        """Return the arguments still owed: ``{}`` for each call that came without any."""
        owed = [
            call
            for call in self._calls
            if call.id and call.kind == "function" and not "".join(call.arguments).strip()
        ]
        for call in owed:
            call.arguments.append("{}")
        return [ToolCallDelta(index=call.index, arguments="{}") for call in owed]

    def to_wire(self) -> list[JsonObject]:
        """Return the calls as the ``tool_calls`` of an assistant message.

        Raises ``UpstreamBroken`` where a call never got a name.
        """
        return [call.to_wire() for call in self._calls]

    def _find(self, index: int | None, upstream_id: str, name: str, arguments: str) -> _Call | None:
        place = [call for call in self._calls if index is None or call.upstream_index == index]
        if not place:
            return None
        if upstream_id:
            same = [call for call in place if call.upstream_id == upstream_id]
            if same:
                return same[-1]
            last = place[-1]
            # An id that arrives after its call was opened without one.
            return None if last.upstream_id or (name and last.name) else last
        last = place[-1]
        return None if _opens(last, name, arguments) else last

    def _announce(self, call: _Call, name: str) -> ToolCallDelta | None:
        if not name:
            return None
        call.name = name
        call.id = self._unique(call.upstream_id or self._new_id())
        return ToolCallDelta(
            index=call.index,
            id=call.id,
            name=name,
            arguments="".join(call.arguments),
            kind=call.kind,
            fields=dict(call.fields) or None,
        )

    def _unique(self, wanted: str) -> str:
        call_id, number = wanted, 2
        while call_id in self._ids:
            call_id, number = f"{wanted}_{number}", number + 1
        self._ids.add(call_id)
        return call_id


def _opens(last: _Call, name: str, arguments: str) -> bool:
    """Tell whether a fragment without an id, but perhaps with a name, begins another call."""
    if not name or not last.name:
        return False
    if name != last.name:
        return True
    return bool(arguments) and last.is_whole()


def _read_inner(fragment: JsonObject) -> tuple[CallKind, str, str]:
    custom = fragment.get("custom")
    if isinstance(custom, dict):
        return "custom", _text(custom.get("name")), _text(custom.get("input"))
    function = fragment.get("function")
    if not isinstance(function, dict):
        return "function", "", ""
    return "function", _text(function.get("name")), _argument_text(function.get("arguments"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _argument_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()
