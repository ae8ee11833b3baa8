"""Ranked search: BM25 over passages, in SQLite's FTS5.

A message is indexed as passages of about 200 tokens, so that a hit in a long message is a stretch
one can read. The index holds our own terms (``sculptor.terms``), never the text; each term begins
with its tenant's number, so that no tenant's query walks, counts or finds another's passages. The
index is filled at the first ranked search over a message. Nothing here begins or ends a
transaction: that is the caller's, whose connection it is.
"""

import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sculptor.cutting import boundary_before, snap
from sculptor.messages import MessageHash
from sculptor.store.protocol import RankedHit
from sculptor.terms import terms

SCHEMA = (
    """CREATE TABLE ranked_tenant (
        tenant TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL UNIQUE) WITHOUT ROWID""",
    """CREATE TABLE ranked_passage (
        tenant TEXT NOT NULL, hash BLOB NOT NULL, sequence INTEGER NOT NULL,
        id INTEGER NOT NULL UNIQUE, part INTEGER NOT NULL, start INTEGER NOT NULL,
        stop INTEGER NOT NULL, terms BLOB NOT NULL,
        PRIMARY KEY (tenant, hash, sequence)) WITHOUT ROWID""",
    """CREATE VIRTUAL TABLE ranked_terms USING fts5 (
        terms, content = '', tokenize = "ascii tokenchars '_'")""",
    "CREATE VIRTUAL TABLE ranked_vocabulary USING fts5vocab (ranked_terms, row)",
)
"""The tables, for a migration; they lie beside the store's own."""

PASSAGE_BYTES = 800
"""How long a passage is in UTF-8, about 200 tokens in most scripts."""

MAX_QUERY_TERMS = 12
"""So many terms of a query are used, the rarest of them."""

_BATCH = 500
_READ_QUERY_CHARS = 10_000


class _Passage(NamedTuple):
    part: int
    start: int
    end: int
    words: list[str]


