"""JSON schemas to nodes: what a declared schema lets the model write.

Expressed are types, ``enum``, ``const``, ``anyOf`` and ``oneOf`` (as one another), ``allOf`` where
its parts agree, local references, limits of numbers, lengths and counts, ``items``, ``properties``,
``required`` and ``additionalProperties``. No object holds a key twice, and where a schema names
some and says nothing of others, none of those. A keyword not named here
(``pattern``, ``format``, ``multipleOf``...) is not enforced; of an ``enum`` more are (``values``).
What nothing can satisfy, and a reference to nothing, becomes any JSON value here;
``contradictions`` tells the plain cases before.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from sculptor.mom.language.automaton import Node, Symbols
from sculptor.mom.language.finite import NEVER, prune
from sculptor.mom.language.keywords import merged, range_of, size_of, without
from sculptor.mom.language.nodes import Array, Member, Number, Object, OneOf, Text, Union
from sculptor.mom.language.numbers import can_begin, number_range
from sculptor.mom.language.protocol import ARGUMENT_TOKENS
from sculptor.mom.language.shapes import Json, resolve
from sculptor.mom.language.values import fitting
from sculptor.mom.language.vocabulary import PROTOCOL_SYMBOL

_ANY_DEPTH = 16
"""Levels of lists and objects inside a value of any kind."""

_MAX_NODES = 4096
"""Past this a schema's further parts are any value."""

_NAMED = (
    (
        "object",
        ("properties", "required", "additionalProperties", "minProperties", "maxProperties"),
    ),
    ("array", ("items", "minItems", "maxItems")),
)


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
        prune(self.nodes)
        return None if self.nodes[node] is NEVER else node

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
            array, members = self._add(Array(item=value)), self._add(self._opened(Object(), value))
            value = self._add(Union(options=(*plain, array, members)))
        return value

    def _node(self, schema: object, root: object) -> int:
        """Return the node of a schema, the same for equal ones, so that recursion ends."""
        if isinstance(schema, bool) or not isinstance(schema, Mapping):
            return self._add(NEVER) if schema is False else self._any
        if len(self.nodes) > _MAX_NODES:
            return self._any
        key = json.dumps(schema, sort_keys=True, default=str)
        if key not in self._known:
            self._known[key] = place = self._add(NEVER)
            self.nodes[place] = self._made(cast("Json", schema), root)
        return self._known[key]

    def _made(self, schema: Json, root: object) -> Node:
        """Return the node of a schema that is an object."""
        if "$ref" in schema:
            return self._joined([resolve(schema["$ref"], root)], without(schema, "$ref"), root)
        if "const" in schema:
            return self._one_of(fitting([schema["const"]], schema))
        if isinstance(values := schema.get("enum"), Sequence):
            return self._one_of(fitting(values, schema))
        for name in ("anyOf", "oneOf"):
            if isinstance(options := schema.get(name), Sequence):
                rest = without(schema, name)
                return self._union(self._part([option], rest, root) for option in options)
        if isinstance(parts := schema.get("allOf"), Sequence):
            return self._joined(list(parts), without(schema, "allOf"), root)
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
                        least=size_of(schema, "minLength") or 0,
                        most=size_of(schema, "maxLength"),
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
            return self._add(NEVER)
        joined = merged([*parts, rest])
        return self._any if joined is None else self._node(joined, root)

    def _joined(self, parts: Sequence[object], rest: Json, root: object) -> Node:
        return self._union([self._part(parts, rest, root)])

    def _union(self, options: Iterable[int]) -> Node:
        return Union(options=tuple(options))

    def _one_of(self, values: Sequence[object]) -> Node:
        spellings = {spelling for value in values for spelling in self._spellings(value)}
        return OneOf(spellings=tuple(sorted(spellings))) if spellings else NEVER

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
        least, most = size_of(schema, "minItems") or 0, size_of(schema, "maxItems")
        items = schema.get("items", True)
        if isinstance(items, Sequence) or "prefixItems" in schema:
            items = True
        if items is False or most == 0:
            return Array(item=None) if least == 0 else NEVER
        return _checked(Array(item=self._node(items, root), least=least, most=most))

    def _object(self, schema: Json, root: object) -> Node:
        required = schema.get("required")
        needed = [str(name) for name in required] if isinstance(required, Sequence) else []
        properties = schema.get("properties")
        named = dict(cast("Json", properties)) if isinstance(properties, Mapping) else {}
        least = size_of(schema, "minProperties") or 0
        is_open = _takes_others(schema, named, least)
        others = schema.get("additionalProperties", True)
        named |= {name: others for name in needed if name not in named}
        members = tuple(
            Member(spelling=self._key(name), value=self._node(inner, root), required=name in needed)
            for name, inner in named.items()
        )
        made = Object(
            members=members,
            least=least,
            most=size_of(schema, "maxProperties"),
        )
        if not is_open:
            return made
        return self._opened(made, self._node(others, root), set(named))

    def _opened(self, made: Object, free: int, names: Collection[str] = ()) -> Object:
        """Return an object that takes keys without a name here, all of one kind, as well.

        Those with a token of their own are members like the named ones: they come once.
        """
        atomic = [name for name in self._atomic if name not in names]
        others = [Member(spelling=self._key(name), value=free, required=False) for name in atomic]
        return replace(
            made,
            members=(*made.members, *others),
            free=free,
            reserved=frozenset(
                json.dumps(name, ensure_ascii=False).encode("utf-8", "replace")[1:-1]
                for name in (*names, *atomic)
            ),
        )


def _takes_others(schema: Json, named: Json, least: int) -> bool:
    """Return if keys may come beside the named ones.

    Where the schema does not say, it allows them; but a model that is shown names and writes
    others has lost its way. So they come only where nothing is named, or more is needed.
    """
    if "additionalProperties" in schema:
        return schema["additionalProperties"] is not False
    return not named or "patternProperties" in schema or least > len(named)


def _number(schema: Json, *, integral: bool) -> Node:
    wanted = range_of(schema, integral=integral)
    return Number(wanted=wanted) if can_begin("", wanted) or can_begin("-", wanted) else NEVER


def _checked(node: Text | Array) -> Node:
    """Return a node, or that of nothing where its limits leave no size."""
    return NEVER if node.most is not None and node.least > node.most else node


def _between(pieces: Sequence[Symbols]) -> Symbols:
    """Return pieces with commas between them."""
    return tuple(
        symbol
        for number, piece in enumerate(pieces)
        for symbol in ((*b",", *piece) if number else piece)
    )
