"""What tools may use in this process: ranked search without a database, and summaries offline."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sculptor.loop import Surroundings
from sculptor.messages import MessageHash
from sculptor.store.records import LOCAL, StoredMessage
from sculptor.summaries import ExtractiveSummarizer, Summarizer
from sculptor.terms import Embedder
from sculptor.tools import NeedRanked

if TYPE_CHECKING:
    from sculptor.store.memory import MemoryStore
    from sculptor.store.protocol import RankedHit

Wires = Callable[[], Mapping[MessageHash, bytes]]
"""Gives the present messages' bytes by their hash."""


class LocalRanker:
    """Ranks passages of the present messages (BM25); each message is indexed once."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._store: MemoryStore | None = None
        self._known: set[MessageHash] = set()

    def __call__(self, need: NeedRanked) -> Sequence["RankedHit"]:
        """Return the best passages of the need's messages, best first."""
        store = self._indexed(need)
        return store.ranked(LOCAL, need.hashes, need.query, limit=need.limit)

    def _indexed(self, need: NeedRanked) -> "MemoryStore":
        if self._store is None:
            from sculptor.store.memory import MemoryStore

            self._store = MemoryStore()
        missing = set(need.hashes) - self._known
        if missing:
            wires = self._wires()
            rows = [StoredMessage(tenant=LOCAL, hash=name, wire=wires[name]) for name in missing]
            self._store.write(rows).result()
            self._known |= missing
        return self._store


def surroundings(
    wires: Wires, *, summarizer: Summarizer | None, embedder: Embedder | None
) -> Surroundings:
    """Return what tools may use; ``summarizer`` None leaves summaries to the answering model."""
    return Surroundings(ranked=LocalRanker(wires), embedder=embedder, summarizer=summarizer)


def offline_summarizer() -> Summarizer:
    """Return the summarizer that needs no model: it picks sentences of the original."""
    return ExtractiveSummarizer()
