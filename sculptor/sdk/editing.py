"""Requests of people and policies: which fragments they mean, and what a batch of them comes to."""

from collections.abc import Iterator, Sequence

from sculptor.changes import plan
from sculptor.context import Context as CoreContext
from sculptor.errors import FragmentNotFound, InvalidMessage
from sculptor.operations import Cut, Fold, Pin, Receipt, Request, Restore
from sculptor.state import Author, Fragment, FragmentId
from sculptor.tools.cuts import cuts_of, named_or_long, places


class Batch:
    """Requests that become one operation: one change of the view, one undo.

    Each is planned at once, on what those before it come to, so that a wrong one is refused where
    it is written and a fragment cut here can be folded here.
    """

    def __init__(self, core: CoreContext, author: Author) -> None:
        self._core = core
        self._author: Author = author
        self._state = core.state
        self.requests: list[Request] = []
        self.receipt: Receipt | None = None

    def fragment(
        self,
        *messages: int,
        num_fragments: int | None = None,
        size_tokens: int | None = None,
    ) -> tuple[FragmentId, ...]:
        """Cut messages (without any: all over 400 tokens) and return the new fragments' IDs.

        Raises:
            InvalidMessage: there is no such message, or both a number and a size are given.
        """
        before = {leaf.id for leaf in self._leaves()}
        for request in cuts(self._core, messages, num_fragments, size_tokens):
            self._add(request)
        return tuple(leaf.id for leaf in self._leaves() if leaf.id not in before)

    def fold(self, *fragments: str) -> None:
        """Hide fragments."""
        self._add(Fold(self._named(fragments)))

    def restore(self, *fragments: str) -> None:
        """Bring originals back."""
        self._add(Restore(self._named(fragments)))

    def pin(self, *fragments: str, messages: Sequence[int] = (), pinned: bool = True) -> None:
        """Protect fragments and whole messages, or release them."""
        named = self._named(fragments) if fragments else ()
        self._add(Pin(named, places(self._core, messages), pinned))

    def unpin(self, *fragments: str, messages: Sequence[int] = ()) -> None:
        """Release fragments and whole messages."""
        self.pin(*fragments, messages=messages, pinned=False)

    def _add(self, request: Request) -> None:
        changes = plan(
            request,
            self._state,
            author=self._author,
            seed=self._core.seed,
            protection=self._core.why_protected,
        )
        self._state = self._state.after(changes)
        self.requests.append(request)

    def _leaves(self) -> Iterator[Fragment]:
        for place in self._core.places:
            yield from self._state.leaves_of(place)

    def _named(self, names: Sequence[str]) -> tuple[FragmentId, ...]:
        return named([leaf.id for leaf in self._leaves()], names)


def named(known: Sequence[FragmentId], names: Sequence[str]) -> tuple[FragmentId, ...]:
    """Return the IDs meant by IDs, ranges ``a..b`` and ``all``, once each, in the order named.

    Raises:
        FragmentNotFound: an ID is not known.
        InvalidMessage: nothing is named, or a range runs backwards.
    """
    if not names:
        raise InvalidMessage('Name at least one fragment, a range "f1a2b3..f4c5d6", or "all".')
    chosen: dict[FragmentId, None] = {}
    for name in names:
        chosen.update(dict.fromkeys(_meant(known, name)))
    return tuple(chosen)


def cuts(
    core: CoreContext,
    messages: Sequence[int],
    num_fragments: int | None,
    size_tokens: int | None,
) -> list[Cut]:
    """Return cuts of what is neither protected nor cut yet in messages (without any: long ones).

    Raises:
        InvalidMessage: there is no such message, or both a number and a size are given.
    """
    if num_fragments is not None and size_tokens is not None:
        raise InvalidMessage("Give num_fragments or size_tokens, not both.")
    if any(given is not None and given < 1 for given in (num_fragments, size_tokens)):
        raise InvalidMessage("num_fragments and size_tokens must be at least 1.")
    return [
        made
        for index in named_or_long(core, messages)
        for made in cuts_of(core, index, num_fragments=num_fragments, size_tokens=size_tokens)
    ]


def _meant(known: Sequence[FragmentId], name: str) -> Sequence[FragmentId]:
    if name == "all":
        return known
    first, dots, last = name.partition("..")
    ends = [_position(known, part.strip()) for part in ([first, last] if dots else [name])]
    if ends[0] > ends[-1]:
        raise InvalidMessage(f"The range {name!r} runs backwards; write {last}..{first}.")
    return known[ends[0] : ends[-1] + 1]


def _position(known: Sequence[FragmentId], name: str) -> int:
    try:
        return known.index(FragmentId(name))
    except ValueError:
        raise FragmentNotFound(name, known) from None