class RankedIndex:
    """The index on one connection, on disk or in memory; it keeps no state of its own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def create(self) -> None:
        """Make the tables; for connections no migration has prepared."""
        for statement in SCHEMA:
            self._connection.execute(statement)

    def missing(self, tenant: str, hashes: Sequence[MessageHash]) -> list[MessageHash]:
        """Return which of these messages are not indexed yet, each once, in order."""
        known: set[bytes] = set()
        for at in range(0, len(hashes), _BATCH):
            batch = hashes[at : at + _BATCH]
            marks = ",".join("?" * len(batch))
            known.update(
                name
                for (name,) in self._connection.execute(
                    "SELECT hash FROM ranked_passage WHERE tenant = ? AND sequence = 0"
                    f" AND hash IN ({marks})",
                    (tenant, *batch),
                )
            )
        return [name for name in dict.fromkeys(hashes) if name not in known]

    def ensure(
        self,
        tenant: str,
        hashes: Sequence[MessageHash],
        load: Callable[[MessageHash], Sequence[str]],
    ) -> None:
        """Index those of the messages that are not; ``load`` gives the texts of one's parts."""
        for name in self.missing(tenant, hashes):
            self.add(tenant, name, load(name))

    def add(self, tenant: str, message: MessageHash, texts: Sequence[str]) -> None:
        """Index a message by the texts of its parts (empty where a part has none).

        A message that is indexed already stays as it is.
        """
        if not self.missing(tenant, [message]):
            return
        prefix = f"{self._number(tenant)}_"
        first = self._value("SELECT coalesce(max(id), 0) + 1 FROM ranked_passage") or 1
        passages = list(_passages(texts)) or [_Passage(0, 0, 0, [])]
        rows: list[tuple[object, ...]] = []
        lines: list[tuple[int, str]] = []
        for sequence, (part, start, end, words) in enumerate(passages):
            line = " ".join(prefix + word for word in words)
            packed = zlib.compress(line.encode(), 1)
            key = first + sequence
            rows.append((tenant, message, sequence, key, part, start, end, packed))
            lines.append((key, line))
        self._connection.executemany("INSERT INTO ranked_passage VALUES (?,?,?,?,?,?,?,?)", rows)
        self._connection.executemany("INSERT INTO ranked_terms (rowid, terms) VALUES (?, ?)", lines)

    def remove(self, tenant: str, hashes: Collection[MessageHash]) -> None:
        """Take messages out of the index; those not in it are passed over."""
        for name in hashes:
            # The index holds no text, so it must be told which terms go.
            rows = self._connection.execute(
                "SELECT id, terms FROM ranked_passage WHERE tenant = ? AND hash = ?",
                (tenant, name),
            ).fetchall()
            self._connection.executemany(
                "INSERT INTO ranked_terms (ranked_terms, rowid, terms) VALUES ('delete', ?, ?)",
                [(key, zlib.decompress(packed).decode()) for key, packed in rows],
            )
            self._connection.execute(
                "DELETE FROM ranked_passage WHERE tenant = ? AND hash = ?", (tenant, name)
            )

    def search(
        self, tenant: str, query: str, *, hashes: Collection[MessageHash], limit: int = 50
    ) -> list[RankedHit]:
        """Return the best passage of each message that holds a term of the query, best first.

        Only messages of ``hashes`` that are indexed are looked at. The query is plain text: nothing
        in it is syntax. Scores are BM25, higher is better, and compare within one search only.
        """
        expression = self._expression(tenant, query)
        if expression is None:
            return []
        wanted = frozenset(hashes)
        best: dict[bytes, RankedHit] = {}
        rows = self._connection.execute(
            "SELECT p.hash, p.part, p.start, p.stop, -t.rank FROM ranked_terms AS t"
            " JOIN ranked_passage AS p ON p.id = t.rowid"
            " WHERE t.terms MATCH ? ORDER BY t.rank",
            (expression,),
        )
        for name, part, start, stop, score in rows:
            if len(best) == limit:
                break
            if name in wanted and name not in best:
                best[name] = RankedHit(MessageHash(name), part, start, stop, score)
        rows.close()
        return list(best.values())

    def _expression(self, tenant: str, query: str) -> str | None:
        """Return the FTS5 query, of quoted terms alone, or None where nothing can match."""
        number = self._value("SELECT number FROM ranked_tenant WHERE tenant = ?", tenant)
        words = list(dict.fromkeys(_query_terms(query)))
        if number is None or not words:
            return None
        prefix = f"{number}_"
        if len(words) > MAX_QUERY_TERMS:
            words = self._rarest(prefix, words)
        return " OR ".join(_phrase(prefix, word) for word in words) or None

    def _rarest(self, prefix: str, words: Sequence[str]) -> list[str]:
        found: list[tuple[int, str]] = []
        for word in islice(words, 10 * MAX_QUERY_TERMS):
            statement = "SELECT doc FROM ranked_vocabulary WHERE term = ?"
            passages = self._value(statement, prefix + word)
            if passages is not None:
                found.append((passages, word))
        return [word for _, word in sorted(found)[:MAX_QUERY_TERMS]]

    def _number(self, tenant: str) -> int:
        self._connection.execute(
            "INSERT OR IGNORE INTO ranked_tenant"
            " VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM ranked_tenant))",
            (tenant,),
        )
        return self._value("SELECT number FROM ranked_tenant WHERE tenant = ?", tenant) or 0

    def _value(self, statement: str, *values: object) -> int | None:
        row = self._connection.execute(statement, values).fetchone()
        return None if row is None else int(row[0])


def _query_terms(query: str) -> Iterator[str]:
    """Yield the terms of a query, without the single characters that end a run of pairs."""
    before = ""
    for term in terms(query[:_READ_QUERY_CHARS]):
        if not (_is_single(term) and len(before) == 2 and before.endswith(term)):
            yield term
        before = term


def _phrase(prefix: str, term: str) -> str:
    """Quote a term; of a script in pairs, a single character finds all pairs that it begins."""
    return f'"{prefix}{term}" *' if _is_single(term) else f'"{prefix}{term}"'


def _is_single(term: str) -> bool:
    return len(term) == 1 and not term.isascii()


def _passages(texts: Sequence[str]) -> Iterator[_Passage]:
    """Yield the passages of a message's parts in order; those without any term are left out."""
    for part, text in enumerate(texts):
        size = max(1, PASSAGE_BYTES * len(text) // max(1, len(text.encode("utf-8", "replace"))))
        start = 0
        while start < len(text):
            end = _passage_end(text, start, size)
            words = terms(text[start:end])
            if words:
                yield _Passage(part, start, end, words)
            start = end


def _passage_end(text: str, start: int, size: int) -> int:
    if start + size >= len(text):
        return len(text)
    lowest = start + size * 3 // 4
    end = boundary_before(text, start + size, lowest=lowest, floor=start)
    return end if end > start else snap(text, start + size, up=True, floor=start)
