"""Messages as they came, and the three names each of them has.

A message is kept as its own wire bytes; its parts only point into them. It has three digests
(BLAKE2b-128), because three questions are asked of it:

* ``hash``: are these the same bytes? Storage is named by it.
* ``key``: is this the same text at the same places? Fragments are addressed by it, so they survive
  a client that adds a ``cache_control`` or turns a string into a list of one text part.
* ``link``: is this the same turn of the conversation? The prefix chain is made of it: white space
  at the ends, ids, names and reasoning are left out, and tool arguments compare as values.

System and developer text has no link: clients put dates and file lists there.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NewType

import orjson

from sculptor.errors import InvalidMessage
from sculptor.spans import locate

MessageHash = NewType("MessageHash", bytes)
MessageKey = NewType("MessageKey", bytes)
Link = NewType("Link", bytes)
Chain = NewType("Chain", bytes)

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
PartKind = Literal["text", "tool_result", "image", "other", "tool_call", "reasoning"]

ROLES: frozenset[str] = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
INSTRUCTION_ROLES = frozenset({"system", "developer"})
RESULT_ROLES = frozenset({"tool", "function"})
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
_TEXT_TYPES = frozenset({"text", "input_text", "output_text"})
_IMAGE_TYPES = frozenset({"image_url", "input_image", "image"})

Json = Any
"""A parsed JSON value; it does not travel past this module's callers at the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A typed piece of a message.

    ``text`` is what a reader reads (empty for images); ``path`` leads to the part's wire JSON in
    the message's bytes; ``text_path`` to the string literal that holds an editable text.
    """

    kind: PartKind
    text: str
    path: tuple[str | int, ...]
    text_path: tuple[str | int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One entry of a conversation, immutable, with its original bytes."""

    role: str
    wire: bytes
    hash: MessageHash
    key: MessageKey
    link: Link | None
    parts: tuple[Part, ...]
    call_ids: tuple[str, ...] = ()
    result_for: str | None = None

    def part_wire(self, index: int) -> bytes:
        """Return the original JSON of one part, unknown fields included."""
        span = locate(self.wire, self.parts[index].path)
        return self.wire[span.start : span.end]

    @property
    def text(self) -> str:
        """The editable texts, joined by line ends, for people to read."""
        return "\n".join(part.text for part in self.parts if part.text_path is not None)


def digest(*fields: bytes) -> bytes:
    """Return the BLAKE2b-128 of length-prefixed fields, so that no two lists collide by joining."""
    state = hashlib.blake2b(digest_size=16)
    for field in fields:
        state.update(len(field).to_bytes(8, "big"))
        state.update(field)
    return state.digest()


def wire_hash(wire: bytes) -> MessageHash:
    """Return the name under which these bytes are stored."""
    return MessageHash(hashlib.blake2b(wire, digest_size=16).digest())


def parse_message(wire: bytes, value: Json = None, where: str = "message") -> Message:
    """Read one message from its bytes; ``value`` is its parsed form where the caller has it.

    Raises:
        InvalidMessage: it is no object, its role is unknown, or its content or calls are malformed.
    """
    value = orjson.loads(wire) if value is None else value
    if not isinstance(value, dict):
        raise InvalidMessage(f"{where} must be an object, not {type(value).__name__}.", where)
    role = value.get("role")
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise InvalidMessage(f"{where}.role is {role!r}; it must be one of {known}.", where)
    calls = _tool_calls(value, where)
    parts = (*_content_parts(value, role, where), *_call_parts(value, calls), *_reasoning(value))
    return Message(
        role=role,
        wire=wire,
        hash=wire_hash(wire),
        key=_key(role, parts),
        link=None if role in INSTRUCTION_ROLES else _link(role, parts, value),
        parts=parts,
        call_ids=tuple(call["id"] for call in calls if isinstance(call.get("id"), str)),
        result_for=_result_for(value, where) if role == "tool" else None,
    )


def make_message(role: Role, content: str, **fields: Json) -> Message:
    """Build a message of our own from plain text."""
    value = {"role": role, "content": content, **fields}
    return parse_message(orjson.dumps(value), value)


def chain_of(messages: Iterable[Message], tenant: str) -> list[Chain]:
    """Return the prefix chain, one value per message.

    A message without a link takes over its predecessor's value, so the list has the messages'
    length and the last value names the whole conversation.
    """
    current = Chain(digest(b"chain", tenant.encode()))
    values: list[Chain] = []
    for message in messages:
        if message.link is not None:
            current = extend_chain(current, message.link)
        values.append(current)
    return values


