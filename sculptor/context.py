"""A conversation with what is in force for it: messages, state, versions, view.

The messages are the client's, in its order, and never change; the state says what is shown of
them. ``view`` is a pure function of both. An operation makes a new state and is recorded; its cost
depends on what it touches and not on how long the context or its history is, because each
message's rendering and token count is kept until something in force for that message changes.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from sculptor.changes import pin_reason, plan, plan_undo
from sculptor.cutting import tail_start
from sculptor.errors import OperationNotFound, UndoRefused
from sculptor.messages import INSTRUCTION_ROLES, Message, MessageKey
from sculptor.operations import (
    FIRST_VERSION,
    Operation,
    OperationKind,
    Range,
    Receipt,
    Request,
    Undo,
    VersionId,
    arguments_of,
    depth_of,
)
from sculptor.rendering import (
    Rendered,
    common_tokens,
    escaped_wire,
    has_look_alike,
    render_message,
)
from sculptor.state import (
    HIDDEN,
    Author,
    Change,
    EntryKey,
    Fragment,
    Place,
    State,
    with_depth,
)
from sculptor.tokens import TokenCounter

PROTECTED_TOKENS = 600
"""So many tokens at the end of the newest user message are protected: the question stands there.

A message shorter than twice as much is protected whole.
"""


class Log(Protocol):
    """The operations from the first version to the present one."""

    def get(self, depth: int) -> Operation:
        """Return the operation at ``depth`` (from 1); raise OperationNotFound."""
        ...

    def append(self, operation: Operation) -> None:
        """Add the newest operation."""
        ...


class MemoryLog:
    """A log in a list."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self.operations = list(operations)

    def get(self, depth: int) -> Operation:
        """Return the operation at ``depth`` (from 1); raise OperationNotFound."""
        if not 0 < depth <= len(self.operations):
            raise OperationNotFound(f"o{depth}")
        return self.operations[depth - 1]

    def append(self, operation: Operation) -> None:
        """Add the newest operation."""
        self.operations.append(operation)


class Hit(NamedTuple):
    """Where a search found something, as an address in originals."""

    id: str
    place: Place
    part: int
    start: int
    end: int
    query: str


class Step(NamedTuple):
    """What the loop adds after the client message at ``after`` while the turn is open.

    With ``replaces`` the group begins with the assistant message as produced, all calls included,
    and stands in the place of the one the client sends back.
    """

    after: int
    messages: tuple[Message, ...]
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The messages for one request. ``unchanged``: they are the client's list exactly."""

    messages: tuple[bytes, ...]
    tokens: int
    unchanged: bool


class Protected(NamedTuple):
    """From here to its end a message may not be cut or hidden."""

    part: int
    offset: int
    reason: str


