"""Kinds of JSON values as the grammar writes them: compact, keys in any order, each once.

A node names others by their number in one table, so that schemas may be recursive.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sculptor.mom.language.automaton import (
    COLON,
    COMMA,
    Characters,
    Digits,
    Fixed,
    Nodes,
    Stack,
    Symbols,
    Value,
    advance,
    scanned,
    settle,
)
from sculptor.mom.language.numbers import NumberRange
from sculptor.mom.language.scan import QUOTE, REFUSED

_OPEN_LIST, _CLOSE_LIST = b"[]"
_OPEN_OBJECT, _CLOSE_OBJECT = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneOf:
    """Values written out."""

    spellings: tuple[Symbols, ...]

    def begin(self, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Open one stack for each value."""
        return [(*rest, Fixed(spelling)) for spelling in self.spellings]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Text:
    """A string of some characters."""

    least: int = 0
    most: int | None = None

    def begin(self, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Open the string."""
        return ((*rest, Characters(self.least, self.most), Fixed((QUOTE,))),)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Number:
    """A number."""

    wanted: NumberRange

    def begin(self, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Open the number."""
        return ((*rest, Digits(self.wanted)),)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Union:
    """A value of one of several kinds."""

    options: tuple[int, ...]

    def begin(self, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Open every kind."""
        return [stack for option in self.options for stack in nodes[option].begin(rest, nodes)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Array:
    """A list of items of one kind."""

    item: int | None
    """None where the list must be empty."""
    least: int = 0
    most: int | None = None

    def begin(self, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Open the list."""
        return ((*rest, _Items(self), Fixed((_OPEN_LIST,))),)


@dataclass(frozen=True, slots=True)
class _Items:
    """What comes after the opening of a list or after an item."""

    array: Array
    count: int = 0
    """Items so far; no further than it matters."""
    begun: bool = False

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read the end of the list, or what stands before or at the beginning of an item."""
        if symbol == _CLOSE_LIST:
            return settle(rest, nodes) if self.count >= self.array.least else ()
        if self.array.item is None or self.count == self.array.most:
            return ()
        count = self.count + 1
        if self.array.most is None:
            count = min(count, self.array.least)
        stack = (*rest, _Items(self.array, count, True))
        stacks = nodes[self.array.item].begin(stack, nodes)
        if not self.begun:
            return advance(stacks, symbol, nodes)
        return stacks if symbol == COMMA else ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """One named key of an object, with the symbols that spell it and its colon."""

    spelling: Symbols
    value: int
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Object:
    """An object of named keys, and of free ones where ``free`` is their kind."""

    members: tuple[Member, ...] = ()
    free: int | None = None
    reserved: frozenset[bytes] = frozenset()
    """Spellings that no free key may have."""
    least: int = 0
    most: int | None = None
    """How many keys there may be."""

    def begin(self, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Open the object."""
        return ((*rest, _Members(self), Fixed((_OPEN_OBJECT,))),)

    @property
    def needed(self) -> int:
        """The required members as bits."""
        return sum(member.required << bit for bit, member in enumerate(self.members))


@dataclass(frozen=True, slots=True)
class _Members:
    """What comes after the opening of an object or after a member."""

    object: Object
    seen: int = 0
    """The named members so far as bits."""
    others: frozenset[bytes] = frozenset()
    """The free keys so far."""

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read the end of the object, or what stands before or at the beginning of a key."""
        if symbol == _CLOSE_OBJECT:
            return settle(rest, nodes) if self._is_whole() else ()
        if not self._count():
            return advance(self._keys(rest), symbol, nodes)
        return self._keys(rest) if symbol == COMMA else ()

    def after(self, key: bytes, rest: Stack) -> Iterable[Stack]:
        """Return the stacks that go on after a free key; none where it cannot be one."""
        if key in self.object.reserved or key in self.others or self.object.free is None:
            return ()
        more = _Members(self.object, self.seen, self.others | {key})
        return ((*rest, more, Value(self.object.free), Fixed((COLON,))),)

    def _keys(self, rest: Stack) -> Iterable[Stack]:
        """Return the stacks that read one more key and its value."""
        missing = (self.object.needed & ~self.seen).bit_count()
        has_room = self.object.most is None or self._count() + missing < self.object.most
        for bit, member in enumerate(self.object.members):
            if not self.seen >> bit & 1 and (has_room or member.required):
                more = _Members(self.object, self.seen | 1 << bit, self.others)
                yield (*rest, more, Value(member.value), Fixed(member.spelling))
        if self.object.free is not None and has_room:
            yield (*rest, FreeKey(self), Fixed((QUOTE,)))

    def _is_whole(self) -> bool:
        needed = self.object.needed
        return self.seen & needed == needed and self._count() >= self.object.least

    def _count(self) -> int:
        return self.seen.bit_count() + len(self.others)


@dataclass(frozen=True, slots=True)
class FreeKey:
    """The inside of a key that the schema does not name, up to its closing quote."""

    members: _Members
    key: bytes = b""
    scan: int = 0

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read one byte of the key."""
        if symbol == QUOTE and self.scan == 0:
            return self.members.after(self.key, rest)
        after = scanned("key", self.scan, symbol)
        if after == REFUSED:
            return ()
        return ((*rest, FreeKey(self.members, self.key + bytes([symbol]), after)),)