def extend_chain(chain: Chain, link: Link) -> Chain:
    """Return the chain value after one more message."""
    return Chain(hashlib.blake2b(chain + link, digest_size=16).digest())


def _content_parts(value: Mapping[str, Json], role: str, where: str) -> list[Part]:
    content = value.get("content")
    kind: PartKind = "tool_result" if role in RESULT_ROLES else "text"
    if content is None:
        return []
    if isinstance(content, str):
        return [Part(kind=kind, text=content, path=("content",), text_path=("content",))]
    if not isinstance(content, list):
        raise InvalidMessage(f"{where}.content must be a string, a list of parts or null.", where)
    return [_content_part(item, i, kind, where) for i, item in enumerate(content)]


def _content_part(item: Json, index: int, kind: PartKind, where: str) -> Part:
    path: tuple[str | int, ...] = ("content", index)
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise InvalidMessage(f"{where}.content[{index}] must be an object with a type.", where)
    if item["type"] in _TEXT_TYPES:
        if not isinstance(item.get("text"), str):
            raise InvalidMessage(f"{where}.content[{index}].text must be a string.", where)
        return Part(kind=kind, text=item["text"], path=path, text_path=(*path, "text"))
    if item["type"] in _IMAGE_TYPES:
        return Part(kind="image", text="", path=path)
    return Part(kind="other", text=str(item.get("refusal") or ""), path=path)


def _result_for(value: Mapping[str, Json], where: str) -> str | None:
    name = value.get("tool_call_id")
    if name is not None and not isinstance(name, str):
        raise InvalidMessage(f"{where}.tool_call_id must be a string.", f"{where}.tool_call_id")
    return name


def _tool_calls(value: Mapping[str, Json], where: str) -> Sequence[dict[str, Json]]:
    calls = value.get("tool_calls")
    if calls is None:
        return ()
    if not isinstance(calls, list) or not all(map(_is_call, calls)):
        raise InvalidMessage(
            f"{where}.tool_calls must be a list of objects with an id and a function of that name.",
            f"{where}.tool_calls",
        )
    return calls


def _is_call(call: Json) -> bool:
    if not isinstance(call, dict) or not isinstance(call.get("id"), str):
        return False
    kind = call.get("type") or "function"
    body = call.get(kind) if isinstance(kind, str) else None
    return isinstance(body, dict) and isinstance(body.get("name"), str)


def _call_parts(value: Mapping[str, Json], calls: Sequence[dict[str, Json]]) -> list[Part]:
    parts: list[Part] = []
    for index, call in enumerate(calls):
        body = call[call.get("type") or "function"]
        text = f"{body['name']} {body.get('arguments') or body.get('input') or ''}"
        parts.append(Part(kind="tool_call", text=text, path=("tool_calls", index)))
    legacy = value.get("function_call")
    if isinstance(legacy, dict):
        text = f"{legacy.get('name')} {legacy.get('arguments') or ''}"
        parts.append(Part(kind="tool_call", text=text, path=("function_call",)))
    return parts


def _reasoning(value: Mapping[str, Json]) -> list[Part]:
    return [
        Part(kind="reasoning", text=text if isinstance(text, str) else "", path=(field,))
        for field in REASONING_FIELDS
        if (text := value.get(field))
    ]


def _key(role: str, parts: Sequence[Part]) -> MessageKey:
    fields = [role.encode()]
    for index, part in enumerate(parts):
        if part.text_path is not None:
            fields += (index.to_bytes(4, "big"), part.text.encode())
    return MessageKey(digest(b"key", *fields))


def _link(role: str, parts: Sequence[Part], value: Mapping[str, Json]) -> Link:
    text = "".join(part.text for part in parts if part.text_path is not None).strip()
    if not text and isinstance(value.get("refusal"), str):
        text = value["refusal"].strip()
    images = (_image_digest(value, part) for part in parts if part.kind in ("image", "other"))
    calls = (_call_digest(part.text) for part in parts if part.kind == "tool_call")
    return Link(digest(b"link", role.encode(), text.encode(), *images, b"calls", *calls))


def _image_digest(value: Mapping[str, Json], part: Part) -> bytes:
    item = dict(value["content"][part.path[1]])
    item.pop("cache_control", None)
    return digest(_sorted_json(item))


def _call_digest(text: str) -> bytes:
    name, _, arguments = text.partition(" ")
    try:
        parsed = _sorted_json(orjson.loads(arguments))
    except orjson.JSONDecodeError:
        parsed = arguments.strip().encode()
    return digest(name.encode(), parsed)


def _sorted_json(value: Json) -> bytes:
    """Return a value's JSON with sorted keys; one nested too deep for that, as Python shows it."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return repr(value).encode(errors="surrogatepass")
