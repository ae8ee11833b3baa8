"""What is in force: the fragments of a context and what is done to each, as an immutable value.

A state is a persistent map, so that a version shares all but its own change with its parent, and an
operation costs the same after ten others as after ten thousand. A change names one entry with its
value before and after; applied forwards it makes the next state, backwards it undoes.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, NewType

from rpds import HashTrieMap

from sculptor.messages import MessageKey

FragmentId = NewType("FragmentId", str)
EntryKey = NewType("EntryKey", str)
Author = Literal["model", "user", "policy"]
Status = Literal["visible", "folded", "summarized", "split"]

HIDDEN: frozenset[Status] = frozenset({"folded", "summarized"})


class Place(NamedTuple):
    """A message by its text and by which of its equals it is, counted from the first."""

    key: MessageKey
    occurrence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryText:
    """A text that stands for a fragment, and how it was made."""

    text: str
    focus: str
    tokens: int
    model: str
    prompt_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """An addressed piece of one part's text, in code points, and what is in force for it.

    ``by`` is the depth of the operation that set it last; a ``split`` fragment lives on in its
    children.
    """

    id: FragmentId
    place: Place
    part: int
    start: int
    end: int
    tokens: int
    status: Status = "visible"
    summary: SummaryText | None = None
    pinned_by: Author | None = None
    children: tuple[FragmentId, ...] = ()
    by: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePin:
    """A pin on a whole message."""

    place: Place
    pinned_by: Author
    by: int = 0


Entry = Fragment | MessagePin


class Change(NamedTuple):
    """One entry's value before and after; None where it does not exist."""

    key: EntryKey
    before: Entry | None
    after: Entry | None


def pin_key(place: Place) -> EntryKey:
    """Return the entry key of a pin on the message at ``place``."""
    return EntryKey(f"m{place.key.hex()}.{place.occurrence}")


@dataclass(frozen=True, slots=True)
class State:
    """All entries, and for each message its leaf fragments in reading order."""

    entries: "HashTrieMap[EntryKey, Entry]" = field(default_factory=lambda: HashTrieMap())
    leaves: "HashTrieMap[Place, tuple[FragmentId, ...]]" = field(
        default_factory=lambda: HashTrieMap()
    )

    def fragment(self, fragment_id: str) -> Fragment | None:
        """Return the fragment with this ID, split ones included, or None."""
        entry = self.entries.get(EntryKey(fragment_id))
        return entry if isinstance(entry, Fragment) else None

    def leaves_of(self, place: Place) -> tuple[Fragment, ...]:
        """Return the fragments of one message that are not split, in reading order."""
        names = self.leaves.get(place)
        if names is None:
            return ()
        found = (self.fragment(leaf) for leaf in names)
        return tuple(fragment for fragment in found if fragment is not None)

    def pin_of(self, place: Place) -> Author | None:
        """Return who pinned the message at ``place``, or None."""
        entry = self.entries.get(pin_key(place))
        return entry.pinned_by if isinstance(entry, MessagePin) else None

    def after(self, changes: Iterable[Change]) -> "State":
        """Return the state with the changes made."""
        entries = self.entries
        touched: dict[Place, dict[FragmentId, Fragment | None]] = {}
        for key, before, after in changes:
            entries = entries.remove(key) if after is None else entries.insert(key, after)
            entry = after or before
            if isinstance(entry, Fragment):
                kept = after if isinstance(after, Fragment) and after.status != "split" else None
                touched.setdefault(entry.place, {})[entry.id] = kept
        leaves = self.leaves
        for place, updates in touched.items():
            leaves = self._relaid(leaves, place, updates)
        return State(entries, leaves)

    def _relaid(
        self,
        leaves: "HashTrieMap[Place, tuple[FragmentId, ...]]",
        place: Place,
        updates: dict[FragmentId, Fragment | None],
    ) -> "HashTrieMap[Place, tuple[FragmentId, ...]]":
        old = leaves.get(place, ())
        if set(old).issuperset(updates) and None not in updates.values():
            return leaves
        kept = {leaf.id: leaf for leaf in self.leaves_of(place)}
        kept.update({name: leaf for name, leaf in updates.items() if leaf is not None})
        left = [leaf for name, leaf in kept.items() if updates.get(name, leaf) is not None]
        left.sort(key=lambda leaf: (leaf.part, leaf.start))
        if not left:
            return leaves.remove(place) if place in leaves else leaves
        return leaves.insert(place, tuple(leaf.id for leaf in left))


def backwards(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the changes that take the given ones back."""
    return tuple(Change(key, after, before) for key, before, after in reversed(changes))


def fragment_id(
    seed: bytes, place: Place, part: int, start: int, end: int, taken: State
) -> FragmentId:
    """Return the ID of the fragment at this address: ``f`` and five hexadecimal digits.

    It derives from the address alone; where another fragment has it already it is drawn anew.
    """
    address = b"%b%b|%d|%d|%d|%d" % (seed, place.key, place.occurrence, part, start, end)
    draw = 0
    while True:
        name = "f" + hashlib.blake2b(address + b"|%d" % draw, digest_size=3).hexdigest()[:5]
        if EntryKey(name) not in taken.entries:
            return FragmentId(name)
        draw += 1


def entry_to_json(entry: Entry | None) -> Any:
    """Return the entry as JSON values; fields at their defaults are left out."""
    if entry is None:
        return None
    value: dict[str, Any] = {}
    for spec in fields(entry):
        item = getattr(entry, spec.name)
        if item == spec.default:
            continue
        if isinstance(item, Place):
            item = [item.key.hex(), item.occurrence]
        elif isinstance(item, SummaryText):
            item = {name.name: getattr(item, name.name) for name in fields(item)}
        value[spec.name] = item
    return value


def entry_from_json(value: Any) -> Entry | None:
    """Read what ``entry_to_json`` wrote."""
    if value is None:
        return None
    value = dict(value)
    key, occurrence = value.pop("place")
    place = Place(MessageKey(bytes.fromhex(key)), occurrence)
    if "id" not in value:
        return MessagePin(place=place, **value)
    if "summary" in value:
        value["summary"] = SummaryText(**value["summary"])
    value["children"] = tuple(value.get("children", ()))
    return Fragment(place=place, **value)


def with_depth(entry: Entry, depth: int) -> Entry:
    """Return the entry as set by the operation at ``depth``."""
    return replace(entry, by=depth)
