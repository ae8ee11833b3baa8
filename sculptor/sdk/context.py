"""A managed context inside one's own loop.

Append what the user, the model and the tools say; send ``messages()`` and ``tools()`` to the model;
answer its calls of our tools with ``apply``. Originals are kept verbatim, whatever is folded. The
model's calls of our tools and their results are a step group: in view while the turn is open (until
the next user message), left out afterwards, while their effects stay.

A context is for one conversation and one thread at a time.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Literal, Self, cast

import orjson

from sculptor.context import Context as CoreContext
from sculptor.context import MemoryLog, Step
from sculptor.errors import InvalidMessage, SculptorError
from sculptor.ledger import with_ledger
from sculptor.loop.drive import local_answer
from sculptor.messages import Message, MessageHash, parse_message
from sculptor.operations import (
    Fold,
    Operation,
    OperationId,
    Pin,
    Receipt,
    Request,
    Restore,
    Undo,
    VersionId,
)
from sculptor.sdk.editing import Batch, cuts, named
from sculptor.sdk.found import SearchHit, read_hits
from sculptor.sdk.local import offline_summarizer, surroundings
from sculptor.sdk.wire import MessageLike, WireDict, read_call, read_message, to_wire
from sculptor.state import Author, Fragment
from sculptor.summaries import Summarizer
from sculptor.terms import Embedder
from sculptor.tokens import TokenCounter
from sculptor.tools import Need, ToolAnswer, ToolsetName, answer_to_text, toolset
from sculptor.tools.arguments import FullRole, FullSearch, Mode, Order
from sculptor.tools.cuts import places
from sculptor.tools.search import full_search

Editor = Literal["user", "policy"]
"""Who works on a context beside the model: a person, or a rule of the program."""


class Context:
    """A conversation whose view can be edited and whose originals cannot.

    ``messages`` begin the conversation. ``toolset`` is ``full`` or the ``paper``'s own six tools,
    whose fragments are marked in the text (``inline``). ``encoding`` counts tokens: a shipped one,
    or the path of a ``tokenizer.json``. ``summarizer`` writes summaries (offline and extractive
    unless given); ``embedder`` allows semantic search. Equal ``seed`` and messages give equal
    fragment IDs.
    """

    def __init__(
        self,
        messages: Iterable[MessageLike] = (),
        *,
        toolset: ToolsetName = "full",
        encoding: str = "o200k_base",
        summarizer: Summarizer | None = None,
        embedder: Embedder | None = None,
        inline: bool | None = None,
        seed: bytes = b"sculptor",
        clock: Callable[[], float] = time.time,
    ) -> None:
        core = CoreContext(
            seed=seed,
            counter=TokenCounter(encoding=encoding),
            inline=toolset == "paper" if inline is None else inline,
            clock=clock,
        )
        self._attach(core, toolset, summarizer, embedder)
        self._clock = clock
        for message in messages:
            self.append(message)

    def _attach(
        self,
        core: CoreContext,
        name: ToolsetName,
        summarizer: Summarizer | None,
        embedder: Embedder | None,
    ) -> None:
        self._core, self._toolset = core, toolset(name)
        self._summarizer = summarizer or offline_summarizer()
        self._embedder = embedder
        self._waiting: set[str] = set()
        self._surroundings = surroundings(
            self._wires, summarizer=self._summarizer, embedder=embedder
        )

    # The loop

    def append(self, message: MessageLike) -> None:
        """Add the next message: a dict, an ``openai`` message object, JSON bytes, or a user's text.

        Raises:
            InvalidMessage: it is no message of the wire format.
        """
        read = read_message(message, f"messages[{len(self._core.messages)}]")
        if read.result_for is not None and read.result_for in self._waiting:
            self._waiting.discard(read.result_for)
            step = self._core.steps[-1]
            self._core.steps[-1] = step._replace(messages=(*step.messages, read))
        elif read.role == "assistant" and self._own_calls(read):
            self._begin_step(read)
        else:
            self._core.append(read)

    def extend(self, messages: Iterable[MessageLike]) -> None:
        """Add messages in order."""
        for message in messages:
            self.append(message)

    def messages(self, *, ledger: bool = False) -> list[WireDict]:
        """Return the view: what the model is to be sent.

        ``ledger`` adds a short table of fragments to the end of the last message, where it is the
        user's or a tool's.
        """
        return [orjson.loads(wire) for wire in self.wire(ledger=ledger)]

    def wire(self, *, ledger: bool = False) -> tuple[bytes, ...]:
        """Return the view as bytes, one JSON object a message."""
        shown = self._core.view().messages
        return (with_ledger(self._core, shown) if ledger else None) or shown

    def originals(self) -> list[WireDict]:
        """Return the conversation's messages as they came, step groups left out."""
        return [orjson.loads(message.wire) for message in self._core.messages]

    def tools(self) -> list[WireDict]:
        """Return the tools' definitions, to be sent beside one's own."""
        return [orjson.loads(wire) for wire in self._toolset.wire]

    def is_internal(self, tool_call: object) -> bool:
        """Tell whether a tool call is for ``apply`` rather than for one's own tools."""
        return read_call(tool_call).name in self._toolset.names

    def apply(self, tool_call: object) -> WireDict:
        """Do what a tool call asks and return the message to append.

        A wrong call changes nothing and is answered with what to do next; so is one whose
        summarizer or embedder fails.
        """
        call = read_call(tool_call)
        work = self._toolset.apply(self._core, call.name, call.arguments)
        return _result(call.id, self._worked(work))

    async def aapply(self, tool_call: object) -> WireDict:
        """Do the same where a summarizer or an embedder must not block the event loop."""
        from anyio.to_thread import run_sync

        return await run_sync(self.apply, tool_call)

    # People and policies

    def fragments(self, *messages: int) -> tuple[Fragment, ...]:
        """Return the fragments in reading order, of these messages alone where any are named."""
        chosen = places(self._core, messages) if messages else self._core.places
        return tuple(leaf for place in chosen for leaf in self._core.state.leaves_of(place))

    def text_of(self, fragment: str) -> str:
        """Return a fragment's original text, hidden or not.

        Raises:
            FragmentNotFound: no fragment has this ID.
        """
        (name,) = named([leaf.id for leaf in self.fragments()], [fragment])
        leaf = self._core.state.fragment(name)
        return "" if leaf is None else self._core.text_of(leaf) or ""

    def fragment(
        self,
        *messages: int,
        num_fragments: int | None = None,
        size_tokens: int | None = None,
        author: Editor = "user",
        reason: str = "",
    ) -> Receipt:
        """Cut messages (without any: all over 400 tokens) where they are free to be cut.

        What is protected or cut already is left as it is. Pieces have 1,000 tokens unless a number
        or a size is given. Raises InvalidMessage where there is no such message.
        """
        return self._perform(
            *cuts(self._core, messages, num_fragments, size_tokens), author=author, reason=reason
        )

    def fold(self, *fragments: str, author: Editor = "user", reason: str = "") -> Receipt:
        """Hide fragments, named by ID, range (``f1a2b3..f4c5d6``) or ``all``.

        ``all`` and ranges leave out what is protected.

        Raises:
            FragmentNotFound: an ID names no fragment.
            FragmentProtected: system text, the newest user message or a pin stands in the way.
        """
        ids = self._named(fragments, skip_protected=True)
        return self._perform(Fold(ids), author=author, reason=reason)

    def restore(self, *fragments: str, author: Editor = "user", reason: str = "") -> Receipt:
        """Bring originals back. Raises FragmentNotFound where an ID names no fragment."""
        return self._perform(Restore(self._named(fragments)), author=author, reason=reason)

    def pin(
        self,
        *fragments: str,
        messages: Sequence[int] = (),
        author: Editor = "user",
        reason: str = "",
    ) -> Receipt:
        """Protect fragments and whole messages; the model can neither fold nor release them."""
        return self._pinned(fragments, messages, True, author, reason)

    def unpin(
        self,
        *fragments: str,
        messages: Sequence[int] = (),
        author: Editor = "user",
        reason: str = "",
    ) -> Receipt:
        """Release fragments and whole messages."""
        return self._pinned(fragments, messages, False, author, reason)

    def undo(
        self, operation: str | None = None, *, author: Editor = "user", reason: str = ""
    ) -> Receipt:
        """Take one operation out of force, the newest unless named (``o3``).

        Raises:
            OperationNotFound: no operation has this ID.
            UndoRefused: later operations depend on it, or it is out of force already.
        """
        name = OperationId(operation or f"o{self._core.depth}")
        return self._perform(Undo(name), author=author, reason=reason)

    @contextmanager
    def batch(self, *, author: Editor = "user", reason: str = "") -> Iterator[Batch]:
        """Gather requests into one operation, performed at the end of the block.

        An exception inside the block drops them all. ``receipt`` is set afterwards.
        """
        batch = Batch(self._core, author)
        yield batch
        batch.receipt = self._perform(*batch.requests, author=author, reason=reason)

    def search(
        self,
        *queries: str,
        mode: Mode = "exact",
        role: FullRole = "all",
        max_results: int = 10,
        context_size: int = 200,
        order: Order | None = None,
    ) -> tuple[SearchHit, ...]:
        """Find text in the originals, hidden text included.

        Raises:
            ToolError: a query cannot be used (a malformed pattern, no embedder).
            InvalidMessage: an argument is out of bounds.
        """
        try:
            arguments = FullSearch(
                queries=list(queries),
                mode=mode,
                role=role,
                max_results=max_results,
                context_size=context_size,
                order=order,
                latest_per_query=False,
            )
        except ValueError as error:
            raise InvalidMessage(f"This search cannot be made: {error}") from error
        return read_hits(self._core, self._run(full_search(self._core, arguments)))

    # What is in force, and what was done

    @property
    def core(self) -> CoreContext:
        """The core's own context, for programs that go deeper than this class."""
        return self._core

    @property
    def version(self) -> VersionId:
        """The name of the present version: equal histories have equal names."""
        return self._core.version

    @property
    def tokens(self) -> int:
        """The tokens of the view."""
        return self._core.tokens

    @property
    def total_tokens(self) -> int:
        """The tokens of the conversation as it came."""
        return self._core.total_tokens

    def operations(self) -> tuple[Operation, ...]:
        """Return all operations, oldest first, each with its author, reason and receipt."""
        return tuple(self._core.log.get(depth) for depth in range(1, self._core.depth + 1))

    def receipts(self) -> tuple[Receipt, ...]:
        """Return what each operation answered, oldest first."""
        return tuple(operation.receipt for operation in self.operations())

    # Copies

    def fork(self) -> Self:
        """Return a copy that goes its own way from here; what is stored is shared."""
        old = self._core
        core = CoreContext(
            seed=old.seed,
            counter=old.counter,
            state=old.state,
            version=old.version,
            depth=old.depth,
            log=MemoryLog(self.operations()),
            inline=old.inline,
            clock=self._clock,
        )
        core.extend(old.messages)
        core.steps, core.hits = list(old.steps), dict(old.hits)
        copy = type(self).__new__(type(self))
        copy._attach(core, self._toolset.name, self._summarizer, self._embedder)
        copy._clock, copy._waiting = self._clock, set(self._waiting)
        return copy

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of it to one JSON file, whole or not at all."""
        from sculptor.sdk.saving import write_file

        write_file(path, self._core, self._toolset.name)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        summarizer: Summarizer | None = None,
        embedder: Embedder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Read what ``save`` wrote, replaying its operations; no model is called.

        Raises:
            StoreCorrupt: the file is damaged; the text says where.
            OSError: it cannot be read.
        """
        from sculptor.sdk.saving import read_file

        core, name = read_file(path, clock)
        loaded = cls.__new__(cls)
        loaded._attach(core, name, summarizer, embedder)
        loaded._clock, loaded._waiting = clock, set()
        loaded._waiting.update(_unanswered(core, loaded._toolset.names))
        return loaded

    # Inside

    def _own_calls(self, message: Message) -> bool:
        if not message.call_ids:
            return False
        return any(self.is_internal(call) for call in _calls(message))

    def _begin_step(self, message: Message) -> None:
        if not self._core.messages:
            raise InvalidMessage("An assistant message cannot begin the conversation.")
        calls = _calls(message)
        theirs = [call for call in calls if not self.is_internal(call)]
        self._waiting = {call["id"] for call in calls if self.is_internal(call)}
        if theirs:
            value = orjson.loads(message.wire) | {"tool_calls": theirs}
            index = self._core.append(parse_message(to_wire(value)))
            self._core.steps.append(Step(index, (message,), replaces=True))
        else:
            self._core.steps.append(Step(len(self._core.messages) - 1, (message,)))

    def _worked(self, work: Generator[Need, Any, ToolAnswer]) -> ToolAnswer:
        try:
            return self._run(work)
        except SculptorError as error:
            return {"error": "UNAVAILABLE", "message": str(error)}

    def _run(self, work: Generator[Need, Any, ToolAnswer]) -> ToolAnswer:
        answer: Any = None
        while True:
            try:
                need = work.send(answer)
            except StopIteration as done:
                self._core.unsaved.clear()
                return cast("ToolAnswer", done.value)
            answer = local_answer(need, self._surroundings)

    def _perform(self, *requests: Request, author: Author, reason: str) -> Receipt:
        receipt = self._core.perform(*requests, author=author, reason=reason)
        self._core.unsaved.clear()
        return receipt

    def _pinned(
        self,
        fragments: Sequence[str],
        messages: Sequence[int],
        pinned: bool,
        author: Editor,
        reason: str,
    ) -> Receipt:
        ids = self._named(fragments) if fragments or not messages else ()
        request = Pin(ids, places(self._core, messages), pinned)
        return self._perform(request, author=author, reason=reason)

    def _named(self, names: Sequence[str], *, skip_protected: bool = False) -> tuple[Any, ...]:
        leaves = self.fragments()
        ids = named([leaf.id for leaf in leaves], names)
        if not skip_protected:
            return ids
        held = {leaf.id for leaf in leaves if self._core.why_protected(leaf)} - set(names)
        return tuple(name for name in ids if name not in held)

    def _wires(self) -> dict[MessageHash, bytes]:
        return {message.hash: message.wire for message in self._core.messages}


def _calls(message: Message) -> list[WireDict]:
    calls: list[WireDict] = orjson.loads(message.wire)["tool_calls"]
    return calls


def _result(call_id: str, answer: ToolAnswer) -> WireDict:
    return {"role": "tool", "tool_call_id": call_id, "content": answer_to_text(answer)}


def _unanswered(core: CoreContext, names: frozenset[str]) -> set[str]:
    """Return the calls of ours in the last step that have no result yet."""
    if not core.steps:
        return set()
    first, *results = core.steps[-1].messages
    answered = {result.result_for for result in results}
    own = {call["id"] for call in _calls(first) if read_call(call).name in names}
    return own - answered
