"""Unknown fields of a stream, put together without knowing them.

A field that streams as text grows, a list grows, an object merges field by field, anything else is
replaced by what came last. Names (``id``, ``type``) are repeated by some upstreams and never grow.
"""

from sculptor.chat.events import JsonObject

_NAMES = frozenset({"id", "type", "index", "format", "name"})


class _Pieces:
    """A text that is still growing: its pieces, joined once at the end."""

    __slots__ = ("pieces",)

    def __init__(self, first: str) -> None:
        self.pieces = [first]


def merge_fields(into: JsonObject, piece: JsonObject) -> None:
    """Add one delta's fields to those before; ``join_fields`` makes the result readable."""
    for key, value in piece.items():
        before = into.get(key)
        if isinstance(value, str) and key not in _NAMES:
            if isinstance(before, _Pieces):
                before.pieces.append(value)
            else:
                into[key] = _Pieces(value)
        elif isinstance(value, list):
            if isinstance(before, list):
                before.extend(value)
            else:
                into[key] = list(value)
        elif isinstance(value, dict):
            inner: JsonObject = before if isinstance(before, dict) else {}
            merge_fields(inner, value)
            into[key] = inner
        elif value is not None:
            into[key] = value


def join_fields(fields: JsonObject) -> JsonObject:
    """Return the merged fields with every text joined."""
    return {key: _join(value) for key, value in fields.items()}


def _join(value: object) -> object:
    if isinstance(value, _Pieces):
        return "".join(value.pieces)
    return join_fields(value) if isinstance(value, dict) else value
