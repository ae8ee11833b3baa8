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
    from sculptor.store.protocol import RankedHit

Wires = Callable[[], Mapping[MessageHash, bytes]]
"""Gives the present messages' bytes by their hash."""


def surroundings(
    wires: Wires, *, summarizer: Summarizer | None, embedder: Embedder | None
) -> Surroundings:
    """Return what tools may use; ``summarizer`` None leaves summaries to the answering model."""

    def ranked(need: NeedRanked) -> Sequence["RankedHit"]:
        return rank(wires(), need)

    return Surroundings(ranked=ranked, embedder=embedder, summarizer=summarizer)


def offline_summarizer() -> Summarizer:
    """Return the summarizer that needs no model: it picks sentences of the original."""
    return ExtractiveSummarizer()


def rank(wires: Mapping[MessageHash, bytes], need: NeedRanked) -> Sequence["RankedHit"]:
    """Return the best passages of the need's messages, best first (BM25)."""
    from sculptor.store.memory import MemoryStore

    store = MemoryStore()
    rows = [
        StoredMessage(tenant=LOCAL, hash=name, wire=wires[name])
        for name in need.hashes
        if name in wires
    ]
    store.write(rows).result()
    return store.ranked(LOCAL, need.hashes, need.query, limit=need.limit)
