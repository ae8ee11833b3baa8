"""States of a grammar, with the tokens each allows; both are kept, so that most cost a look-up."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from sculptor.mom.language.automaton import (
    Characters,
    Fixed,
    FreeText,
    Node,
    Stack,
    advance,
)
from sculptor.mom.language.nodes import FreeKey
from sculptor.mom.language.protocol import ARGUMENT_TOKENS, TEXT_OFFSET, Protocol
from sculptor.mom.language.scan import Dialect
from sculptor.mom.language.vocabulary import PROTOCOL_SYMBOL, Branch, Mask, Vocabulary

_KEPT_STATES = 8192
"""States kept, some with masks; past this all are forgotten and made anew when met again."""

_STRUCTURE = frozenset(b'{}[],:"-+.0123456789eEtfn') | {
    PROTOCOL_SYMBOL + token
    for token in (Protocol.CALL, Protocol.CALL_END, Protocol.END, *ARGUMENT_TOKENS.values())
}
"""What a frame other than a string or a fixed sequence may read first."""


Stacks = frozenset[Stack]


class GrammarError(ValueError):
    """A request that no turn can satisfy, or a token that was not allowed."""


class Automaton:
    """The nodes of one grammar, and the states met so far."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.nodes: list[Node] = []
        self._states: dict[Stacks, GrammarState] = {}

    def state(self, stacks: Stacks) -> "GrammarState":
        """Return the one state of a set of stacks."""
        known = self._states.get(stacks)
        if known is None:
            if len(self._states) >= _KEPT_STATES:
                self._forget()
            known = self._states[stacks] = GrammarState(self, stacks)
        return known

    def _forget(self) -> None:
        for state in self._states.values():
            state.forget()
        self._states.clear()


class GrammarState:
    """A place within a turn; never changes, and may be gone on from more than once."""

    __slots__ = ("_automaton", "_mask", "_stacks", "_tokens")

    def __init__(self, automaton: Automaton, stacks: Stacks) -> None:
        self._automaton = automaton
        self._stacks = stacks
        self._mask: Mask | None = None
        self._tokens: dict[int, GrammarState] = {}

    @property
    def ended(self) -> bool:
        """Whether the turn is whole, so that no token may follow."""
        return () in self._stacks

    def allowed(self) -> Mask:
        """Return which tokens may come next, ``bool[vocab_size]``; not to be written to."""
        if self._mask is None:
            self._mask = self._allowed()
            self._mask.flags.writeable = False
        return self._mask

    def advance(self, token: int) -> "GrammarState":
        """Return the state after a token.

        Raises:
            GrammarError: the token is not allowed here.
        """
        after = self._tokens.get(token)
        if after is None:
            stacks = self._after(token)
            if not stacks:
                raise GrammarError(f"token {token} cannot come here")
            after = self._tokens[token] = self._automaton.state(stacks)
        return after

    def forget(self) -> None:
        """Let go of what was worked out here, which is made anew when it is asked for."""
        self._mask = None
        self._tokens.clear()

    def _after(self, token: int) -> Stacks:
        """Return the stacks after a token; none where it is refused."""
        stacks = self._stacks
        for symbol in self._automaton.vocabulary.symbols[token]:
            stacks = frozenset(advance(stacks, symbol, self._automaton.nodes))
        return stacks

    def _allowed(self) -> Mask:
        """Return the mask: inside strings from their tables, elsewhere by one walk of the tree."""
        strings = [
            (stack, top)
            for stack in self._stacks
            if stack and isinstance(top := stack[-1], Characters | FreeKey | FreeText)
        ]
        others = self._stacks.difference(stack for stack, _ in strings)
        mask = self._part(others)._walked() if others else self._none()
        for stack, top in strings:
            mask |= self._part(frozenset((stack,)))._of_string(top)
        return mask

    def _part(self, stacks: Stacks) -> "GrammarState":
        return self if stacks == self._stacks else self._automaton.state(stacks)

    def _of_string(self, top: Characters | FreeKey | FreeText) -> Mask:
        match top:
            case Characters(most=most, count=count, scan=scan, dialect=dialect):
                return self._within(dialect, scan, None if most is None else most - count)
            case FreeKey(scan=scan):
                return self._within("key", scan, None)
            case FreeText(scan=scan):
                mask = self._within("text", scan, None)
                mask[:TEXT_OFFSET] = [bool(self._after(token)) for token in range(TEXT_OFFSET)]
                return mask

    def _walked(self) -> Mask:
        branches = self._automaton.vocabulary.root.branches
        firsts = self._first_symbols() & branches.keys()
        return self._reached({symbol: branches[symbol] for symbol in firsts})

    def _first_symbols(self) -> set[int]:
        """Return the symbols that may come next; some of them may still be refused."""
        tops = [stack[-1] for stack in self._stacks if stack]
        fixed = {top.symbols[top.at] for top in tops if isinstance(top, Fixed)}
        return fixed if all(isinstance(top, Fixed) for top in tops) else fixed | _STRUCTURE

    def _within(self, dialect: Dialect, scan: int, room: int | None) -> Mask:
        """Return the mask within a string that may still hold ``room`` characters."""
        inside = self._automaton.vocabulary.inside(dialect, scan)
        stays = inside.stays if room is None else inside.stays & (inside.begun <= room)
        return stays | self._reached(inside.leaves.branches)

    def _reached(self, branches: Mapping[int, Branch]) -> Mask:
        mask = self._none()
        mask[list(self._below(self._stacks, branches))] = True
        return mask

    def _below(self, stacks: Collection[Stack], branches: Mapping[int, Branch]) -> Iterator[int]:
        """Yield the tokens of these branches that may come next.

        What lies between two tokens' ends is made and forgotten: hardly any of it comes again.
        """
        for symbol, branch in branches.items():
            after = tuple(advance(stacks, symbol, self._automaton.nodes))
            if not after:
                continue
            if branch.token is not None:
                yield branch.token
            yield from self._below(after, branch.branches)

    def _none(self) -> Mask:
        return np.zeros(self._automaton.vocabulary.size, dtype=np.bool_)
