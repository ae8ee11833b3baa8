"""JSON schemas to nodes: what a declared schema lets the model write.

Expressed are types, ``enum``, ``const``, ``anyOf`` and ``oneOf`` (as one another), ``allOf`` where
its parts agree, local references, limits of numbers, lengths and counts, ``items``, ``properties``,
``required`` and ``additionalProperties``. A keyword not named here (``pattern``, ``format``,
``multipleOf``...) is not enforced. What nothing can satisfy, and a reference to nothing, becomes
any JSON value: a request is never refused for its schema.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from sculptor.mom.language.automaton import Node, Symbols
from sculptor.mom.language.nodes import Array, Member, Number, Object, OneOf, Text, Union
from sculptor.mom.language.numbers import can_begin, number_range
from sculptor.mom.language.protocol import ARGUMENT_TOKENS
from sculptor.mom.language.shapes import Json, resolve
from sculptor.mom.language.vocabulary import PROTOCOL_SYMBOL

_ANY_DEPTH = 16
"""Levels of lists and objects inside a value of any kind."""

_MAX_NODES = 4096
"""Past this a schema's further parts are any value."""

_NAMED = (
    ("object", ("properties", "required", "additionalProperties")),
    ("array", ("items", "minItems", "maxItems")),
)
_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NOTES = frozenset(
    ("title", "description", "default", "examples", "$defs", "definitions", "$schema", "$id")
)
_NEVER = Union(options=())


