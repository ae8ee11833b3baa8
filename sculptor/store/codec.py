"""How values lie in a row's columns, as bytes.

What came as bytes goes back as the same bytes: lists of messages are packed by length, never
parsed. What is ours to shape is JSON.
"""

import struct
from collections.abc import Iterable, Sequence

import orjson

from sculptor.errors import InvalidMessage, StoreCorrupt
from sculptor.messages import MessageHash, parse_message
from sculptor.operations import Operation, operation_from_json, operation_to_json

_LENGTH = struct.Struct(">I")
_PLACED = struct.Struct(">I16s")


def pack(blobs: Iterable[bytes]) -> bytes:
    """Return byte strings as one, each after its length."""
    return b"".join(_LENGTH.pack(len(blob)) + blob for blob in blobs)


def unpack(body: bytes) -> tuple[bytes, ...]:
    """Read what ``pack`` wrote.

    Raises:
        StoreCorrupt: a length points past the end.
    """
    blobs: list[bytes] = []
    at = 0
    while at < len(body):
        if at + 4 > len(body) or at + 4 + _LENGTH.unpack_from(body, at)[0] > len(body):
            raise StoreCorrupt("a step's messages cannot be read")
        end = at + 4 + _LENGTH.unpack_from(body, at)[0]
        blobs.append(body[at + 4 : end])
        at = end
    return tuple(blobs)


def pack_placed(messages: Sequence[tuple[int, MessageHash]]) -> bytes:
    """Return places and hashes of messages, 20 bytes each."""
    return b"".join(_PLACED.pack(index, message) for index, message in messages)


def unpack_placed(body: bytes) -> tuple[tuple[int, MessageHash], ...]:
    """Read what ``pack_placed`` wrote.

    Raises:
        StoreCorrupt: the bytes are cut short.
    """
    if len(body) % _PLACED.size:
        raise StoreCorrupt("a node's respelled messages or instructions cannot be read")
    return tuple((index, MessageHash(name)) for index, name in _PLACED.iter_unpack(body))


def dump_operation(operation: Operation) -> bytes:
    """Return the record of an operation as JSON."""
    return orjson.dumps(operation_to_json(operation))


def load_operation(body: bytes | None) -> Operation:
    """Read what ``dump_operation`` wrote.

    Raises:
        StoreCorrupt: there is no record, or it cannot be read.
    """
    if body is None:
        raise StoreCorrupt("a version has no operation")
    try:
        return operation_from_json(orjson.loads(body))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreCorrupt(f"an operation cannot be read ({error})") from error


def searchable_texts(wire: bytes) -> list[str]:
    """Return the texts of a message's parts, empty where one has none to search in."""
    try:
        parts = parse_message(wire).parts
    except (InvalidMessage, ValueError):
        return []
    return [part.text if part.text_path is not None else "" for part in parts]