class Context:
    """The messages of one lane and what is in force for them.

    ``seed`` makes the IDs of this session; ``version`` and ``depth`` name the state to go on from;
    ``dropped`` counts equal messages that the client removed, so that the others keep their place.
    """

    def __init__(
        self,
        *,
        seed: bytes,
        counter: TokenCounter,
        state: State | None = None,
        version: VersionId = FIRST_VERSION,
        depth: int = 0,
        log: Log | None = None,
        inline: bool = False,
        protected_tokens: int = PROTECTED_TOKENS,
        dropped: Mapping[MessageKey, int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.seed, self.counter, self.inline = seed, counter, inline
        self.state = State() if state is None else state
        self.version, self.depth = version, depth
        self.log: Log = MemoryLog() if log is None else log
        self.messages: list[Message] = []
        self.places: list[Place] = []
        self.steps: list[Step] = []
        self.hits: dict[str, Hit] = {}
        self.unsaved: list[Operation | Hit] = []
        self._clock, self._protected_tokens = clock, protected_tokens
        self._index: dict[Place, int] = {}
        self._occurrences: dict[MessageKey, int] = dict(dropped or {})
        self._rendered: list[Rendered] = []
        self._own_tokens: list[int] = []
        self._look_alikes: set[int] = set()
        self._hidden = 0
        self._client_tokens = 0
        self._total_tokens = 0
        self._turn_start = 0
        self._newest: tuple[int, Protected] | None = None

    # Messages

    def append(self, message: Message) -> int:
        """Add the next client message and return its index."""
        index = len(self.messages)
        occurrence = self._occurrences.get(message.key, 0)
        self._occurrences[message.key] = occurrence + 1
        place = Place(message.key, occurrence)
        self.messages.append(message)
        self.places.append(place)
        self._index[place] = index
        if has_look_alike(message):
            self._look_alikes.add(index)
        own = render_message(message, (), self.counter, escape=False)
        self._own_tokens.append(own.tokens)
        self._total_tokens += own.tokens
        was_marked = self.is_marked
        self._hidden += self._hidden_at(self.state, place)
        altered = self.state.leaves_of(place) or index in self._look_alikes
        rendered = self._render(index, self.state) if altered else own
        self._rendered.append(rendered)
        self._client_tokens += rendered.tokens
        if self.is_marked != was_marked:
            self._rerender(self._look_alikes - {index})
        if message.role == "user":
            self._newest, self._turn_start = None, index
        return index

    def extend(self, messages: Iterable[Message]) -> None:
        """Add client messages in order."""
        for message in messages:
            self.append(message)

    def index_of(self, place: Place) -> int | None:
        """Return where in the list a message stands, or None if the client removed it."""
        return self._index.get(place)

    def original_tokens(self, index: int) -> int:
        """Return the tokens of one message as it came."""
        return self._own_tokens[index]

    @property
    def total_tokens(self) -> int:
        """The tokens of the client's list as it came."""
        return self._total_tokens

    @property
    def turn_start(self) -> int:
        """The index of the newest user message: the turn that it opened is the present one."""
        return self._turn_start

    # The view

    @property
    def is_marked(self) -> bool:
        """Whether the view holds a marker."""
        return self._hidden > 0 or (self.inline and len(self.state.leaves) > 0)

    @property
    def tokens(self) -> int:
        """The tokens of the view."""
        return self._client_tokens + sum(self._step_tokens(step) for step in self.open_steps())

    def open_steps(self) -> list[Step]:
        """Return the step groups of the present turn, in order."""
        start = self.turn_start
        return [step for step in self.steps if step.after >= start]

    def view(self) -> View:
        """Render the present version."""
        steps = self.open_steps()
        shown = [rendered.wire for rendered in self._rendered]
        unchanged = not steps and not self.is_marked
        if steps:
            shown = list(self._with_steps(steps))
        return View(messages=tuple(shown), tokens=self.tokens, unchanged=unchanged)

    def rendered(self, index: int) -> Rendered:
        """Return one client message as the view shows it."""
        return self._rendered[index]

    # Protection

    def protected(self, index: int) -> Protected | None:
        """Return from where on the message at ``index`` may not be cut or hidden, if anywhere."""
        if self.messages[index].role in INSTRUCTION_ROLES:
            return Protected(0, 0, "system text is never hidden")
        pinned_by = self.state.pin_of(self.places[index])
        if pinned_by:
            return Protected(0, 0, f"pinned by the {pinned_by}")
        if self._newest is None:
            newest = self.turn_start
            self._newest = (newest, self._protected_tail(newest))
        return self._newest[1] if self._newest[0] == index else None

    def why_protected(self, fragment: Fragment) -> str | None:
        """Tell why a fragment may not be hidden now, or None."""
        reason = pin_reason(fragment, self.state)
        if reason:
            return reason
        index = self._index.get(fragment.place)
        limit = None if index is None else self.protected(index)
        if limit and (fragment.part, fragment.end) > (limit.part, limit.offset):
            return limit.reason
        return None

    def free_ranges(self, index: int) -> Iterator[Range]:
        """Yield the stretches of a message that are neither protected nor in a fragment."""
        place, limit = self.places[index], self.protected(index)
        leaves = self.state.leaves_of(place)
        for number, part in enumerate(self.messages[index].parts):
            if part.text_path is None or (limit and number > limit.part):
                continue
            end = limit.offset if limit and number == limit.part else len(part.text)
            at = 0
            for leaf in leaves:
                if leaf.part == number:
                    if at < min(leaf.start, end):
                        yield Range(place, number, at, min(leaf.start, end))
                    at = leaf.end
            if at < end:
                yield Range(place, number, at, end)

    def fragments(self) -> Iterator[Fragment]:
        """Yield the fragments of the present list, in reading order."""
        for place in self.places:
            yield from self.state.leaves_of(place)

    def text_of(self, fragment: Fragment) -> str | None:
        """Return a fragment's original text, or None if the client removed its message."""
        index = self._index.get(fragment.place)
        if index is None:
            return None
        return self.messages[index].parts[fragment.part].text[fragment.start : fragment.end]

    # Operations

    def perform(
        self, *requests: Request, author: Author, reason: str = "", cost_tokens: int = 0
    ) -> Receipt:
        """Do what is asked, as one operation, and return the receipt.

        Raises:
            ContextError: something asked is refused; then nothing at all is changed.
        """
        if len(requests) == 1 and isinstance(requests[0], Undo):
            changes: Sequence[Change] = self._undone(requests[0], author)
            stamped = changes
        else:
            changes = self._planned(requests, author)
            stamped = [
                c if c.after is None else c._replace(after=with_depth(c.after, self.depth + 1))
                for c in changes
            ]
        if not stamped:
            return Receipt(tokens_before=self.tokens, tokens_after=self.tokens)
        receipt = self._moved(self.state.after(stamped), stamped, cost_tokens)
        kind: OperationKind = requests[0].kind if len(requests) == 1 else "batch"
        operation = Operation(
            depth=self.depth + 1,
            parent=self.version,
            kind=kind,
            arguments=arguments_of(requests),
            author=author,
            reason=reason,
            time=self._clock(),
            changes=tuple(stamped),
            receipt=receipt,
        )
        self._record(operation)
        return receipt

    def replay(self, operation: Operation) -> None:
        """Apply a recorded operation again, without planning it anew.

        Raises:
            OperationNotFound: it was not recorded on this version.
        """
        if operation.parent != self.version:
            raise OperationNotFound(operation.id)
        self._moved(self.state.after(operation.changes), operation.changes, 0)
        self._record(operation)

    def add_hit(self, hit: Hit) -> None:
        """Remember where a search found something."""
        if hit.id not in self.hits:
            self.hits[hit.id] = hit
            self.unsaved.append(hit)

    # Inside

    def _planned(self, requests: Sequence[Request], author: Author) -> list[Change]:
        state, merged = self.state, dict[EntryKey, Change]()
        for request in requests:
            made = plan(
                request, state, author=author, seed=self.seed, protection=self.why_protected
            )
            state = state.after(made)
            for change in made:
                first = merged.get(change.key, change)
                merged[change.key] = Change(change.key, first.before, change.after)
        return [change for change in merged.values() if change.before != change.after]

    def _undone(self, request: Undo, author: Author) -> Sequence[Change]:
        depth = depth_of(request.operation)
        if depth is None or not 0 < depth <= self.depth:
            raise OperationNotFound(request.operation)
        operation = self.log.get(depth)
        if author == "model" and operation.author != "model":
            raise UndoRefused(operation.id, why=f"it was made by the {operation.author}")
        return plan_undo(operation, self.state, self.log.get)

    def _record(self, operation: Operation) -> None:
        self.log.append(operation)
        self.unsaved.append(operation)
        self.version, self.depth = operation.version, operation.depth

    def _moved(self, state: State, changes: Sequence[Change], cost_tokens: int) -> Receipt:
        """Take ``state`` into force, render anew what it touches, and say what that changed."""
        before, was_marked = self.tokens, self.is_marked
        places = {entry.place for c in changes if (entry := c.after or c.before) is not None}
        touched = {self._index[place] for place in places if place in self._index}
        for place in places:
            if place in self._index:
                self._hidden += self._hidden_at(state, place) - self._hidden_at(self.state, place)
        self.state, self._newest = state, None
        if self.is_marked != was_marked:
            touched |= self._look_alikes
        first, same = self._rerender(touched)
        return Receipt(
            tokens_before=before,
            tokens_after=self.tokens,
            first_changed=None if first is None else self._view_index(first),
            prefix_tokens=self.tokens if first is None else self._tokens_before(first) + same,
            undo=f"o{self.depth + 1}",
            cost_tokens=cost_tokens,
        )

    def _rerender(self, indexes: Iterable[int]) -> tuple[int | None, int]:
        """Render messages anew; return the first that changed and its tokens that did not."""
        first: int | None = None
        same = 0
        for index in sorted(indexes):
            old, new = self._rendered[index], self._render(index, self.state)
            self._rendered[index] = new
            self._client_tokens += new.tokens - old.tokens
            if first is None and old.wire != new.wire:
                first, same = index, common_tokens(old, new)
        return first, same

    def _render(self, index: int, state: State) -> Rendered:
        made = render_message(
            self.messages[index],
            state.leaves_of(self.places[index]),
            self.counter,
            escape=self.is_marked,
            inline=self.inline,
        )
        if made.wire is self.messages[index].wire:
            # The sum over fragments is a token or two off the count of the whole.
            return replace(made, tokens=self._own_tokens[index])
        return made

    def _hidden_at(self, state: State, place: Place) -> int:
        return sum(leaf.status in HIDDEN for leaf in state.leaves_of(place))

    def _step_tokens(self, step: Step) -> int:
        tokens = sum(
            render_message(message, (), self.counter, escape=False).tokens
            for message in step.messages
        )
        return tokens - (self._rendered[step.after].tokens if step.replaces else 0)

    def _with_steps(self, steps: Sequence[Step]) -> Iterator[bytes]:
        after: dict[int, list[Step]] = {}
        for step in steps:
            after.setdefault(step.after, []).append(step)
        for index, rendered in enumerate(self._rendered):
            groups = after.get(index, ())
            if not any(step.replaces for step in groups):
                yield rendered.wire
            for step in groups:
                yield from (self._step_wire(message) for message in step.messages)

    def _step_wire(self, message: Message) -> bytes:
        return escaped_wire(message) if self.is_marked else message.wire

    def _view_index(self, index: int) -> int:
        added = (len(s.messages) - s.replaces for s in self.open_steps() if s.after < index)
        return index + sum(added)

    def _tokens_before(self, index: int) -> int:
        own = sum(rendered.tokens for rendered in self._rendered[:index])
        return own + sum(self._step_tokens(s) for s in self.open_steps() if s.after < index)

    def _protected_tail(self, index: int) -> Protected:
        message = self.messages[index]
        texts = [i for i, part in enumerate(message.parts) if part.text_path is not None]
        if self._own_tokens[index] < 2 * self._protected_tokens or not texts:
            return Protected(0, 0, "it is the newest user message")
        last = texts[-1]
        start = tail_start(message.parts[last].text, self._protected_tokens, self.counter)
        return Protected(last, start, "it is the end of the newest user message")