class Compiler:
    """Turns schemas into nodes of one table."""

    def __init__(self, nodes: list[Node], *, atomic: bool) -> None:
        """Add the kinds of any value to a table.

        Args:
            nodes: the table, which several compilers may fill before it is read.
            atomic: whether keys with a token of their own are written as that token, as in calls.
        """
        self.nodes = nodes
        self._atomic = ARGUMENT_TOKENS if atomic else {}
        self._known: dict[str, int] = {}
        self._any = self._add_any()

    def compile(self, schema: object) -> int | None:
        """Return the node of a schema, or None where nothing finite satisfies it."""
        node = self._node(schema, schema)
        self._prune()
        return None if self.nodes[node] is _NEVER else node

    @property
    def any_value(self) -> int:
        """The node of any value."""
        return self._any

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _add_any(self) -> int:
        """Add the kinds of any value, the innermost level first."""
        plain = [
            self._add(self._one_of([True, False, None])),
            self._add(Text()),
            self._add(Number(wanted=number_range(integral=False))),
        ]
        value = self._add(Union(options=tuple(plain)))
        for _ in range(_ANY_DEPTH):
            array, members = self._add(Array(item=value)), self._add(self._free_object((), value))
            value = self._add(Union(options=(*plain, array, members)))
        return value

    def _node(self, schema: object, root: object) -> int:
        """Return the node of a schema, the same for equal ones, so that recursion ends."""
        if isinstance(schema, bool) or not isinstance(schema, Mapping):
            return self._add(_NEVER) if schema is False else self._any
        if len(self.nodes) > _MAX_NODES:
            return self._any
        key = json.dumps(schema, sort_keys=True, default=str)
        if key not in self._known:
            self._known[key] = place = self._add(_NEVER)
            self.nodes[place] = self._made(cast("Json", schema), root)
        return self._known[key]

    def _made(self, schema: Json, root: object) -> Node:
        """Return the node of a schema that is an object."""
        if "$ref" in schema:
            return self._joined([resolve(schema["$ref"], root)], _without(schema, "$ref"), root)
        if "const" in schema:
            return self._one_of(_of_type([schema["const"]], schema.get("type")))
        if isinstance(values := schema.get("enum"), Sequence):
            return self._one_of(_of_type(values, schema.get("type")))
        for name in ("anyOf", "oneOf"):
            if isinstance(options := schema.get(name), Sequence):
                rest = _without(schema, name)
                return self._union(self._part([option], rest, root) for option in options)
        if isinstance(parts := schema.get("allOf"), Sequence):
            return self._joined(list(parts), _without(schema, "allOf"), root)
        return self._typed(schema, root)

    def _typed(self, schema: Json, root: object) -> Node:
        kind = schema.get("type")
        if isinstance(kind, Sequence) and not isinstance(kind, str):
            return self._union(self._node({**schema, "type": one}, root) for one in kind)
        if kind is None:
            kind = next((name for name, marks in _NAMED if any(m in schema for m in marks)), None)
        match kind:
            case "object":
                return self._object(schema, root)
            case "array":
                return self._array(schema, root)
            case "string":
                return _checked(
                    Text(
                        least=_size(schema, "minLength") or 0,
                        most=_size(schema, "maxLength"),
                    )
                )
            case "integer" | "number":
                return _number(schema, integral=kind == "integer")
            case "boolean":
                return self._one_of([True, False])
            case "null":
                return self._one_of([None])
            case _:
                return self.nodes[self._any]

    def _part(self, parts: Sequence[object], rest: Json, root: object) -> int:
        """Return the node of what satisfies all parts and the rest beside them."""
        if any(part is False for part in parts):
            return self._add(_NEVER)
        merged = _merged([*parts, rest])
        return self._any if merged is None else self._node(merged, root)

    def _joined(self, parts: Sequence[object], rest: Json, root: object) -> Node:
        return self._union([self._part(parts, rest, root)])

    def _union(self, options: Iterable[int]) -> Node:
        return Union(options=tuple(options))

    def _one_of(self, values: Sequence[object]) -> Node:
        spellings = {spelling for value in values for spelling in self._spellings(value)}
        return OneOf(spellings=tuple(sorted(spellings))) if spellings else _NEVER

    def _spellings(self, value: object) -> Iterator[Symbols]:
        """Yield the symbols of a value written out, keys inside it as calls have them."""
        if isinstance(value, Mapping):
            members = [
                (*self._key(str(name)), *next(self._spellings(inner)))
                for name, inner in value.items()
            ]
            yield (*b"{", *_between(members), *b"}")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield (*b"[", *_between([next(self._spellings(inner)) for inner in value]), *b"]")
        else:
            yield tuple(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))

    def _key(self, name: str) -> Symbols:
        if name in self._atomic:
            return (PROTOCOL_SYMBOL + self._atomic[name],)
        return tuple(json.dumps(name, ensure_ascii=False).encode("utf-8", "replace") + b":")

    def _array(self, schema: Json, root: object) -> Node:
        least, most = _size(schema, "minItems") or 0, _size(schema, "maxItems")
        items = schema.get("items", True)
        if items is False or most == 0:
            return Array(item=None) if least == 0 else _NEVER
        if isinstance(items, Sequence) or "prefixItems" in schema:
            items = True
        return _checked(Array(item=self._node(items, root), least=least, most=most))

    def _object(self, schema: Json, root: object) -> Node:
        required = schema.get("required")
        needed = [str(name) for name in required] if isinstance(required, Sequence) else []
        properties = schema.get("properties")
        named = dict(cast("Json", properties)) if isinstance(properties, Mapping) else {}
        free = schema.get("additionalProperties", True)
        named |= {name: free for name in needed if name not in named}
        members = tuple(
            Member(spelling=self._key(name), value=self._node(inner, root), required=name in needed)
            for name, inner in named.items()
        )
        return self._free_object(
            members, None if free is False else self._node(free, root), tuple(named)
        )

    def _free_object(
        self, members: tuple[Member, ...], free: int | None, names: tuple[str, ...] = ()
    ) -> Object:
        reserved = {*names, *self._atomic}
        return Object(
            members=members,
            free=free,
            reserved=frozenset(
                json.dumps(name, ensure_ascii=False).encode("utf-8", "replace")[1:-1]
                for name in reserved
            ),
            atomic=frozenset(
                PROTOCOL_SYMBOL + token for name, token in self._atomic.items() if name not in names
            ),
        )

    def _prune(self) -> None:
        """Mark what no finite text satisfies, and take it out of what stands around it."""
        finite: set[int] = set()
        while True:
            found = {
                index
                for index, node in enumerate(self.nodes)
                if index not in finite and _is_finite(node, finite)
            }
            if not found:
                break
            finite |= found
        self.nodes[:] = [
            _pruned(index, self.nodes, finite) if index in finite else _NEVER
            for index in range(len(self.nodes))
        ]


