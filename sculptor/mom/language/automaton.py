"""A pushdown automaton over symbols: what may still be written, as stacks of frames.

A frame reads one symbol and says which stacks are possible after it; the last frame of a stack
reads first. Schemas may leave a choice open, so a state of the grammar is a set of stacks; a symbol
is allowed where at least one stack survives it. An empty stack has read its whole turn.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol as Shape

from sculptor.mom.language.numbers import NumberRange, can_begin, is_number
from sculptor.mom.language.protocol import Protocol
from sculptor.mom.language.scan import QUOTE, REFUSED, Dialect, table
from sculptor.mom.language.vocabulary import PROTOCOL_SYMBOL

COMMA, COLON = ord(","), ord(":")
CALL = PROTOCOL_SYMBOL + Protocol.CALL
ARGUMENTS = PROTOCOL_SYMBOL + Protocol.ARGUMENTS
CALL_END = PROTOCOL_SYMBOL + Protocol.CALL_END
END = PROTOCOL_SYMBOL + Protocol.END

Symbols = tuple[int, ...]


class Frame(Shape):
    """What reads the next symbol."""

    def step(self, symbol: int, rest: "Stack", nodes: "Nodes") -> "Iterable[Stack]":
        """Return the stacks possible after a symbol; none where it is refused."""
        ...


Stack = tuple[Frame, ...]


class Node(Shape):
    """A kind of JSON value."""

    def begin(self, rest: Stack, nodes: "Nodes") -> Iterable[Stack]:
        """Return the stacks that are about to read such a value."""
        ...


Nodes = Sequence[Node]


@dataclass(frozen=True, slots=True)
class Value:
    """A value is next; replaced by its node's frames as soon as it is on top."""

    node: int

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read the first symbol of the value."""
        return advance(nodes[self.node].begin(rest, nodes), symbol, nodes)


def settle(stack: Stack, nodes: Nodes) -> Iterable[Stack]:
    """Return the stacks that read next, with a value on top opened."""
    if stack and isinstance(stack[-1], Value):
        return nodes[stack[-1].node].begin(stack[:-1], nodes)
    return (stack,)


def advance(stacks: Iterable[Stack], symbol: int, nodes: Nodes) -> Iterator[Stack]:
    """Yield the stacks possible after a symbol; there may be equal ones."""
    for stack in stacks:
        if stack:
            yield from stack[-1].step(symbol, stack[:-1], nodes)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Symbols that must come one after the other."""

    symbols: Symbols
    at: int = 0

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read the next of the symbols."""
        if self.symbols[self.at] != symbol:
            return ()
        if self.at + 1 == len(self.symbols):
            return settle(rest, nodes)
        return ((*rest, Fixed(self.symbols, self.at + 1)),)


@dataclass(frozen=True, slots=True)
class Characters:
    """The inside of a JSON string and its closing quote."""

    least: int = 0
    most: int | None = None
    count: int = 0
    """Characters begun so far; no further than it matters."""
    scan: int = 0
    dialect: Dialect = "string"

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read one byte of the string."""
        if symbol == QUOTE and self.scan == 0:
            return settle(rest, nodes) if self.count >= self.least else ()
        after = scanned(self.dialect, self.scan, symbol)
        if after == REFUSED:
            return ()
        count = self.count + (self.scan == 0)
        if self.most is None:
            count = min(count, self.least)
        elif count > self.most:
            return ()
        return ((*rest, Characters(self.least, self.most, count, after, self.dialect)),)


@dataclass(frozen=True, slots=True)
class Digits:
    """A number that has begun; it ends where something else is read."""

    wanted: NumberRange
    text: str = ""

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read one sign of the number, or what follows it."""
        if symbol < 0x80 and can_begin(text := self.text + chr(symbol), self.wanted):
            return ((*rest, Digits(self.wanted, text)),)
        if not is_number(self.text, self.wanted):
            return ()
        return advance(settle(rest, nodes), symbol, nodes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """The tools that a turn may call."""

    tools: tuple[tuple[Symbols, int], ...]
    """The name of each tool, and the node of its arguments."""
    many: bool = True
    """Whether a turn may hold several calls."""


@dataclass(frozen=True, slots=True)
class FreeText:
    """The visible text of a turn, up to its end or its first call."""

    offer: Offer | None
    scan: int = 0

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read one byte of text, the end of the turn, or the opening of a call."""
        if symbol < PROTOCOL_SYMBOL:
            after = scanned("text", self.scan, symbol)
            return () if after == REFUSED else ((FreeText(self.offer, after),),)
        if self.scan:
            return ()
        if symbol == END:
            return ((),)
        return () if self.offer is None else Calls(self.offer).step(symbol, rest, nodes)


@dataclass(frozen=True, slots=True)
class Calls:
    """A call may come; after the first the turn may end."""

    offer: Offer
    made: bool = False

    def step(self, symbol: int, rest: Stack, nodes: Nodes) -> Iterable[Stack]:
        """Read the opening of a call, or the end of the turn after a call."""
        if symbol == END:
            return ((),) if self.made else ()
        if symbol != CALL or (self.made and not self.offer.many):
            return ()
        after = Calls(self.offer, True)
        return [
            (after, Fixed((CALL_END,)), Value(node), Fixed((*name, ARGUMENTS)))
            for name, node in self.offer.tools
        ]


def scanned(dialect: Dialect, state: int, symbol: int) -> int:
    """Return the state of a scan after one symbol; protocol tokens are refused in strings."""
    return table(dialect)[state][symbol] if symbol < PROTOCOL_SYMBOL else REFUSED
