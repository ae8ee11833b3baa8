"""Conversations of one process, known by their prefix chain.

Nothing names a conversation here but its messages. What is in force is kept under the chain value
of the list *including the answer*, so a later request that goes on from there finds it; a match on
user messages alone, of two conversations that begin alike, finds nothing. What is kept is never
changed: a retry or an edited question goes on from its own place, with the state of that place.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sculptor.context import Context, Hit, MemoryLog, Step
from sculptor.messages import Chain, Message, chain_of, digest, extend_chain
from sculptor.operations import Operation, VersionId
from sculptor.state import State
from sculptor.tokens import TokenCounter

_TENANT = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A conversation as it stood after one answer.

    ``steps`` are the groups of the turn that is still open. Their places count messages without
    system text, which is not in the chain and may come and go.
    """

    seed: bytes
    state: State
    version: VersionId
    operations: tuple[Operation, ...]
    hits: dict[str, Hit]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation while a request works on it; ``admitted``: it was offered the tools before."""

    context: Context
    chain: Chain
    admitted: bool


class Conversations:
    """The conversations last used, up to ``limit`` answers; the oldest leave first."""

    def __init__(self, limit: int = 1_024) -> None:
        self._limit = limit
        self._kept: OrderedDict[Chain, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def open(
        self, messages: Sequence[Message], counter: TokenCounter, *, inline: bool = False
    ) -> Conversation:
        """Return the conversation that these messages go on with, or a new one."""
        chains = chain_of(messages, _TENANT)
        kept = self._longest(chains)
        if kept is None:
            context = Context(seed=digest(b"seed", chains[-1]), counter=counter, inline=inline)
            context.extend(messages)
            return Conversation(context=context, chain=chains[-1], admitted=False)
        context = Context(
            seed=kept.seed,
            counter=counter,
            state=kept.state,
            version=kept.version,
            depth=len(kept.operations),
            log=MemoryLog(kept.operations),
            inline=inline,
        )
        context.extend(messages)
        context.hits = dict(kept.hits)
        context.steps = list(_placed(kept.steps, messages))
        return Conversation(context=context, chain=chains[-1], admitted=True)

    def keep(
        self, conversation: Conversation, answer: Message, mixed: tuple[Message, ...] = ()
    ) -> None:
        """Keep what is in force after ``answer``, as the client saw it.

        ``mixed`` stands in the answer's place while the turn is open (calls of ours beside the
        client's, with the results of ours).
        """
        context = conversation.context
        index = context.append(answer)
        if mixed:
            context.steps.append(Step(index, mixed, replaces=True))
        link = answer.link
        chain = conversation.chain if link is None else extend_chain(conversation.chain, link)
        kept = Kept(
            seed=context.seed,
            state=context.state,
            version=context.version,
            operations=tuple(context.log.get(at) for at in range(1, context.depth + 1)),
            hits=dict(context.hits),
            steps=tuple(_counted(context.open_steps(), context.messages)),
        )
        with self._lock:
            self._kept.pop(chain, None)
            self._kept[chain] = kept
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def _longest(self, chains: Sequence[Chain]) -> Kept | None:
        with self._lock:
            for chain in reversed(chains):
                if chain in self._kept:
                    self._kept.move_to_end(chain)
                    return self._kept[chain]
        return None


def _counted(steps: Sequence[Step], messages: Sequence[Message]) -> Iterator[Step]:
    """Yield steps placed by how many linked messages come before and with theirs."""
    for step in steps:
        linked = sum(message.link is not None for message in messages[: step.after + 1])
        yield step._replace(after=linked)


def _placed(steps: Sequence[Step], messages: Sequence[Message]) -> Iterator[Step]:
    """Yield counted steps at their indexes in another list of the same conversation."""
    linked = [index for index, message in enumerate(messages) if message.link is not None]
    for step in steps:
        if 0 < step.after <= len(linked):
            yield step._replace(after=linked[step.after - 1])