def _is_finite(node: Node, finite: set[int]) -> bool:
    """Whether some text satisfies a node, as far as the nodes in it are known to have one."""
    match node:
        case Union(options=options):
            return any(option in finite for option in options)
        case Array(item=item, least=least):
            return least == 0 or item in finite
        case Object(members=members):
            return all(member.value in finite for member in members if member.required)
        case _:
            return True


def _pruned(index: int, nodes: Sequence[Node], finite: set[int]) -> Node:
    node = nodes[index]
    match node:
        case Union():
            return Union(options=tuple(_options(index, nodes, finite)))
        case Array(item=item) if item not in finite:
            return Array(item=None)
        case Object(members=members, free=free, reserved=reserved, atomic=atomic):
            return Object(
                members=tuple(member for member in members if member.value in finite),
                free=free if free in finite else None,
                reserved=reserved,
                atomic=atomic,
            )
        case _:
            return node


def _options(index: int, nodes: Sequence[Node], finite: set[int]) -> list[int]:
    """Return the kinds below a union, unions in it opened, each once."""
    found: dict[int, None] = {index: None}
    for place in (queue := [index]):
        node = nodes[place]
        if isinstance(node, Union):
            new = [option for option in node.options if option in finite and option not in found]
            found |= dict.fromkeys(new)
            queue += new
    return [place for place in found if not isinstance(nodes[place], Union)]


def _number(schema: Json, *, integral: bool) -> Node:
    limits = {name: _limit(schema, name) for name in ("minimum", "maximum")}
    wanted = number_range(
        integral=integral,
        low=limits["minimum"],
        high=limits["maximum"],
        above=_limit(schema, "exclusiveMinimum"),
        below=_limit(schema, "exclusiveMaximum"),
    )
    return Number(wanted=wanted) if can_begin("", wanted) or can_begin("-", wanted) else _NEVER


def _checked(node: Text | Array) -> Node:
    """Return a node, or that of nothing where its limits leave no size."""
    return _NEVER if node.most is not None and node.least > node.most else node


def _size(schema: Json, name: str) -> int | None:
    value = _limit(schema, name)
    return None if value is None else max(0, int(value))


def _limit(schema: Json, name: str) -> float | None:
    value = schema.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return cast("float", value) if is_number else None


def _of_type(values: Sequence[object], kind: object) -> list[object]:
    """Return the values of the type, or of one of the types, that stand beside them."""
    names = [kind] if isinstance(kind, str) else kind if isinstance(kind, Sequence) else []
    if not names:
        return list(values)
    return [value for value in values if any(_is_of(value, str(name)) for name in names)]


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _PYTHON_TYPES.get(kind, (object,)))


def _between(pieces: Sequence[Symbols]) -> Symbols:
    """Return pieces with commas between them."""
    return tuple(
        symbol
        for number, piece in enumerate(pieces)
        for symbol in ((*b",", *piece) if number else piece)
    )


def _without(schema: Json, name: str) -> Json:
    return {key: value for key, value in schema.items() if key != name and key not in _NOTES}


def _merged(parts: Sequence[object]) -> Json | None:
    """Return one schema that says what all parts say, or None where they cannot be joined."""
    merged: dict[str, object] = {}
    for part in parts:
        if part is True:
            continue
        if not isinstance(part, Mapping):
            return None
        for name, value in cast("Json", part).items():
            if name in _NOTES:
                continue
            known = merged.get(name, value)
            if name == "properties" and isinstance(known, Mapping) and isinstance(value, Mapping):
                clash = any(known[key] != value[key] for key in known.keys() & value.keys())
                if clash:
                    return None
                merged[name] = {**known, **value}
            elif name == "required" and isinstance(known, list) and isinstance(value, list):
                merged[name] = list(dict.fromkeys([*known, *value]))
            elif known != value:
                return None
            else:
                merged[name] = value
    return merged
